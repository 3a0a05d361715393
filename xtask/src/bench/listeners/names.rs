//! The Services of a sidecar with many listeners.

use byname_test_support::mesh_names;

use super::super::world::OWN;

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

/// This many Services. The first is in the caller's own namespace.
pub(super) fn services(count: usize) -> Vec<NamedService> {
    let named = |(index, (namespace, name)): (usize, _)| {
        let cluster_ip = format!("10.{}.{}.{}", 96 + (index >> 16), index >> 8 & 255, index & 255);
        NamedService { name, namespace, cluster_ip }
    };
    mesh_names(OWN, count).into_iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
