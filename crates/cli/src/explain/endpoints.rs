//! The endpoints of a Service, and why each can serve a caller or cannot.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use byname_core::{
    Choice, Service, is_special,
    trace::{EndpointsOutcome, Lack},
    wire::IpFamily,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    caller::CallerSettings,
    cluster_dns::is_called,
    kubernetes::{
        AddressType, ClusterState, EndpointView, NamespacedName, ServiceView, SlicePortView, SliceView,
        TransportProtocol,
    },
};

/// One endpoint of an EndpointSlice.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Endpoint")]
pub struct ExplainedEndpoint {
    /// The endpoint's first address, the only one that serves: kube-proxy reads no other.
    pub address: String,
    /// The endpoint's port for the Service's port. Absent if its EndpointSlice has no port of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The endpoint's hostname in DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The name of the endpoint's Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The endpoint's node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The endpoint's zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The zones and nodes that the control plane assigned the endpoint to (topology hints).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// The condition `ready`. If absent, it counts as true.
    pub ready: bool,
    /// The condition `serving`. If absent, it counts as true.
    pub serving: bool,
    /// The condition `terminating`. If absent, it counts as false.
    pub terminating: bool,
    /// Whether the endpoint can serve this caller.
    pub serves: bool,
    /// Why the endpoint can serve this caller, or cannot.
    pub because: String,
    /// The endpoint's place in the input: file and line.
    pub at: String,
    /// Whether it counts as ready: by its condition, or because its Service sets `publishNotReadyAddresses`.
    #[serde(skip)]
    pub(super) counts_as_ready: bool,
    /// Why it can serve nobody, whatever its conditions are.
    #[serde(skip)]
    pub(super) unfit: Option<Unfit>,
}

/// Why an endpoint can serve nobody, whatever its conditions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unfit {
    /// It is the DNS name of an EndpointSlice of type FQDN.
    DnsName,
    /// Its EndpointSlice has no type that Kubernetes knows.
    NoType,
    /// It has no IP address.
    NoAddress,
    /// Its address is not of the type of its EndpointSlice.
    OtherType,
    /// Its address is that of no pod.
    SpecialAddress,
    /// It does not have the port.
    NoPort,
    /// It has the port without a number.
    NoNumber,
    /// Its address is of the family that the Service does not have.
    OtherFamily,
}

/// The facts that decide which endpoints can serve.
pub(super) struct EndpointQuery<'a> {
    pub(super) service: &'a Service,
    pub(super) port: EndpointPort<'a>,
    /// The label by which the name names endpoints, if it does.
    pub(super) label: Option<String>,
    /// The endpoints that the request may go to, if it is routed and they are known.
    pub(super) routed: Option<Vec<SocketAddr>>,
    pub(super) caller: &'a CallerSettings,
    /// Whether loopback addresses count.
    pub(super) single_machine: bool,
}

/// A port, as endpoints have it.
#[derive(Clone, Copy)]
pub(super) enum EndpointPort<'a> {
    /// The Service's port of this name.
    Named(&'a str),
    /// The pods' own port of this number.
    OfPods(u16),
}

