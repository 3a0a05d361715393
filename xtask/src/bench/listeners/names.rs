//! Services whose names are words, as in a mesh. Names that are numbered would deflate better than real ones.

use std::collections::BTreeSet;

use super::super::world::OWN;

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

/// A Service by its name, without endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamedService {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) cluster_ip: String,
}

impl NamedService {
    pub(super) fn canonical(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }
}

/// This many Services with names of two or three words, in a hundred namespaces. The first Service is the caller's own.
pub(super) fn services(count: usize) -> Vec<NamedService> {
    let mut state = 1_u64;
    let mut word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let index = usize::try_from(state >> 33).unwrap_or_default() % WORDS.len();
        WORDS.get(index).copied().unwrap_or_default()
    };
    let (mut known, mut services) = (BTreeSet::new(), Vec::with_capacity(count));
    for index in 0.. {
        if services.len() == count {
            break;
        }
        let mut name = format!("{}-{}", word(), word());
        if index % 3 != 0 {
            name = format!("{name}-{}", word());
        }
        let number = index % NAMESPACES;
        let namespace = match WORDS.get(number % WORDS.len()) {
            Some(team) if number > 0 => format!("team-{team}-{number}"),
            _ => OWN.to_owned(),
        };
        if known.insert((namespace.clone(), name.clone())) {
            let cluster_ip = format!("10.{}.{}.{}", 96 + (index >> 16), index >> 8 & 255, index & 255);
            services.push(NamedService { name, namespace, cluster_ip });
        }
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_distinct_names_and_addresses() {
        let services = services(2_000);
        let names: BTreeSet<_> = services.iter().map(NamedService::canonical).collect();
        let addresses: BTreeSet<_> = services.iter().map(|service| &service.cluster_ip).collect();
        assert_eq!((names.len(), addresses.len()), (2_000, 2_000));
        assert_eq!(services.first().map(|first| &*first.namespace), Some(OWN));
    }
}
