//! A Service as the table holds it: checked, compact, and nothing left to parse for a request.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};
use core::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::{
    caller::Whereabouts,
    endpoints::{Endpoints, Port},
    few::Few,
    key::Key,
    limits::{MAX_CLUSTER_IPS, MAX_SERVICE_PORTS, MAX_SERVICE_SHARES},
    name::{Name, is_label},
    policy::is_refused_target,
    problem::{Fault, Place, Problems},
    rendezvous,
    special::is_special,
    steer::Override,
    subsets::Subsets,
    usable::{Choice, Rules, Usable},
    wire::{self, InternalTrafficPolicy, IpFamily, Protocol, ServiceType, SessionAffinity, TrafficDistribution},
};

/// A Service.
///
/// In the module it has 128 bytes, and begins where the processor's caches do: what a request needs of it, down to
/// `steering`, comes from memory in one piece, and for most requests nothing else does.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub struct Service {
    pub(crate) key: Key,
    /// TCP ports alone.
    ports: Few<ServicePort>,
    /// The endpoints that may serve each of the ports and then of `endpoint_ports`, put in by the table; none where nothing is
    /// known of them and there are no subsets.
    pub(crate) usable: Box<[Usable]>,
    pub(crate) kind: Kind,
    /// `sessionAffinity: ClientIP`.
    pub(crate) affinity: bool,
    /// `internalTrafficPolicy: Local`.
    local: bool,
    distribution: Option<TrafficDistribution>,
    /// The family of addresses that is preferred.
    pub(crate) family: Option<IpFamily>,
    pub(crate) steering: Option<Box<Override>>,
    /// `None`: there are none.
    pub(crate) subsets: Option<Box<Subsets>>,
    /// `None`: nothing is known of them.
    pub(crate) endpoints: Option<Endpoints>,
    /// Names of ports that only its endpoints have, where it is headless.
    endpoint_ports: Box<[Box<str>]>,
    /// Its place in the table.
    pub(crate) index: u32,
    /// Ports times groups of endpoints times subsets: what `usable` takes grows with it.
    pub(crate) shares: usize,
    pub(crate) addresses_dropped: usize,
}

/// As the module has them.
#[cfg(target_arch = "wasm32")]
const _: () = assert!(size_of::<Service>() == 128 && size_of::<Option<Service>>() == 128);

/// What DNS makes of a Service.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// It has addresses of its own.
    Virtual(Box<[IpAddr]>),
    /// Its name means its endpoints.
    Headless,
    /// Its name means another name.
    ExternalName(Box<Alias>),
}

/// The target of an ExternalName Service.
#[derive(Clone, Debug)]
pub(crate) struct Alias {
    pub(crate) target: Box<str>,
    pub(crate) port: Option<u16>,
    pub(crate) tls: Option<bool>,
    /// Whether nothing may lead to it, whatever is listed.
    pub(crate) is_refused: bool,
    /// Ports of the allow-list for this target, put in by the table.
    pub(crate) allowed_ports: Box<[u16]>,
}

/// How the endpoints of a port are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// As the client speaks, in clear text.
    AsClient,
    /// HTTP/2 in clear text.
    Http2,
    /// Over TLS.
    Tls,
}

impl Spoken {
    /// By the port's application protocol, in upper or lower case; by its name, up to a `-`, where it has none: what is called
    /// `https` is never spoken to in clear text.
    fn of(wire: &wire::ServicePort) -> Self {
        // `grpc-web` is HTTP/1.1 to most, and none of gRPC's names.
        let name = match wire.name.as_str() {
            name if name.starts_with("grpc-web") => "",
            name => name.split('-').next().unwrap_or_default(),
        };
        let protocol = wire.app_protocol.as_deref().unwrap_or(name);
        let is_one_of = |protocols: &[&str]| protocols.iter().any(|known| known.eq_ignore_ascii_case(protocol));
        if is_one_of(&["https", "tls", "wss", "kubernetes.io/wss"]) {
            Self::Tls
        } else if is_one_of(&["kubernetes.io/h2c", "h2c", "http2", "grpc"]) {
            Self::Http2
        } else {
            Self::AsClient
        }
    }
}

