//! A Service in a table: its spec, and what the table's policy and its caller make of it.

use alloc::{boxed::Box, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use super::{
    endpoint_group::PortKey,
    service_port::{ServicePort, UpstreamProtocol},
    service_spec::{ServiceKind, ServiceSpec},
    subsets::Subsets,
    usable_endpoints::{Choice, ServingRules, Usable},
};
use crate::{
    collections::{combine, hash_bytes},
    names::Locality,
    policy::Policy,
    wire::IpFamily,
};

/// A Service in a table.
///
/// In the module it takes 128 bytes, aligned to the lines of the processor's caches: nearly every request finds all that it
/// needs of a Service in one place in memory.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub struct Service {
    pub(crate) spec: ServiceSpec,
    precomputed: Precomputed,
    /// The slot of the table that holds the Service.
    pub(crate) slot: u32,
    /// The number of endpoint addresses that were dropped because no other machine can reach them.
    pub(super) addresses_dropped: u16,
    served_ports: ServedPorts,
}

#[cfg(target_arch = "wasm32")]
const _: () = assert!(size_of::<Service>() == 128 && size_of::<Option<Service>>() == 128);

/// What the table works out for a Service once, and a request reads.
#[derive(Clone, Debug)]
enum Precomputed {
    /// The usable endpoints of each of `spec.ports` and then of `spec.endpoint_ports`; empty where the endpoints are unknown and
    /// there are no subsets.
    Usable(Box<[Usable]>),
    /// Of an ExternalName Service: the ports on which its target is listed.
    AllowedPorts(Box<[u16]>),
}

/// Which ports have a usable endpoint, so that nearly every request is spared a look at [`Precomputed::Usable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServedPorts {
    /// Every port, or the endpoints are unknown.
    All,
    None,
    Some,
}

