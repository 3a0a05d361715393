//! The parts of a configuration that a control plane pushes: the names to the filter, the clusters and their endpoints to Envoy.
//!
//! The filter gets a table without addresses and readiness, so endpoints that come and go do not change it. Only the hostnames of
//! endpoints are in it: the name of an endpoint, such as `db-0.db`, has a cluster of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use byname_core::wire;

use super::{CompileOptions, Compiled, UpstreamCluster, one, upstream_clusters, whole};
use crate::{
    caller::CallerSettings,
    input::InputErrors,
    kubernetes::{ClusterState, NamespacedName, ServiceView},
};

/// A Service in the parts that are pushed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PushedService {
    /// What the filter gets: everything but addresses and readiness.
    pub(crate) names: wire::Service,
    /// The same with its endpoints.
    whole: wire::Service,
}

impl PushedService {
    /// The parts of a Service; `None` if the options hide it.
    ///
    /// # Errors
    /// If the filter would refuse the Service.
    pub(crate) fn compile(
        cluster: &ClusterState,
        view: ServiceView<'_>,
        options: &CompileOptions,
    ) -> Result<Option<Self>, InputErrors> {
        if !options.visible.is_empty() && !options.visible.contains(&view.name.namespace) {
            return Ok(None);
        }
        let own = options.base.config.table.services.get(&view.name.to_string());
        let whole =
            one(cluster, view, super::service::ServiceOptions { own, names_only: false, node: None }, &options.base)?;
        Ok(Some(Self { names: names(&whole), whole }))
    }

    /// The Service with its endpoints, for all callers: the filter's own rules choose by its zone and node.
    pub(crate) fn whole(&self) -> &wire::Service {
        &self.whole
    }

    /// Whether the Service is an alias for another name.
    pub(crate) fn is_alias(&self) -> bool {
        self.names.service_type == wire::ServiceType::ExternalName
    }

    /// Whether any endpoint is known.
    pub(crate) fn has_endpoints(&self) -> bool {
        self.whole.endpoints.as_ref().is_some_and(|groups| !groups.is_empty())
    }

    /// Whether callers of different zones may get different endpoints.
    pub(crate) fn depends_on_zone(&self) -> bool {
        let groups = || self.whole.endpoints.iter().flatten();
        self.whole.traffic_distribution.is_some()
            || groups().any(|group| group.for_zones.iter().next().is_some())
            || self.whole.subsets.iter().any(|(_, subset)| subset.zone.is_some())
    }

    /// Whether callers on different nodes may get different endpoints.
    pub(crate) fn depends_on_node(&self) -> bool {
        let groups = || self.whole.endpoints.iter().flatten();
        self.whole.internal_traffic_policy == wire::InternalTrafficPolicy::Local
            || self.whole.traffic_distribution == Some(wire::TrafficDistribution::PreferSameNode)
            || groups().any(|group| group.for_nodes.iter().next().is_some())
    }

    /// The zones that make a difference to some caller.
    pub(crate) fn zones(&self) -> impl Iterator<Item = &str> {
        let groups = self.whole.endpoints.iter().flatten();
        let of_groups = groups.flat_map(|group| group.zone.as_deref().into_iter().chain(group.for_zones.iter()));
        of_groups.chain(self.whole.subsets.iter().filter_map(|(_, subset)| subset.zone.as_deref()))
    }

    /// The nodes that make a difference to some caller.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &str> {
        let groups = self.whole.endpoints.iter().flatten();
        groups.flat_map(|group| group.node.as_deref().into_iter().chain(group.for_nodes.iter()))
    }

    /// The number of the Service's clusters at most: each port, each port of its subsets, and each port of each hostname.
    pub(crate) fn most_clusters(&self) -> usize {
        let groups = || self.whole.endpoints.iter().flatten();
        let hostnames: BTreeSet<&str> = groups().flat_map(|group| group.hostnames.iter()).collect();
        let of_endpoints = groups().filter_map(|group| group.ports.as_ref()).flat_map(|ports| ports.iter());
        let named: BTreeSet<&str> = of_endpoints.map(|(name, _)| name).collect();
        let (ports, subsets) = (self.whole.ports.len(), self.whole.subsets.iter().count());
        ports.saturating_mul(1 + subsets + hostnames.len()).saturating_add(named.len().saturating_mul(1 + subsets))
    }

    /// The clusters of the Service, which is called `key`. Their endpoints are not those of any caller.
    ///
    /// # Errors
    /// If two clusters would have the same name.
    pub(crate) fn clusters(
        &self,
        key: &str,
        options: &CompileOptions,
    ) -> Result<BTreeMap<String, UpstreamCluster>, InputErrors> {
        clusters(&options.base.config.caller, options, [(key.to_owned(), self.names.clone())].into(), false)
    }

    /// The addresses of the endpoints that may serve a caller, for each cluster of the Service that has any.
    pub(crate) fn addresses(
        &self,
        key: &str,
        options: &CompileOptions,
        (zone, node): (Option<&str>, Option<&str>),
    ) -> BTreeMap<String, Vec<SocketAddr>> {
        let caller = wire::Caller {
            zone: zone.map(str::to_owned),
            node: node.map(str::to_owned),
            ..options.base.config.caller.clone()
        };
        let clusters = clusters(&caller, options, [(key.to_owned(), self.whole.clone())].into(), false);
        let addresses = |cluster| match cluster {
            UpstreamCluster::Endpoints(endpoints) => endpoints.addresses,
            _ => None,
        };
        // The names have no error, so the clusters have none.
        clusters
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(name, cluster)| Some((name, addresses(cluster)?)))
            .collect()
    }
}