/// Explains every endpoint of a Service for the caller.
pub(super) fn of(view: ServiceView<'_>, asked: &EndpointQuery<'_>) -> Vec<ExplainedEndpoint> {
    let EndpointQuery { service, port, label, routed, caller, single_machine } = asked;
    let usable = match port {
        EndpointPort::Named(port) => service.usable(port),
        EndpointPort::OfPods(_) => None,
    };
    // Topology and traffic policy do not apply to the names of endpoints.
    let choice = usable.as_ref().map(|(choice, _)| if label.is_some() { Choice::Ready } else { *choice });
    let usable: BTreeSet<SocketAddr> = match routed {
        Some(routed) => routed.iter().copied().collect(),
        None => usable.map(|(_, usable)| usable.collect()).unwrap_or_default(),
    };
    let family = usable.first().map(SocketAddr::is_ipv4);
    let stray = view.stray_family();
    let mut all = Vec::new();
    for slice in view.all_slices() {
        let own_port = match port {
            EndpointPort::Named(port) => {
                slice.port(port, TransportProtocol::Tcp).and_then(|port| u16::try_from(port).ok())
            }
            EndpointPort::OfPods(port) => Some(*port),
        };
        let is_port = |name: &str, own: &SlicePortView<'_>| own.name == name && own.protocol == TransportProtocol::Tcp;
        let has_port = matches!(port, EndpointPort::Named(name) if slice.ports().any(|own| is_port(name, &own)));
        for endpoint in slice.all_endpoints() {
            let conditions = endpoint.conditions;
            let one = ExplainedEndpoint {
                address: endpoint.address.to_owned(),
                port: own_port,
                hostname: endpoint.hostname().map(str::to_owned),
                pod: endpoint.object.target_ref.as_ref().and_then(|target| target.name.clone()),
                node: endpoint.node().map(str::to_owned),
                zone: endpoint.object.zone.clone(),
                hints: hints(&endpoint),
                ready: conditions.ready,
                serving: conditions.serving,
                terminating: conditions.terminating,
                serves: false,
                because: String::new(),
                at: slice.source.place.at_line(slice.source.line(&endpoint.field())).to_string(),
                counts_as_ready: endpoint.is_ready,
                unfit: None,
            };
            let parsed = endpoint.ip().map(|address| address.to_canonical());
            let unfit = match parsed {
                _ if slice.address_type == AddressType::Fqdn => Some(Unfit::DnsName),
                _ if slice.address_type == AddressType::Unknown => Some(Unfit::NoType),
                None => Some(Unfit::NoAddress),
                Some(_) if !endpoint.is_of_slice_type() => Some(Unfit::OtherType),
                Some(address) if is_special(address) && !*single_machine => Some(Unfit::SpecialAddress),
                Some(_) if own_port.is_none() && has_port => Some(Unfit::NoNumber),
                Some(_) if own_port.is_none() => Some(Unfit::NoPort),
                Some(address) if stray.is_some_and(|family| is_of(address, family)) => Some(Unfit::OtherFamily),
                Some(_) => None,
            };
            let is_usable = |(ip, port)| usable.contains(&SocketAddr::new(ip, port));
            // Another EndpointSlice may have the address, and count.
            let serves = unfit.is_none() && parsed.zip(own_port).is_some_and(is_usable);
            let because = match (parsed, unfit) {
                (None, _) | (_, Some(Unfit::DnsName | Unfit::NoType)) => {
                    unusable(unfit.unwrap_or(Unfit::NoAddress), &slice, *port)
                }
                (Some(_), _) if serves && label.is_some() => match usable.len() {
                    1 => "the endpoint that the name resolves to".to_owned(),
                    _ => "one of the endpoints that the name resolves to".to_owned(),
                },
                (Some(address), _) if label.as_ref().is_some_and(|label| !is_called(&endpoint, address, label)) => {
                    "not the endpoint that the name resolves to".to_owned()
                }
                (Some(_), Some(unfit)) => unusable(unfit, &slice, *port),
                (Some(address), None) => {
                    let of_other_family = family.is_some_and(|is_v4| is_v4 != address.is_ipv4());
                    because((&endpoint, &one), serves, choice, of_other_family, caller)
                }
            };
            all.push(ExplainedEndpoint { serves, because, unfit, ..one });
        }
    }
    all.sort_by_key(|endpoint| (canonical(endpoint), endpoint.port));
    count_once(&mut all);
    all
}

