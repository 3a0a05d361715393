//! The endpoints of a Service in the form of the table: groups that share everything but addresses and hostnames.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use byname_core::wire;

use crate::{
    input::Field,
    kubernetes::{ClusterState, EndpointView, ObjectError, ServiceView, SlicePortView, SliceView, TransportProtocol},
};

/// The properties that the endpoints of a group share.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Shared {
    /// The ports; `None` if each port of the Service has its own number.
    ports: Option<Ports>,
    /// The ports that no request can go to, whose names a headless Service has in DNS; `None` if they are the Service's.
    other_ports: Option<Vec<String>>,
    is_not_ready: bool,
    /// `serving` and `terminating`; kept only for endpoints that are not ready.
    conditions: (Option<bool>, Option<bool>),
    zone: Option<String>,
    node: Option<String>,
    for_zones: Vec<String>,
    for_nodes: Vec<String>,
    labels: Vec<(String, String)>,
    has_hostname: bool,
}

type Ports = Vec<(String, u16)>;

/// The properties that matter to this Service. All others would only split groups.
struct GroupingCriteria<'s> {
    zone: bool,
    node: Nodes<'s>,
    labels: BTreeSet<&'s str>,
}

/// The nodes that a group keeps apart.
enum Nodes<'s> {
    All,
    /// The caller's node.
    One(&'s str),
    None,
}

impl Nodes<'_> {
    fn has(&self, node: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => *one == node,
            Self::None => false,
        }
    }
}

impl<'s> GroupingCriteria<'s> {
    fn of(service: &'s wire::Service, node: Option<&'s str>) -> Self {
        let subsets = || service.subsets.iter().map(|(_, subset)| subset);
        let distribution = service.traffic_distribution;
        Self {
            zone: distribution.is_some() || subsets().any(|subset| subset.zone.is_some()),
            node: match (service.internal_traffic_policy, node) {
                // Every node prefers its own endpoints.
                _ if distribution == Some(wire::TrafficDistribution::PreferSameNode) => Nodes::All,
                (wire::InternalTrafficPolicy::Cluster, _) => Nodes::None,
                (wire::InternalTrafficPolicy::Local, Some(node)) => Nodes::One(node),
                (wire::InternalTrafficPolicy::Local, None) => Nodes::All,
            },
            labels: subsets().flat_map(|subset| subset.labels.iter().map(|(key, _)| key)).collect(),
        }
    }
}

/// Compiles the endpoints of a Service for a caller on `node`.
pub(super) fn compile(
    cluster: &ClusterState,
    view: ServiceView<'_>,
    service: &wire::Service,
    node: Option<&str>,
) -> Result<Vec<wire::EndpointGroup>, ObjectError> {
    let wanted = GroupingCriteria::of(service, node);
    // An endpoint that moves between EndpointSlices may be in both for a while: the ready copy counts.
    let mut endpoints: BTreeMap<(IpAddr, Option<Ports>), (Shared, &str)> = BTreeMap::new();
    for slice in view.slices() {
        let ports = ports(&slice, service);
        let other_ports = other_ports(&slice, view);
        for endpoint in slice.endpoints() {
            let problem =
                |field: Field, reason: String, fix: &str| slice.source.problem(slice.object_name(), field, reason, fix);
            let address = endpoint.ip().ok_or_else(|| {
                let reason = format!("{:?} is not an IP address", endpoint.address);
                problem(endpoint.address_field(0), reason, "write an IPv4 or IPv6 address without port or zone")
            })?;
            if let Some(wrong) = endpoint.hostname().filter(|hostname| !byname_core::is_label(hostname)) {
                let reason = format!("{wrong:?} is not a lower-case DNS label");
                let fix = "use a-z, 0-9 and '-' (not first or last), at most 63 bytes";
                return Err(problem(endpoint.field().field("hostname"), reason, fix));
            }
            // In the table white space separates hints.
            let mut hints = endpoint.hinted_zones().chain(endpoint.hinted_nodes());
            if let Some(wrong) = hints.find(|hint| hint.contains(char::is_whitespace)) {
                let reason = format!("{wrong:?} is not the name of a zone or node");
                return Err(problem(endpoint.field().field("hints"), reason, "remove the white space"));
            }
            let shared =
                Shared { other_ports: other_ports.clone(), ..shared(&endpoint, ports.clone(), &wanted, cluster) };
            let hostname = endpoint.hostname().unwrap_or_default();
            match endpoints.entry((address, ports.clone())) {
                Entry::Vacant(free) => drop(free.insert((shared, hostname))),
                Entry::Occupied(mut other) if other.get().0.is_not_ready && !shared.is_not_ready => {
                    other.insert((shared, hostname));
                }
                Entry::Occupied(_) => {}
            }
        }
    }
    let mut groups: BTreeMap<Shared, Vec<(IpAddr, &str)>> = BTreeMap::new();
    for ((address, _), (shared, hostname)) in endpoints {
        groups.entry(shared).or_default().push((address, hostname));
    }
    Ok(groups.into_iter().map(|(shared, endpoints)| group(shared, &endpoints)).collect())
}

