//! A Service as compiled from its wire form: checked, compact, and independent of the table that it is put into.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::{net::IpAddr, str::FromStr};

use super::{
    endpoints::Endpoints,
    headless,
    service_port::{NonTcpPort, OtherPort, ServicePort, compile_ports},
    subsets::Subsets,
};
use crate::{
    collections::OneOrMany,
    limits::{MAX_CLUSTER_IPS, MAX_SERVICE_SHARES},
    names::{Name, NamespacedName, is_special},
    policy::{Policy, SteeringOverride, is_refused_target},
    wire::{
        self, FieldErrorType, FieldErrors, FieldPathRef, InternalTrafficPolicy, IpFamily, Protocol, ServiceType,
        SessionAffinity, SteeringMode, TrafficDistribution,
    },
};

/// A Service as the configuration describes it.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    pub(crate) name: NamespacedName,
    /// The TCP ports, which alone requests go to.
    pub(crate) ports: OneOrMany<ServicePort>,
    pub(crate) kind: ServiceKind,
    /// `sessionAffinity: ClientIP`.
    pub(crate) affinity: bool,
    /// `internalTrafficPolicy: Local`.
    pub(crate) local: bool,
    pub(crate) distribution: Option<TrafficDistribution>,
    /// The preferred family of addresses.
    pub(crate) family: Option<IpFamily>,
    /// Whether endpoints of the other family never serve: kube-proxy reads the EndpointSlices of the Service's families only.
    pub(crate) is_single_stack: bool,
    pub(crate) steering: Option<Box<SteeringOverride>>,
    pub(crate) subsets: Option<Box<Subsets>>,
    /// `None`: the endpoints are unknown.
    pub(crate) endpoints: Option<Endpoints>,
    /// Boxed, because few Services have any.
    rare_ports: Option<Box<RarePorts>>,
}

/// The ports of a Service beside its own TCP ports.
#[derive(Clone, Debug, Default)]
struct RarePorts {
    /// Names of ports that only the endpoints of a headless Service have.
    of_endpoints: Box<[Box<str>]>,
    non_tcp: Box<[NonTcpPort]>,
}

/// What the name of a Service resolves to in DNS.
#[derive(Clone, Debug)]
pub(crate) enum ServiceKind {
    /// The Service's own addresses.
    Virtual(Box<[IpAddr]>),
    /// The addresses of its ready endpoints.
    Headless,
    /// Another name.
    ExternalName(Box<AliasTarget>),
}

/// The target of an ExternalName Service.
#[derive(Clone, Debug)]
pub(crate) struct AliasTarget {
    /// The absolute name, in lower case.
    pub(crate) target: Box<str>,
    /// The port that replaces the one that was asked for.
    pub(crate) port: Option<u16>,
    pub(crate) tls: Option<bool>,
    /// Whether no configuration can allow the target.
    pub(crate) is_refused: bool,
}

impl ServiceSpec {
    /// How its requests are steered in a table with this policy.
    pub(crate) fn steering_mode(&self, policy: &Policy) -> SteeringMode {
        self.steering.as_ref().and_then(|own| own.mode).unwrap_or(policy.steering_mode)
    }

    /// How many endpoints it has, and what they take of [`MAX_TABLE_SHARES`](crate::limits::MAX_TABLE_SHARES).
    #[must_use]
    pub fn endpoints_and_shares(&self) -> (usize, usize) {
        (self.endpoints.as_ref().map_or(0, Endpoints::len), self.shares())
    }

    /// Ports times groups of endpoints times subsets: the memory that the usable endpoints take grows with it.
    pub(super) fn shares(&self) -> usize {
        let Some(endpoints) = &self.endpoints else { return 0 };
        let subsets = self.subsets.as_ref().map_or(0, |subsets| subsets.len());
        (self.ports.len() + self.endpoint_ports().len()) * endpoints.groups().len() * (subsets + 1)
            + self.ports.len() * endpoints.shared_groups()
    }

    /// Names of ports that only the endpoints of a headless Service have.
    pub(super) fn endpoint_ports(&self) -> &[Box<str>] {
        self.rare_ports.as_ref().map_or(&[], |ports| &ports.of_endpoints)
    }