/// The configuration that the filter gets of these Services, whose parts are [`PushedService::names`].
///
/// # Errors
/// If the filter would refuse the configuration even without the Services that it would refuse.
pub(crate) fn names_of(
    cluster: &ClusterState,
    services: BTreeMap<String, wire::Service>,
    options: &CompileOptions,
) -> Result<Compiled, InputErrors> {
    whole(cluster, &CallerSettings::anyone(&options.base.config), options, services, Default::default())
}

/// The names that a control plane with these options pushes of the whole cluster, but for the Services for which `is_hidden` holds. One
/// that the filter would refuse is left out.
///
/// # Errors
/// If the filter would refuse the rest.
pub(crate) fn pushed_names(
    cluster: &ClusterState,
    options: &CompileOptions,
    is_hidden: impl Fn(&NamespacedName) -> bool,
) -> Result<Compiled, InputErrors> {
    let views = cluster.service_views().filter(|view| !is_hidden(view.name));
    let parts = views.filter_map(|view| {
        let key = view.name.to_string();
        Some((key, PushedService::compile(cluster, view, options).ok()??.names))
    });
    names_of(cluster, parts.collect(), options)
}

/// Whether a control plane pushed the table, so that each address in it stands for endpoints. Such addresses begin anew with each Service,
/// which tells them from those of a cluster whose pods have addresses of 240.0.0.0/4.
#[must_use]
pub fn is_pushed<'t>(table: &'t wire::Table) -> bool {
    let of_service = |service: &'t wire::Service| {
        service.endpoints.iter().flatten().flat_map(|group| group.addresses.iter()).zip(1..)
    };
    let mut addresses = table.services.values().flat_map(of_service).peekable();
    let is_nobodys = |(address, number): (&str, _)| {
        address.parse().is_ok_and(|address: IpAddr| address == nobodys_address(address.is_ipv6(), number))
    };
    addresses.peek().is_some() && addresses.all(is_nobodys)
}

/// The clusters of hosts outside that aliases and fallbacks lead to.
///
/// # Errors
/// If two clusters would have the same name.
pub(crate) fn clusters_of_aliases(
    aliases: BTreeMap<String, wire::Service>,
    options: &CompileOptions,
) -> Result<BTreeMap<String, UpstreamCluster>, InputErrors> {
    clusters(&options.base.config.caller, options, aliases, true)
}

fn clusters(
    caller: &wire::Caller,
    options: &CompileOptions,
    services: BTreeMap<String, wire::Service>,
    has_fallbacks: bool,
) -> Result<BTreeMap<String, UpstreamCluster>, InputErrors> {
    let base = &options.base.config;
    let table = wire::Table { services, ..base.table.clone() };
    let mut wire = wire::Config { caller: caller.clone(), table, ..base.clone() };
    if !has_fallbacks {
        wire.fallback = wire::Config::<()>::default().fallback;
    }
    let found = upstream_clusters::of_config(&wire, &options.base)?;
    // The other clusters are for addresses that the filter knows, and part of the bootstrap.
    let is_pushed = |cluster: &UpstreamCluster| {
        matches!(
            cluster,
            UpstreamCluster::Endpoints(_)
                | UpstreamCluster::External { .. }
                | UpstreamCluster::DynamicForwardProxy { .. }
        )
    };
    Ok(found.by_name.into_iter().filter(|(_, cluster)| is_pushed(cluster)).collect())
}