/// The TCP ports of an EndpointSlice by name, without ports that have no number from 1 to 65535: no client can connect to them.
fn ports(slice: &SliceView<'_>, service: &wire::Service) -> Option<Ports> {
    let mut ports = Vec::new();
    for port in slice.ports().filter(|port| port.protocol == TransportProtocol::Tcp) {
        let Some(number) = port.number.and_then(|number| u16::try_from(number).ok()) else { continue };
        ports.push((port.name.to_owned(), number));
    }
    ports.sort();
    ports.dedup_by(|one, other| one.0 == other.0);
    let own = service.ports.iter().filter(|port| port.protocol == wire::Protocol::Tcp);
    let mut own: Ports = own.map(|port| (port.name.clone(), port.port)).collect();
    own.sort();
    (ports != own).then_some(ports)
}

/// The ports of an EndpointSlice that no request can go to, as the table names them, if DNS has names for them and they are not those
/// of the Service.
fn other_ports(slice: &SliceView<'_>, service: ServiceView<'_>) -> Option<Vec<String>> {
    if !service.is_headless() {
        return None;
    }
    let text = |name: &str, protocol: TransportProtocol<'_>| match protocol {
        _ if !byname_core::is_label(name) => None,
        TransportProtocol::Unknown(_) => None,
        protocol => Some(format!("{name}/{protocol}")),
    };
    let is_other = |port: &SlicePortView<'_>| port.protocol != TransportProtocol::Tcp || port.number.is_none();
    let of_slice = slice.ports().filter(is_other).filter_map(|port| text(port.name, port.protocol));
    let of_slice: BTreeSet<String> = of_slice.collect();
    let of_service = service.ports().filter(|port| !port.is_tcp()).filter_map(|port| text(port.name, port.protocol));
    let of_service: BTreeSet<String> = of_service.collect();
    (of_slice != of_service).then(|| of_slice.into_iter().collect())
}

fn shared(
    endpoint: &EndpointView<'_>,
    ports: Option<Ports>,
    wanted: &GroupingCriteria<'_>,
    cluster: &ClusterState,
) -> Shared {
    let (conditions, is_not_ready) = (endpoint.conditions, !endpoint.is_ready);
    let mut for_zones: Vec<String> = endpoint.hinted_zones().map(str::to_owned).collect();
    let mut for_nodes: Vec<String> = endpoint.hinted_nodes().map(str::to_owned).collect();
    for_zones.sort();
    for_nodes.sort();
    let of_pod = || Some(&cluster.pods.get(&endpoint.pod()?)?.object.labels);
    let labels = if wanted.labels.is_empty() { None } else { of_pod() };
    let labels = labels.into_iter().flatten().filter(|(key, _)| wanted.labels.contains(key.as_str()));
    Shared {
        ports,
        other_ports: None,
        is_not_ready,
        conditions: match is_not_ready {
            true => ((!conditions.serving).then_some(false), conditions.terminating.then_some(true)),
            false => (None, None),
        },
        zone: endpoint.object.zone.clone().filter(|_| wanted.zone),
        node: endpoint.node().filter(|node| wanted.node.has(node)).map(str::to_owned),
        for_zones,
        for_nodes,
        labels: labels.map(|(key, value)| (key.clone(), value.clone())).collect(),
        has_hostname: endpoint.hostname().is_some(),
    }
}

fn group(shared: Shared, endpoints: &[(IpAddr, &str)]) -> wire::EndpointGroup {
    let addresses: Vec<String> = endpoints.iter().map(|(address, _)| address.to_string()).collect();
    let hostnames = endpoints.iter().filter(|_| shared.has_hostname).map(|(_, hostname)| *hostname);
    let (serving, terminating) = shared.conditions;
    wire::EndpointGroup {
        addresses: addresses.iter().map(String::as_str).collect(),
        hostnames: hostnames.collect(),
        ports: shared.ports.map(|ports| ports.iter().map(|(name, number)| (name.as_str(), *number)).collect()),
        other_ports: shared.other_ports.map(|ports| ports.iter().map(String::as_str).collect()),
        zone: shared.zone,
        node: shared.node,
        for_zones: shared.for_zones.iter().map(String::as_str).collect(),
        for_nodes: shared.for_nodes.iter().map(String::as_str).collect(),
        weight: None,
        labels: shared.labels.iter().map(|(key, value)| (key.as_str(), value.clone())).collect(),
        ready: shared.is_not_ready.then_some(false),
        serving,
        terminating,
    }
}