/// A TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub(crate) name: Box<str>,
    pub(crate) port: u16,
    pub(crate) app_protocol: Option<Box<str>>,
    pub(crate) spoken: Spoken,
    /// Whether it is known that no endpoint may serve it, put in by the table.
    pub(crate) is_deserted: bool,
}

impl ServicePort {
    /// Its name; empty where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number: the Service's port, not a `targetPort`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its application protocol (KEP-1422), where it says one.
    #[must_use]
    pub fn app_protocol(&self) -> Option<&str> {
        self.app_protocol.as_deref()
    }
}

impl Service {
    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_str()
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.key.namespace()
    }

    /// Its name, without the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.name()
    }

    /// Its TCP ports.
    #[must_use]
    #[inline(always)]
    pub fn ports(&self) -> &[ServicePort] {
        &self.ports
    }

    /// Its addresses in the cluster; none for headless and ExternalName Services.
    #[must_use]
    pub fn cluster_ips(&self) -> &[IpAddr] {
        match &self.kind {
            Kind::Virtual(addresses) => addresses,
            Kind::Headless | Kind::ExternalName(_) => &[],
        }
    }

    /// The endpoints that may serve the port called `port`, each with its own port, in order, and why these: for the caller of
    /// the table that the Service is in. `None` where it has no such port, or nothing is known of its endpoints.
    #[must_use]
    pub fn usable(&self, port: &str) -> Option<(Choice, impl Iterator<Item = SocketAddr>)> {
        let usable = self.usable_for(port)?;
        let groups = self.endpoints.as_ref()?.groups();
        let mut endpoints: Vec<SocketAddr> = usable.parts.iter().flat_map(|part| part.set.endpoints(groups)).collect();
        // Subsets may have endpoints in common.
        endpoints.sort_unstable();
        endpoints.dedup();
        Some((usable.choice, endpoints.into_iter()))
    }

    /// How the endpoints of the port called `port` are spoken to; of one that the Service does not have, as the client speaks.
    #[must_use]
    pub fn spoken(&self, port: &str) -> Spoken {
        self.ports().iter().find(|own| *own.name == *port).map_or(Spoken::AsClient, |own| own.spoken)
    }

    /// What may serve the port called `port`.
    pub(crate) fn usable_for(&self, port: &str) -> Option<&Usable> {
        let own = self.ports().iter().position(|other| *other.name == *port);
        let index = own.or_else(|| {
            let place = self.endpoint_ports.iter().position(|other| **other == *port)?;
            Some(self.ports().len() + place)
        })?;
        self.usable.get(index)
    }

    pub(crate) fn is_headless(&self) -> bool {
        matches!(self.kind, Kind::Headless)
    }

    /// Works out which endpoints may serve its ports to a caller that is `there`.
    #[inline(never)]
    pub(crate) fn find_usable(&mut self, there: &Whereabouts) {
        // By now it has no endpoints but those that count.
        if let (Some(endpoints), Some(distribution)) = (&mut self.endpoints, self.distribution) {
            endpoints.derive_hints(distribution);
        }
        let none = Subsets::default();
        let subsets = self.subsets.as_deref().unwrap_or(&none);
        let rules = Rules { headless: self.is_headless(), local: self.local, family: self.family, subsets };
        let of_service = rendezvous::hash(self.key.as_str().as_bytes());
        let port = |name, number| Port {
            name,
            number,
            id: rendezvous::score(of_service, rendezvous::hash(str::as_bytes(name))),
        };
        let own = self.ports().iter().map(|own| port(&own.name, Some(own.port)));
        let mut all: Box<[Usable]> = match &self.endpoints {
            None if subsets.is_empty() => Box::default(),
            None => own.map(|port| Usable::unknown(port, subsets, there)).collect(),
            Some(endpoints) => {
                let theirs = self.endpoint_ports.iter().map(|name| port(name, None));
                own.chain(theirs).map(|port| Usable::among(endpoints.groups(), port, rules, there)).collect()
            }
        };
        for (usable, place) in all.iter_mut().zip(0..) {
            usable.place = place;
        }
        let is_known = self.endpoints.is_some();
        for (port, usable) in self.ports.iter_mut().zip(&all) {
            port.is_deserted = is_known && usable.endpoints == 0;
        }
        self.usable = all;
    }

    /// The Service of `key`, `namespace/name`.
    ///
    /// # Errors
    /// Every [`Problem`](crate::Problem) of `key` and `wire` that can be told without the rest of the table.
    pub fn compile(key: &str, wire: &wire::Service) -> Result<Self, Problems> {
        let table = Place::root("table");
        let services = table.field("services");
        let at = services.key(key);
        let mut problems = Problems::default();
        let Some(parsed) = Key::parse(key) else {
            let labels: Vec<&str> = key.split('/').collect();
            let fault = if labels.len() == 2 { Fault::Label } else { Fault::ServiceKey };
            problems.add(&services, key, fault);
            return Err(problems);
        };
        let kind = compile_kind(wire, &at, &mut problems);
        let ports = compile_ports(&wire.ports, &at.field("ports"), &mut problems);
        let in_endpoints = at.field("endpoints");
        let endpoints = wire
            .endpoints
            .as_ref()
            .map(|groups| Endpoints::compile(groups, wire.publish_not_ready_addresses, &in_endpoints, &mut problems));
        let endpoint_ports = match (&kind, &endpoints) {
            (Kind::Headless, Some(endpoints)) => ports_of_endpoints_alone(endpoints, &ports),
            _ => Box::default(),
        };
        let subsets =
            (!wire.subsets.is_empty()).then(|| Box::new(Subsets::compile(wire, &at.field("subsets"), &mut problems)));
        let in_steering = at.field("steering");
        let steering = wire.steering.as_ref();
        let steering = steering.map(|steering| Box::new(Override::compile(steering, &in_steering, &mut problems)));
        let affinity = wire.session_affinity == SessionAffinity::ClientIP;
        if let Some(steering) = wire.steering.as_ref() {
            if !wire.subsets.is_empty() && !steering.subset.is_empty() {
                problems.add(&in_steering.field("subset"), &steering.subset, Fault::BesideSubsets);
            }
            if affinity && steering.load_balancer.is_some() {
                problems.add(&in_steering.field("loadBalancer"), "", Fault::BesideAffinity);
            }
        }
        // What is worked out for a caller has at most so many parts.
        let groups = endpoints.as_ref().map_or(0, |endpoints| endpoints.groups().len());
        let shares = (ports.len() + endpoint_ports.len()) * groups * (wire.subsets.len() + 1);
        if shares > MAX_SERVICE_SHARES {
            problems.add(&in_endpoints, shares, Fault::TooManyShares);
        }
        problems.or(Self {
            shares,
            family: preferred_family(wire, &kind),
            key: parsed,
            kind,
            ports,
            endpoints,
            endpoint_ports,
            subsets,
            usable: Box::default(),
            index: 0,
            addresses_dropped: 0,
            local: wire.internal_traffic_policy == InternalTrafficPolicy::Local,
            distribution: wire.traffic_distribution,
            affinity,
            steering,
        })
    }
}

