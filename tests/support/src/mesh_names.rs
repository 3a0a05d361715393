//! Names of Services as a large mesh has them: numbered names would deflate better than real ones.

use std::collections::BTreeSet;

use crate::SeededRandom;

const WORDS: [&str; 40] = [
    "account",
    "address",
    "audit",
    "basket",
    "billing",
    "booking",
    "cache",
    "catalog",
    "checkout",
    "claims",
    "content",
    "credit",
    "customer",
    "delivery",
    "device",
    "document",
    "email",
    "events",
    "exchange",
    "export",
    "fraud",
    "gateway",
    "history",
    "identity",
    "import",
    "inventory",
    "invoice",
    "ledger",
    "loyalty",
    "media",
    "metrics",
    "orders",
    "partner",
    "payments",
    "pricing",
    "profile",
    "refunds",
    "report",
    "search",
    "shipping",
];
const NAMESPACES: usize = 100;

/// The namespaces and names of this many Services, each name of two or three words. The first Service is in the namespace `own`.
#[must_use]
pub fn mesh_names(own: &str, count: usize) -> Vec<(String, String)> {
    let mut random = SeededRandom(1);
    let (mut known, mut names) = (BTreeSet::new(), Vec::with_capacity(count));
    for index in 0.. {
        if names.len() == count {
            break;
        }
        let words: Vec<&str> = (0..if index % 3 == 0 { 2 } else { 3 }).map(|_| *random.of(&WORDS)).collect();
        let number = index % NAMESPACES;
        let namespace = match WORDS.get(number % WORDS.len()) {
            Some(team) if number > 0 => format!("team-{team}-{number}"),
            _ => own.to_owned(),
        };
        let name = (namespace, words.join("-"));
        if known.insert(name.clone()) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_the_first_is_the_callers() {
        let names = mesh_names("shop", 2_000);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 2_000);
        assert_eq!(names.first().map(|(namespace, _)| &**namespace), Some("shop"));
    }
}