/// Why an endpoint of `slice` can serve nobody, in words.
fn unusable(unfit: Unfit, slice: &SliceView<'_>, port: EndpointPort<'_>) -> String {
    let object = if slice.kind() == "Endpoints" { "Endpoints object" } else { "EndpointSlice" };
    match (unfit, port) {
        (Unfit::DnsName, _) => "DNS name: kube-proxy and DNS ignore EndpointSlices of type FQDN".to_owned(),
        (Unfit::NoType, _) => match slice.type_word() {
            "" => "its EndpointSlice has no addressType, so kube-proxy ignores it".to_owned(),
            other => format!("its EndpointSlice has addressType {other}, so kube-proxy ignores it; use IPv4 or IPv6"),
        },
        (Unfit::OtherType, _) => {
            format!("kube-proxy ignores it: its {object} has addressType {}", slice.type_word())
        }
        (Unfit::NoAddress, _) => "not an IP address".to_owned(),
        (Unfit::SpecialAddress, _) => {
            "loopback, link-local or special address: no Service may route to it (CVE-2021-25737)".to_owned()
        }
        (Unfit::NoPort, EndpointPort::OfPods(_)) => String::new(),
        (Unfit::NoNumber, _) => format!("its {object} has the port without a number"),
        (Unfit::NoPort, EndpointPort::Named("")) => format!("its {object} has no unnamed TCP port"),
        (Unfit::NoPort, EndpointPort::Named(port)) => format!("its {object} has no TCP port named {port}"),
        (Unfit::OtherFamily, _) => {
            format!("the Service has only the other IP family, so kube-proxy ignores its {object}")
        }
    }
}

/// Why no endpoint can serve, if the ready ones are unfit. A table lacks some of these endpoints, so the core cannot say so.
pub(super) fn why_unserved(outcome: &EndpointsOutcome, port: &str, endpoints: &[ExplainedEndpoint]) -> Option<String> {
    let EndpointsOutcome::Known { usable: 0, of, choice, lack, .. } = outcome else { return None };
    let is_told = match lack {
        None => *choice != Choice::Terminating,
        Some(Lack::Endpoints) => false,
        // The core does not say that the port may be there for UDP, or without a number.
        Some(Lack::Port(_)) => false,
        Some(Lack::Family(_)) => *of == endpoints.len(),
    };
    let reasons: BTreeSet<Unfit> =
        endpoints.iter().filter(|one| one.counts_as_ready).filter_map(|one| one.unfit).collect();
    if is_told || reasons.is_empty() {
        return None;
    }
    let words = match *reasons.iter().collect::<Vec<_>>().as_slice() {
        [Unfit::NoPort] if port.is_empty() => "no ready endpoint has an unnamed TCP port".to_owned(),
        [Unfit::NoPort] => format!("no ready endpoint has a TCP port named {port}"),
        [Unfit::NoType | Unfit::OtherType] => {
            "no ready endpoint has an address of the addressType of its EndpointSlice".to_owned()
        }
        [Unfit::NoNumber] => "every ready endpoint has the port without a number".to_owned(),
        [Unfit::SpecialAddress] => {
            "every ready endpoint has a loopback, link-local or special address, which no pod has".to_owned()
        }
        _ if reasons.contains(&Unfit::NoPort) => {
            "no ready endpoint has the port and an address that can serve".to_owned()
        }
        _ => "no ready endpoint has an address that can serve".to_owned(),
    };
    let others = if endpoints.iter().all(|one| one.counts_as_ready) { "" } else { "; the others are not ready" };
    Some(format!("0 of {} endpoints can serve: {words}{others}", endpoints.len()))
}

/// Counts an endpoint once while it moves between EndpointSlices and is in both: the ready copy, if there is one.
fn count_once(all: &mut [ExplainedEndpoint]) {
    let is_same = |one: &ExplainedEndpoint, other: &ExplainedEndpoint| match (canonical(one), canonical(other)) {
        (None, None) => one.address == other.address,
        (one, other) => one == other,
    };
    for same in all.chunk_by_mut(|one, other| one.port.is_some() && one.port == other.port && is_same(one, other)) {
        let fit = || same.iter().enumerate().filter(|(_, one)| one.unfit.is_none());
        let counted = fit().find(|(_, one)| one.ready).or_else(|| fit().next()).map(|(index, _)| index);
        let others = same.iter_mut().enumerate().filter(|(index, one)| one.unfit.is_none() && Some(*index) != counted);
        for (_, other) in others {
            other.serves = false;
            other.because = "duplicate: counted in another EndpointSlice".to_owned();
        }
    }
}

