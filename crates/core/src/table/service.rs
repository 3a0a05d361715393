//! A Service in a table: its spec, and what the table's policy and its caller make of it.

use alloc::{boxed::Box, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use super::{
    endpoint_group::{EndpointGroup, PortKey},
    service_port::{ServicePort, UpstreamProtocol},
    service_spec::{ServiceKind, ServiceSpec},
    subsets::Subsets,
    usable_endpoints::{Choice, ServingRules, Usable},
};
use crate::{
    collections::{combine, hash_bytes},
    names::{EndpointLabel, Locality},
    policy::Policy,
    wire::{IpFamily, SteeringMode},
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
    /// Whether names that DNS resolves to pod addresses reach any port of the pods: only an endpoint's address can be combined
    /// with any port, and a cluster has the ports of its Service.
    reaches_pod_ports: bool,
}

#[cfg(target_arch = "wasm32")]
const _: () = assert!(size_of::<Service>() == 128 && size_of::<Option<Service>>() == 128);

/// What the table works out for a Service once, and a request reads.
#[derive(Clone, Debug)]
enum Precomputed {
    /// The usable endpoints of each of `spec.ports`, then of `spec.endpoint_ports()`, and then of each of `spec.ports` for each
    /// shared hostname. Where any port of the pods can be reached, each shared hostname and at last a headless Service have one
    /// more. Empty where the endpoints are unknown and there are no subsets.
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
        let reaches_pod_ports = spec.steering_mode(policy) == SteeringMode::Endpoint && spec.endpoints.is_some();
        let precomputed = match &spec.kind {
            ServiceKind::ExternalName(alias) => {
                Precomputed::AllowedPorts(policy.external_names.allowed_ports(&alias.target).into())
            }
            ServiceKind::Virtual(_) | ServiceKind::Headless => {
                Precomputed::Usable(find_usable(&spec, reaches_pod_ports, &policy.caller))
            }
        };
        let served_ports = match &precomputed {
            Precomputed::Usable(usable) if spec.endpoints.is_some() => {
                ServedPorts::of(usable.get(..spec.ports.len() + spec.endpoint_ports().len()).unwrap_or_default())
            }
            Precomputed::Usable(_) | Precomputed::AllowedPorts(_) => ServedPorts::All,
        };
        Self { spec, precomputed, slot, addresses_dropped, served_ports, reaches_pod_ports }
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
        Some((usable.choice, self.addresses(usable)?.into_iter()))
    }

    /// Address and port of the endpoints of `usable`, in order; `None` where the endpoints are unknown.
    pub(crate) fn addresses(&self, usable: &Usable) -> Option<Vec<SocketAddr>> {
        let groups = self.spec.endpoints.as_ref()?.set_groups();
        let subsets = usable.subsets.iter();
        let mut endpoints: Vec<SocketAddr> = subsets.flat_map(|subset| subset.set.addresses(groups)).collect();
        // Subsets may share endpoints.
        endpoints.sort_unstable();
        endpoints.dedup();
        Some(endpoints)
    }

    /// The protocol in which Envoy speaks to the endpoints of the port called `port`; the client's own, where the Service does
    /// not have the port.
    #[must_use]
    pub fn upstream_protocol(&self, port: &str) -> UpstreamProtocol {
        let own = self.ports().iter().find(|own| *own.name == *port);
        own.map_or(UpstreamProtocol::AsClient, |own| own.upstream_protocol)
    }

    /// The usable endpoints of the port at `index` of [`Service::ports`], or behind those of `endpoint_ports`, or behind those of a
    /// shared hostname.
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
            let index = self.spec.endpoint_ports().iter().position(|other| **other == *port)?;
            Some(self.ports().len() + index)
        })?;
        self.usable_at(index)
    }

    /// The usable endpoints of the port at `index` of [`Service::ports`] that have the shared hostname at `hostname`; `None`: of
    /// any port of the pods.
    pub(crate) fn usable_by_hostname(&self, hostname: usize, index: Option<usize>) -> Option<&Usable> {
        let ports = self.ports().len();
        let each = ports + usize::from(self.reaches_pod_ports);
        self.usable_at(ports + self.spec.endpoint_ports().len() + hostname * each + index.unwrap_or(ports))
    }

    /// Whether names that DNS resolves to pod addresses reach any port of the pods.
    pub(crate) fn reaches_pod_ports(&self) -> bool {
        self.reaches_pod_ports
    }

    /// Of a headless Service: the usable endpoints of any port of the pods.
    pub(crate) fn usable_at_any_port(&self) -> Option<&Usable> {
        let is_there = self.reaches_pod_ports && matches!(self.spec.kind, ServiceKind::Headless);
        match &self.precomputed {
            Precomputed::Usable(usable) if is_there => usable.last(),
            Precomputed::Usable(_) | Precomputed::AllowedPorts(_) => None,
        }
    }

    /// The number of ready endpoints that have the shared hostname at `hostname`.
    pub(crate) fn endpoints_by_hostname(&self, hostname: usize) -> usize {
        let shared = self.spec.endpoints.as_ref().and_then(|endpoints| endpoints.shared_hostnames().nth(hostname));
        shared.map_or(0, |(_, _, groups)| groups.iter().map(EndpointGroup::len).sum())
    }

    /// The address of the endpoint called `label`, and its own number of the port called `port`, as the groups have it that have
    /// the port: an endpoint may be in several EndpointSlices.
    pub(crate) fn find_with_port(&self, label: EndpointLabel<'_>, port: &str, number: u16) -> Option<(IpAddr, u16)> {
        let endpoints = self.spec.endpoints.as_ref()?;
        let has_port = |group: &EndpointGroup| group.target_port(port, Some(number)).is_some();
        let (address, group) = match label {
            EndpointLabel::Hostname(hostname) => {
                let (_, address, group) = endpoints.find_one(hostname, self.spec.family, &has_port)?;
                (address, group)
            }
            EndpointLabel::Address(address) => (address, endpoints.find_unnamed(address, &has_port)?),
        };
        Some((address, group.target_port(port, Some(number))?))
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

/// The usable endpoints of every port, and where `has_any_port` of any port of the pods, for a caller at `caller`.
fn find_usable(spec: &ServiceSpec, has_any_port: bool, caller: &Locality) -> Box<[Usable]> {
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
    let id = |name| combine(service_hash, hash_bytes(str::as_bytes(name)));
    let port = |name, number| PortKey { name, number, id: id(name), is_any: false };
    // No port has this name.
    let any_port = has_any_port.then(|| PortKey { is_any: true, ..port("*", None) });
    let own = spec.ports.iter().map(|own| port(&own.name, Some(own.port)));
    match &spec.endpoints {
        None if subsets.is_empty() => Box::default(),
        None => own.zip(0..).map(|(port, index)| Usable::unknown(port, index, subsets, caller)).collect(),
        Some(endpoints) => {
            let all = (endpoints.groups(), 0);
            let endpoints_own = spec.endpoint_ports().iter().map(|name| port(name, None));
            let of_service = own.clone().chain(endpoints_own).map(|port| (all, port, rules));
            let none = &none;
            let by_hostname = endpoints.shared_hostnames().flat_map(|(hostname, first, groups)| {
                let hostname = hash_bytes(hostname.as_bytes());
                let family = spec.family.or_else(|| groups.first().map(EndpointGroup::family));
                let rules =
                    ServingRules { headless: true, local: false, family, is_single_stack: false, subsets: none };
                // At most MAX_SERVICE_SHARES.
                let groups = (groups, u32::try_from(first).unwrap_or(u32::MAX));
                let ports = own.clone().chain(any_port);
                ports.map(move |port| (groups, PortKey { id: combine(port.id, hostname), ..port }, rules))
            });
            let at_any_port = any_port.filter(|_| rules.headless).map(|port| (all, port, rules));
            // Nearly every Service has no more. Without this room the list would grow, and be copied at the end.
            let mut usable =
                Vec::with_capacity(own.len() + spec.endpoint_ports().len() + usize::from(at_any_port.is_some()));
            let each = of_service.chain(by_hostname).chain(at_any_port).zip(0..);
            usable.extend(each.map(|((groups, port, rules), index)| Usable::among(groups, port, index, rules, caller)));
            usable.into()
        }
    }
}