    fn non_tcp_ports(&self) -> &[NonTcpPort] {
        self.rare_ports.as_ref().map_or(&[], |ports| &ports.non_tcp)
    }

    /// The port called `name` of `protocol` that DNS has and that no request can go to.
    pub(super) fn other_port(&self, name: &str, protocol: Protocol) -> Option<OtherPort<'_>> {
        let is_it = |port: &&NonTcpPort| *port.name == *name && port.protocol == protocol;
        let own = self.non_tcp_ports().iter().find(is_it).map(|port| OtherPort { name: &port.name, protocol });
        match (&self.kind, &self.endpoints) {
            _ if name.is_empty() => None,
            (ServiceKind::Headless, Some(endpoints)) => endpoints.other_port(name, protocol, own),
            _ => own,
        }
    }

    /// The protocol of the Service's port `number`, which is not TCP.
    pub(crate) fn protocol_of(&self, number: u16) -> Option<Protocol> {
        self.non_tcp_ports().iter().find(|port| port.port == number).map(|port| port.protocol)
    }

    /// Takes one of its addresses in the cluster from the Service.
    pub(super) fn remove_cluster_ip(&mut self, address: IpAddr) {
        if let ServiceKind::Virtual(addresses) = &mut self.kind {
            *addresses = addresses.iter().copied().filter(|own| *own != address).collect();
        }
    }

    /// The addresses in the cluster; none for headless and ExternalName Services.
    pub(crate) fn cluster_ips(&self) -> &[IpAddr] {
        match &self.kind {
            ServiceKind::Virtual(addresses) => addresses,
            ServiceKind::Headless | ServiceKind::ExternalName(_) => &[],
        }
    }

    /// Compiles the Service called `key`, which is `namespace/name`.
    ///
    /// # Errors
    /// Every [`FieldError`](crate::FieldError) of `key` and `wire` that does not depend on the rest of the table.
    pub fn compile(key: &str, wire: &wire::Service) -> Result<Self, FieldErrors> {
        let table = FieldPathRef::root("table");
        let services = table.field("services");
        let at = services.key(key);
        let mut errors = FieldErrors::default();
        let Some(name) = NamespacedName::parse(key) else {
            let labels: Vec<&str> = key.split('/').collect();
            let error_type =
                if labels.len() == 2 { FieldErrorType::InvalidLabel } else { FieldErrorType::InvalidNamespacedName };
            errors.add(&at, "", error_type);
            return Err(errors);
        };
        let kind = compile_kind(wire, &at, &mut errors);
        let (ports, non_tcp) = compile_ports(&wire.ports, &at.field("ports"), &mut errors);
        let in_endpoints = at.field("endpoints");
        let endpoints = wire
            .endpoints
            .as_ref()
            .map(|groups| Endpoints::compile(groups, wire.publish_not_ready_addresses, &in_endpoints, &mut errors));
        let of_endpoints = match (&kind, &endpoints) {
            (ServiceKind::Headless, Some(endpoints)) => headless::endpoint_ports(endpoints, &ports),
            _ => Box::default(),
        };
        let subsets =
            (!wire.subsets.is_empty()).then(|| Box::new(Subsets::compile(wire, &at.field("subsets"), &mut errors)));
        let in_steering = at.field("steering");
        let steering = wire.steering.as_ref();
        let steering =
            steering.map(|steering| Box::new(SteeringOverride::compile(steering, &in_steering, &mut errors)));
        let affinity = wire.session_affinity == SessionAffinity::ClientIP;
        if let Some(steering) = wire.steering.as_ref() {
            if !wire.subsets.is_empty() && !steering.subset.is_empty() {
                errors.add(&in_steering.field("subset"), &steering.subset, FieldErrorType::BesideSubsets);
            }
            if affinity && steering.load_balancer.is_some() {
                errors.add(&in_steering.field("loadBalancer"), "", FieldErrorType::BesideAffinity);
            }
        }
        let spec = Self {
            family: preferred_family(wire, &kind),
            is_single_stack: wire.ip_families.len() == 1 && !matches!(kind, ServiceKind::Headless),
            name,
            kind,
            ports,
            endpoints,
            rare_ports: (!of_endpoints.is_empty() || !non_tcp.is_empty())
                .then(|| Box::new(RarePorts { of_endpoints, non_tcp })),
            subsets,
            local: wire.internal_traffic_policy == InternalTrafficPolicy::Local,
            distribution: wire.traffic_distribution,
            affinity,
            steering,
        };
        if spec.shares() > MAX_SERVICE_SHARES {
            errors.add(&in_endpoints, spec.shares(), FieldErrorType::TooManyShares);
        }
        errors.or(spec)
    }
}