/// The endpoint's IP address, whatever its spelling.
fn canonical(endpoint: &ExplainedEndpoint) -> Option<IpAddr> {
    endpoint.address.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_of(address: IpAddr, family: IpFamily) -> bool {
    address.is_ipv4() == (family == IpFamily::IPv4)
}

fn hints(endpoint: &EndpointView<'_>) -> Vec<String> {
    let zones = endpoint.hinted_zones().map(|zone| format!("zone {zone}"));
    zones.chain(endpoint.hinted_nodes().map(|node| format!("node {node}"))).collect()
}

/// Why one endpoint can serve or cannot, given the choice that the core made among all endpoints.
fn because(
    (view, endpoint): (&EndpointView<'_>, &ExplainedEndpoint),
    serves: bool,
    choice: Option<Choice>,
    of_other_family: bool,
    caller: &CallerSettings,
) -> String {
    let here = |place: &Option<String>| place.clone().unwrap_or_else(|| "unknown".to_owned());
    let (zone, node) = (here(&caller.who.zone), here(&caller.who.node));
    // Without hints in the EndpointSlices, trafficDistribution decides.
    let hinted = if endpoint.hints.is_empty() { "preferred by trafficDistribution for" } else { "hinted to" };
    let (is_ready, is_draining) = (view.is_ready, view.is_draining());
    match (serves, choice) {
        (true, Some(Choice::SameNode)) => format!("ready, and {hinted} the caller's node {node}"),
        (true, Some(Choice::SameZone)) => format!("ready, and {hinted} the caller's zone {zone}"),
        (true, Some(Choice::Local)) => format!("ready, and on the caller's node {node}"),
        (true, Some(Choice::Terminating)) => "terminating, but used because no endpoint is ready".to_owned(),
        (true, Some(Choice::LocalTerminating)) => {
            format!("terminating, but used because no endpoint on the caller's node {node} is ready")
        }
        (true, _) if is_ready && !endpoint.ready => {
            "not ready, but used because publishNotReadyAddresses is set".to_owned()
        }
        (true, _) => "ready".to_owned(),
        (false, _) if !is_ready && !is_draining => "not ready".to_owned(),
        (false, Some(Choice::NodeUnknown)) => {
            "internalTrafficPolicy is Local, and the caller's node is unknown".to_owned()
        }
        (false, Some(Choice::Local | Choice::LocalTerminating)) if endpoint.node != caller.who.node => {
            format!("not on the caller's node {node}: internalTrafficPolicy is Local")
        }
        (false, _) if of_other_family => "not of the Service's preferred IP family".to_owned(),
        (false, _) if !is_ready => "terminating: ready endpoints are preferred".to_owned(),
        (false, Some(Choice::SameNode)) => format!("ready, but not {hinted} the caller's node {node}"),
        (false, Some(Choice::SameZone)) => format!("ready, but not {hinted} the caller's zone {zone}"),
        (false, _) => "ready, but not among the endpoints that can serve".to_owned(),
    }
}

/// Why a Service has no endpoint that can serve.
pub(super) fn why_none(cluster: &ClusterState, name: &NamespacedName) -> Option<String> {
    let view = cluster.service(name)?;
    if view.is_external_name() {
        return None;
    }
    let Some(selector) = view.selector() else {
        return Some(format!(
            "Service {name} has no selector: a person or another controller writes its EndpointSlices"
        ));
    };
    let written: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let written = written.join(",");
    if cluster.pods_of(&name.namespace).next().is_none() {
        return Some(format!(
            "Service {name} selects pods with {written}, but the input has no pods of namespace {}; add pods to the input",
            name.namespace
        ));
    }
    let pods = cluster.pods_of(&name.namespace);
    let selected: Vec<_> = pods.filter(|(_, pod)| pod.object.matches(selector) && !pod.object.is_over()).collect();
    let ready = selected.iter().filter(|(_, pod)| pod.object.ready).count();
    Some(match selected.len() {
        0 => format!("the selector {written} of Service {name} matches no pod in namespace {}", name.namespace),
        count => {
            let why = if ready == 0 { "" } else { "; the list of endpoints says why each is not used" };
            format!("the selector {written} of Service {name} matches {count} pods, of which {ready} are ready{why}")
        }
    })
}