/// The first of `ipFamilies`, which the API server keeps in the order of the cluster IPs.
#[inline(never)]
fn preferred_family(wire: &wire::Service, kind: &Kind) -> Option<IpFamily> {
    let of_address = match kind {
        Kind::Virtual(addresses) => addresses.first().map(|address| match address {
            IpAddr::V4(_) => IpFamily::IPv4,
            IpAddr::V6(_) => IpFamily::IPv6,
        }),
        Kind::Headless | Kind::ExternalName(_) => None,
    };
    wire.ip_families.first().copied().or(of_address)
}

#[inline(never)]
fn ports_of_endpoints_alone(endpoints: &Endpoints, ports: &[ServicePort]) -> Box<[Box<str>]> {
    let mut alone: Vec<Box<str>> = Vec::new();
    for name in endpoints.port_names() {
        let is_known = ports.iter().any(|port| *port.name == *name) || alone.iter().any(|other| **other == *name);
        if !is_known && alone.len() < MAX_SERVICE_PORTS {
            alone.push(name.into());
        }
    }
    alone.into()
}

#[inline(never)]
fn compile_kind(wire: &wire::Service, at: &Place<'_>, problems: &mut Problems) -> Kind {
    if wire.service_type == ServiceType::ExternalName {
        return compile_external_name(wire, at, problems);
    }
    if let Some(target) = &wire.external_name {
        problems.add(&at.field("externalName"), target, Fault::OnlyExternalName);
    }
    if wire.alias.is_some() {
        problems.add(&at.field("alias"), "", Fault::OnlyExternalName);
    }
    let at = at.field("clusterIPs");
    let texts: Vec<&str> = wire.cluster_ips.iter().collect();
    if texts == ["None"] {
        return Kind::Headless;
    }
    if texts.len() > MAX_CLUSTER_IPS {
        problems.add(&at, texts.len(), Fault::TooMany(MAX_CLUSTER_IPS));
    }
    let mut addresses = Vec::with_capacity(texts.len());
    for (index, text) in texts.into_iter().enumerate() {
        match IpAddr::from_str(text).map(|address| address.to_canonical()) {
            Ok(address) if is_special(address) => {
                problems.add(&at.index(index), text, Fault::SpecialAddress);
            }
            Ok(address) => addresses.push(address),
            Err(_) => problems.add(&at.index(index), text, Fault::Address),
        }
    }
    Kind::Virtual(addresses.into())
}

