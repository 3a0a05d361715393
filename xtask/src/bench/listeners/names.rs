//! The Services of a sidecar with many listeners.

use byname_test_support::mesh_names;

use super::super::{
    push::{PROBE, TARGETS},
    traffic::Requests,
    world::{OWN, RequestedHost},
};

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

    /// The name as workloads of the caller's namespace ask for it.
    fn asked(&self) -> String {
        if self.namespace == OWN { self.name.clone() } else { format!("{}.{}", self.name, self.namespace) }
    }
}

/// The Services, and perhaps an alias that changes.
#[derive(Clone)]
pub(super) struct Names {
    pub(super) services: Vec<NamedService>,
    /// The Service that the alias leads to. None: there is no alias [`PROBE`].
    pub(super) probe: Option<&'static str>,
}

impl Names {
    /// This many Services. The first is in the caller's own namespace.
    pub(super) fn new(count: usize) -> Self {
        Self { services: services(count), probe: None }
    }

    /// This many Services, the alias [`PROBE`], and its targets. The alias leads to the target with this number.
    pub(super) fn with_probe(count: usize, target: usize) -> Self {
        let mut names = Self::new(count);
        names.services.extend(TARGETS.iter().zip(1..).map(|(name, number)| NamedService {
            name: (*name).to_owned(),
            namespace: OWN.to_owned(),
            cluster_ip: format!("10.95.0.{number}"),
        }));
        names.probe = TARGETS.get(target % TARGETS.len()).copied();
        names
    }

    /// The alias, with the canonical name that it leads to.
    pub(super) fn alias(&self) -> Option<(&'static str, String)> {
        self.probe.map(|target| (PROBE, format!("{target}.{OWN}.svc.cluster.local")))
    }

    /// Requests for `count` names without the first `skipped` ones.
    pub(super) fn requests(&self, skipped: usize, count: usize) -> Requests {
        let asked = self.services.iter().skip(skipped).take(count);
        Requests::new(
            asked.map(|service| RequestedHost { asked: service.asked(), canonical: service.canonical() }).collect(),
        )
    }
}

fn services(count: usize) -> Vec<NamedService> {
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
        let services = Names::with_probe(2_000, 0).services;
        let names: BTreeSet<_> = services.iter().map(NamedService::canonical).collect();
        let addresses: BTreeSet<_> = services.iter().map(|service| &service.cluster_ip).collect();
        assert_eq!((names.len(), addresses.len()), (2_002, 2_002));
        assert_eq!(services.first().map(|first| &*first.namespace), Some(OWN));
    }
}