/// The first of `ipFamilies`, which the API server keeps in the order of the cluster IPs.
#[inline(never)]
fn preferred_family(wire: &wire::Service, kind: &ServiceKind) -> Option<IpFamily> {
    let of_address = match kind {
        ServiceKind::Virtual(addresses) => addresses.first().map(|address| match address {
            IpAddr::V4(_) => IpFamily::IPv4,
            IpAddr::V6(_) => IpFamily::IPv6,
        }),
        ServiceKind::Headless | ServiceKind::ExternalName(_) => None,
    };
    wire.ip_families.first().copied().or(of_address)
}

#[inline(never)]
fn compile_kind(wire: &wire::Service, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> ServiceKind {
    if wire.service_type == ServiceType::ExternalName {
        return compile_external_name(wire, at, errors);
    }
    if let Some(target) = &wire.external_name {
        errors.add(&at.field("externalName"), target, FieldErrorType::ExternalNameOnly);
    }
    if wire.alias.is_some() {
        errors.add(&at.field("alias"), "", FieldErrorType::ExternalNameOnly);
    }
    if wire.is_headless() {
        return ServiceKind::Headless;
    }
    let at = at.field("clusterIPs");
    let texts: Vec<&str> = wire.cluster_ips.iter().collect();
    if texts.len() > MAX_CLUSTER_IPS {
        errors.add(&at, texts.len(), FieldErrorType::TooMany(MAX_CLUSTER_IPS));
    }
    let mut addresses = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        match IpAddr::from_str(text).map(|address| address.to_canonical()) {
            Ok(address) if is_special(address) => {
                errors.add(&at.index(index), text, FieldErrorType::SpecialAddress);
            }
            Ok(address) => addresses.push(address),
            Err(_) => errors.add(&at.index(index), text, FieldErrorType::InvalidAddress),
        }
    }
    ServiceKind::Virtual(addresses.into())
}

#[inline(never)]
fn compile_external_name(wire: &wire::Service, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> ServiceKind {
    if wire.cluster_ips.iter().next().is_some() {
        errors.add(&at.field("clusterIPs"), "", FieldErrorType::NotForExternalName);
    }
    let fields = [
        ("endpoints", wire.endpoints.is_some()),
        ("subsets", !wire.subsets.is_empty()),
        ("steering", wire.steering.is_some()),
    ];
    for (field, is_there) in fields {
        if is_there {
            errors.add(&at.field(field), "", FieldErrorType::NotForExternalName);
        }
    }
    let target = match &wire.external_name {
        None => {
            errors.add(at, "", FieldErrorType::ExternalNameRequired);
            String::new()
        }
        Some(target) => compile_target(target, &at.field("externalName"), errors),
    };
    let alias = wire.alias.unwrap_or_default();
    if alias.port == Some(0) {
        errors.add(&at.field("alias").field("port"), 0, FieldErrorType::InvalidPort);
    }
    ServiceKind::ExternalName(Box::new(AliasTarget {
        is_refused: is_refused_target(&target),
        target: target.into(),
        port: alias.port,
        tls: alias.tls,
    }))
}

/// The target in canonical form. It is absolute with or without a dot at its end.
fn compile_target(target: &str, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> String {
    match Name::parse_absolute(target) {
        Ok(name) if name.looks_like_ipv4() => errors.add(at, target, FieldErrorType::LooksLikeIpv4),
        Ok(name) => return name.as_str().to_owned(),
        Err(_) => errors.add(at, target, FieldErrorType::InvalidName),
    }
    String::new()
}