#[inline(never)]
fn compile_external_name(wire: &wire::Service, at: &Place<'_>, problems: &mut Problems) -> Kind {
    if wire.cluster_ips.iter().next().is_some() {
        problems.add(&at.field("clusterIPs"), "", Fault::NotOnExternalName);
    }
    let fields = [
        ("endpoints", wire.endpoints.is_some()),
        ("subsets", !wire.subsets.is_empty()),
        ("steering", wire.steering.is_some()),
    ];
    for (field, is_there) in fields {
        if is_there {
            problems.add(&at.field(field), "", Fault::NotOnExternalName);
        }
    }
    let target = match &wire.external_name {
        None => {
            problems.add(at, "", Fault::NoExternalName);
            String::new()
        }
        Some(target) => compile_target(target, &at.field("externalName"), problems),
    };
    let alias = wire.alias.unwrap_or_default();
    if alias.port == Some(0) {
        problems.add(&at.field("alias").field("port"), 0, Fault::Port);
    }
    Kind::ExternalName(Box::new(Alias {
        is_refused: is_refused_target(&target),
        target: target.into(),
        port: alias.port,
        tls: alias.tls,
        allowed_ports: Box::default(),
    }))
}

/// The target in canonical form; it is absolute whether or not a dot ends it.
fn compile_target(target: &str, at: &Place<'_>, problems: &mut Problems) -> String {
    match Name::parse_absolute(target) {
        Ok(name) if name.looks_like_ipv4() => problems.add(at, target, Fault::LooksLikeIpv4),
        Ok(name) => return name.as_str().to_owned(),
        Err(_) => problems.add(at, target, Fault::Name),
    }
    String::new()
}

#[inline(never)]
fn compile_ports(wire: &[wire::ServicePort], at: &Place<'_>, problems: &mut Problems) -> Few<ServicePort> {
    if wire.len() > MAX_SERVICE_PORTS {
        problems.add(at, wire.len(), Fault::TooMany(MAX_SERVICE_PORTS));
        return Few::default();
    }
    for (index, port) in wire.iter().enumerate() {
        let at = at.index(index);
        let before = wire.get(..index).unwrap_or_default();
        if port.port == 0 {
            problems.add(&at.field("port"), 0, Fault::Port);
        }
        if before.iter().any(|other| (other.port, other.protocol) == (port.port, port.protocol)) {
            problems.add(&at.field("port"), port.port, Fault::Twice);
        }
        if port.name.is_empty() {
            if wire.len() > 1 {
                problems.add(&at.field("name"), "", Fault::UnnamedPort);
            }
        } else if !is_label(&port.name) {
            problems.add(&at.field("name"), &port.name, Fault::Label);
        } else if before.iter().any(|other| other.name == port.name) {
            problems.add(&at.field("name"), &port.name, Fault::Twice);
        }
    }
    let tcp = wire.iter().filter(|port| port.protocol == Protocol::Tcp);
    tcp.map(|port| ServicePort {
        name: port.name.as_str().into(),
        port: port.port,
        app_protocol: port.app_protocol.as_deref().map(Into::into),
        spoken: Spoken::of(port),
        is_deserted: false,
    })
    .collect()
}
