//! The changes of a new table, as one line for people.

use std::{collections::BTreeMap, fmt};

use byname_core::wire;

use crate::{
    compile::service_text,
    output::{count, some},
};

/// A summary of a table: for each Service its checksum and its number of ready endpoints.
#[derive(Debug, Default)]
pub(super) struct Summary(BTreeMap<String, (u32, usize)>);

impl Summary {
    /// Summarizes `table`.
    pub(super) fn of(table: &wire::Table) -> Self {
        let of_service =
            |service: &wire::Service| (crc32fast::hash(service_text(service).as_bytes()), ready_endpoints(service));
        Self(table.services.iter().map(|(key, service)| (key.clone(), of_service(service))).collect())
    }

    /// The number of Services.
    pub(super) fn services(&self) -> usize {
        self.0.len()
    }

    /// The number of ready endpoints.
    pub(super) fn endpoints(&self) -> usize {
        self.0.values().map(|(_, endpoints)| endpoints).sum()
    }

    /// The changes since `old`, such as `shop/cart: 3 → 2 endpoints`.
    pub(super) fn since(&self, old: &Self) -> String {
        let changed = self.0.iter().filter_map(|(key, (sum, endpoints))| match old.0.get(key) {
            None => Some(format!("{key}: new, {}", count(*endpoints, "endpoint", "endpoints"))),
            Some((other, _)) if other == sum => None,
            Some((_, before)) if before == endpoints => Some(format!("{key}: changed")),
            Some((_, before)) => Some(format!("{key}: {before} → {endpoints} endpoints")),
        });
        let gone = old.0.keys().filter(|key| !self.0.contains_key(*key)).map(|key| format!("{key}: gone"));
        let mut all = changed.chain(gone).peekable();
        if all.peek().is_some() { some(all) } else { "no Service changed".to_owned() }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = count(self.services(), "Service", "Services");
        write!(f, "{services}, {}", count(self.endpoints(), "ready endpoint", "ready endpoints"))
    }
}

fn ready_endpoints(service: &wire::Service) -> usize {
    let groups = service.endpoints.iter().flatten().filter(|group| group.ready != Some(false));
    groups.map(|group| group.addresses.iter().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(services: &[(&str, usize, u32)]) -> Summary {
        Summary(services.iter().map(|(key, endpoints, sum)| ((*key).to_owned(), (*sum, *endpoints))).collect())
    }

    #[test]
    fn tells_what_changed_and_how_much_more() {
        let old = summary(&[("a/a", 3, 1), ("a/b", 1, 1), ("a/c", 1, 1), ("a/d", 1, 1)]);
        let new = summary(&[("a/a", 2, 2), ("a/b", 1, 2), ("a/d", 1, 1), ("a/e", 5, 1)]);
        assert_eq!(new.since(&old), "a/a: 3 → 2 endpoints, a/b: changed, a/e: new, 5 endpoints and 1 more");
        assert_eq!(new.since(&new), "no Service changed");
        assert_eq!(summary(&[]).since(&summary(&[("a/a", 1, 1)])), "a/a: gone");
    }
}