/// The Service without addresses and readiness.
///
/// An endpoint stands for all that differ in nothing that a name depends on. It is ready, and has an address that no endpoint can
/// have: the filter needs none to choose a cluster. With no endpoint at all, the filter could not tell whether `a.b` names an
/// endpoint of the Service `b` or a Service in the namespace `b`.
fn names(whole: &wire::Service) -> wire::Service {
    let mut groups: Vec<(wire::EndpointGroup, BTreeSet<(bool, &str)>)> = Vec::new();
    for group in whole.endpoints.iter().flatten() {
        let shape = shape(whole, group);
        let is_v6 = |address: &str| address.parse().is_ok_and(|address: IpAddr| address.is_ipv6());
        let has_hostnames = group.hostnames.iter().next().is_some();
        let hostnames = group.hostnames.iter().chain(std::iter::repeat(""));
        let endpoints = group.addresses.iter().map(is_v6).zip(hostnames);
        // A group has a hostname for each of its endpoints, or for none.
        let other = |(other, names): &&mut (wire::EndpointGroup, BTreeSet<(bool, &str)>)| {
            *other == shape && names.first().is_some_and(|(_, name)| name.is_empty() != has_hostnames)
        };
        match groups.iter_mut().find(other) {
            Some((_, known)) => known.extend(endpoints),
            None => groups.push((shape, endpoints.collect())),
        }
    }
    if groups.is_empty() && whole.endpoints.is_some() && whole.subsets.is_empty() {
        groups.push((wire::EndpointGroup::default(), [(is_v6(whole), "")].into()));
    }
    groups.sort_by(|(_, one), (_, other)| one.cmp(other));
    let mut number = 0;
    let groups: Vec<_> = groups
        .into_iter()
        .map(|(shape, endpoints)| {
            let addresses: Vec<String> = endpoints
                .iter()
                .map(|(is_v6, _)| {
                    number += 1;
                    nobodys_address(*is_v6, number).to_string()
                })
                .collect();
            let hostnames = endpoints.iter().map(|(_, hostname)| *hostname).filter(|hostname| !hostname.is_empty());
            wire::EndpointGroup {
                addresses: addresses.iter().map(String::as_str).collect(),
                hostnames: hostnames.collect(),
                ..shape
            }
        })
        .collect();
    wire::Service {
        endpoints: (!groups.is_empty()).then_some(groups),
        internal_traffic_policy: wire::InternalTrafficPolicy::Cluster,
        publish_not_ready_addresses: false,
        ..whole.clone()
    }
}

/// What a name depends on: the ports of a headless Service's endpoints, which are names in DNS, and what subsets select by.
fn shape(service: &wire::Service, group: &wire::EndpointGroup) -> wire::EndpointGroup {
    let is_headless = service.is_headless();
    let has_zones = service.subsets.iter().any(|(_, subset)| subset.zone.is_some());
    wire::EndpointGroup {
        ports: group.ports.clone().filter(|_| is_headless),
        other_ports: group.other_ports.clone().filter(|_| is_headless),
        zone: group.zone.clone().filter(|_| has_zones),
        labels: group.labels.clone(),
        ..wire::EndpointGroup::default()
    }
}

/// Whether IPv6 is the first family of a Service.
fn is_v6(service: &wire::Service) -> bool {
    let first = service.cluster_ips.iter().next().and_then(|address| address.parse().ok());
    service.ip_families.first() == Some(&wire::IpFamily::IPv6) || first.is_some_and(|first: IpAddr| first.is_ipv6())
}

/// An address that no endpoint has, of the networks 240.0.0.0/4 (RFC 1112) and 100::/64 (RFC 6666).
fn nobodys_address(is_v6: bool, number: u32) -> IpAddr {
    match is_v6 {
        true => Ipv6Addr::from(0x0100_u128 << 112 | u128::from(number)).into(),
        false => Ipv4Addr::from(0xF000_0000 | number & 0x0FFF_FFFF).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn names_of(service: Value) -> Value {
        let whole: Value = json!({"version": 1, "table": {"version": 1, "services": {"shop/db": service}}});
        let config: wire::Config = serde_json::from_value(whole).unwrap();
        serde_json::to_value(names(&config.table.services["shop/db"])).unwrap()["endpoints"].clone()
    }

    #[test]
    fn endpoints_that_differ_in_no_name_are_one() {
        let service =
            |endpoints: Value| json!({"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}], "endpoints": endpoints});
        let one = json!([{"addresses": "240.0.0.1"}]);
        let busy = json!([{"addresses": "10.0.0.1 10.0.0.2", "zone": "a"}, {"addresses": "10.0.0.3", "ready": false}]);
        assert_eq!(names_of(service(busy)), one);
        assert_eq!(names_of(service(json!([]))), one, "endpoints may come");
        let unknown = json!({"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]});
        assert_eq!(names_of(unknown), Value::Null, "nothing is known");
        assert_eq!(names_of(service(json!([{"addresses": "fd00::1"}]))), json!([{"addresses": "100::1"}]));
    }

    #[test]
    fn hostnames_and_the_ports_of_headless_services_are_kept() {
        let service = |first: &str| {
            json!({"clusterIPs": [first], "ports": [{"name": "http", "port": 80}], "endpoints": [
                {"addresses": "10.0.0.2 10.0.0.1", "hostnames": "db-1 db-0", "ports": {"http": 8080}},
                {"addresses": "10.0.0.3", "hostnames": "db-1", "ports": {"http": 8080}, "ready": false},
                {"addresses": "10.0.0.4", "ports": {"http": 8080}},
            ]})
        };
        let named = json!({"addresses": "240.0.0.2 240.0.0.3", "hostnames": "db-0 db-1"});
        assert_eq!(names_of(service("10.96.0.1")), json!([{"addresses": "240.0.0.1"}, named]));
        let ports = json!({"http": 8080});
        let with_ports = |mut group: Value| {
            group["ports"] = ports.clone();
            group
        };
        let wanted = json!([with_ports(json!({"addresses": "240.0.0.1"})), with_ports(named)]);
        assert_eq!(names_of(service("None")), wanted);
    }
}