impl Service {
    /// Prepares `spec` for `slot` of a table with this policy. `addresses_dropped` of its endpoints were left out.
    #[inline(never)]
    pub(super) fn new(mut spec: ServiceSpec, slot: u32, addresses_dropped: u16, policy: &Policy) -> Self {
        if let (Some(endpoints), Some(distribution)) = (&mut spec.endpoints, spec.distribution) {
            endpoints.derive_hints(distribution);
        }
        let precomputed = match &spec.kind {
            ServiceKind::ExternalName(alias) => {
                Precomputed::AllowedPorts(policy.external_names.allowed_ports(&alias.target).into())
            }
            ServiceKind::Virtual(_) | ServiceKind::Headless => Precomputed::Usable(find_usable(&spec, &policy.caller)),
        };
        let served_ports = match &precomputed {
            Precomputed::Usable(usable) if spec.endpoints.is_some() => ServedPorts::of(usable),
            Precomputed::Usable(_) | Precomputed::AllowedPorts(_) => ServedPorts::All,
        };
        Self { spec, precomputed, slot, addresses_dropped, served_ports }
    }

    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.spec.name.as_str()
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.spec.name.namespace()
    }

    /// The name, without the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.spec.name.name()
    }

    /// The TCP ports.
    #[must_use]
    #[inline(always)]
    pub fn ports(&self) -> &[ServicePort] {
        &self.spec.ports
    }

    /// The addresses in the cluster; none for headless and ExternalName Services.
    #[must_use]
    pub fn cluster_ips(&self) -> &[IpAddr] {
        self.spec.cluster_ips()
    }

    /// The usable endpoints of the port called `port`, each with its own port, in order, and why they are usable: for the caller
    /// of the table that holds the Service. `None` where the Service has no such port, or its endpoints are unknown.
    #[must_use]
    pub fn usable(&self, port: &str) -> Option<(Choice, impl Iterator<Item = SocketAddr>)> {
        let usable = self.usable_for(port)?;
        let groups = self.spec.endpoints.as_ref()?.groups();
        let subsets = usable.subsets.iter();
        let mut endpoints: Vec<SocketAddr> = subsets.flat_map(|subset| subset.set.addresses(groups)).collect();
        // Subsets may share endpoints.
        endpoints.sort_unstable();
        endpoints.dedup();
        Some((usable.choice, endpoints.into_iter()))
    }

    /// The protocol in which Envoy speaks to the endpoints of the port called `port`; the client's own, where the Service does
    /// not have the port.
    #[must_use]
    pub fn upstream_protocol(&self, port: &str) -> UpstreamProtocol {
        let own = self.ports().iter().find(|own| *own.name == *port);
        own.map_or(UpstreamProtocol::AsClient, |own| own.upstream_protocol)
    }

    /// The usable endpoints of the port at `index` of [`Service::ports`], or behind those of `endpoint_ports`.
    pub(crate) fn usable_at(&self, index: usize) -> Option<&Usable> {
        match &self.precomputed {
            Precomputed::Usable(usable) => usable.get(index),
            Precomputed::AllowedPorts(_) => None,
        }
    }

    /// The usable endpoints of the port called `port`.
    pub(crate) fn usable_for(&self, port: &str) -> Option<&Usable> {
        let own = self.ports().iter().position(|other| *other.name == *port);
        let index = own.or_else(|| {
            let index = self.spec.endpoint_ports.iter().position(|other| **other == *port)?;
            Some(self.ports().len() + index)
        })?;
        self.usable_at(index)
    }

    /// Whether it is known that no endpoint is usable on the port at `index` of [`Service::ports`].
    #[inline(always)]
    pub(crate) fn has_no_endpoints(&self, index: usize) -> bool {
        match self.served_ports {
            ServedPorts::All => false,
            ServedPorts::None => true,
            ServedPorts::Some => self.usable_at(index).is_some_and(|usable| usable.endpoints == 0),
        }
    }

    /// Whether any endpoint, ready or not, has the port called `port`.
    pub(crate) fn any_endpoint_has(&self, port: &str) -> bool {
        let number = self.ports().iter().find(|own| *own.name == *port).map(|own| own.port);
        let groups = self.spec.endpoints.iter().flat_map(|endpoints| endpoints.groups());
        groups.into_iter().any(|group| group.target_port(port, number).is_some())
    }

    /// The family of a single-stack Service whose endpoints all have the other one.
    pub(crate) fn missing_family(&self) -> Option<IpFamily> {
        let family = self.spec.family.filter(|_| self.spec.is_single_stack)?;
        let mut groups = self.spec.endpoints.iter().flat_map(|endpoints| endpoints.groups());
        groups.all(|group| group.family() != family).then_some(family)
    }

    /// Of an ExternalName Service: whether its external target is listed with `port`.
    pub(crate) fn allows_port(&self, port: u16) -> bool {
        matches!(&self.precomputed, Precomputed::AllowedPorts(ports) if ports.contains(&port))
    }
}

impl ServedPorts {
    fn of(usable: &[Usable]) -> Self {
        let served = usable.iter().filter(|usable| usable.endpoints > 0).count();
        match served {
            0 => Self::None,
            served if served == usable.len() => Self::All,
            _ => Self::Some,
        }
    }
}

/// The usable endpoints of every port, for a caller at `caller`.
fn find_usable(spec: &ServiceSpec, caller: &Locality) -> Box<[Usable]> {
    let none = Subsets::default();
    let subsets = spec.subsets.as_deref().unwrap_or(&none);
    let rules = ServingRules {
        headless: matches!(spec.kind, ServiceKind::Headless),
        local: spec.local,
        family: spec.family,
        is_single_stack: spec.is_single_stack,
        subsets,
    };
    let service_hash = hash_bytes(spec.name.as_str().as_bytes());
    let port = |name, number| PortKey { name, number, id: combine(service_hash, hash_bytes(str::as_bytes(name))) };
    let own = spec.ports.iter().map(|own| port(&own.name, Some(own.port)));
    match &spec.endpoints {
        None if subsets.is_empty() => Box::default(),
        None => own.zip(0..).map(|(port, index)| Usable::unknown(port, index, subsets, caller)).collect(),
        Some(endpoints) => {
            let endpoints_own = spec.endpoint_ports.iter().map(|name| port(name, None));
            let ports = own.chain(endpoints_own).zip(0..);
            ports.map(|(port, index)| Usable::among(endpoints.groups(), port, index, rules, caller)).collect()
        }
    }
}
