//! The upstream clusters that Envoy needs for a configuration. This module asks the core for every absolute name in the table.
//! The core's plans name the clusters, so this module never makes up a name.
//!
//! | name | content of the cluster |
//! |---|---|
//! | each TCP port of each Service, and again for each subset | the endpoints that may serve this caller |
//! | each hostname of endpoints, with each port | the ready endpoints that have it |
//! | each alias and each fallback that leaves the cluster, with each allowed port | the host outside |
//!
//! For a Service that is steered by authority, it asks as if the Service were steered by cluster: Envoy's routes then match the
//! authority.

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fmt,
    net::SocketAddr,
};

use byname_core::{
    Balance, Chooser, Config, Defaults, Destination, FakeEnv, FieldErrors, Plan, Reason, Request, Resolution, Route,
    Scheme, UpstreamProtocol, wire,
};

use super::base::Base;
use crate::{
    input::{Field, InputErrors, SourceLocation},
    kubernetes::{ClusterState, NamespacedName},
};

/// The upstream clusters and routes that a configuration needs in Envoy.
#[derive(Debug, Default)]
pub struct UpstreamClusters {
    /// The upstream clusters by name.
    pub by_name: BTreeMap<String, UpstreamCluster>,
    /// The route of each canonical authority, for Services that are steered by authority.
    pub by_authority: BTreeMap<String, AuthorityRoute>,
}

/// The route of a canonical authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRoute {
    /// The name of the cluster.
    pub cluster: String,
    /// The port of the authority. The authority itself omits port 80.
    pub port: u16,
}

/// The target of an upstream cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamCluster {
    /// The endpoints of a Service's port, or those with one hostname.
    Endpoints(ClusterEndpoints),
    /// A host outside the cluster.
    External {
        /// The host's name.
        host: String,
        /// The host's port.
        port: u16,
        /// Whether the connection uses TLS.
        tls: bool,
    },
    /// The host outside the cluster that the filter names for each request.
    DynamicForwardProxy {
        /// Whether the connection uses TLS.
        tls: bool,
    },
    /// The endpoint that the filter picked.
    OriginalDst(UpstreamProtocol),
    /// The address that the client connected to.
    Passthrough,
}

/// The endpoints of a Service's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterEndpoints {
    /// The canonical name of the Service, or of the endpoint.
    pub host: String,
    /// The Service's port.
    pub port: u16,
    /// The name of the subset; empty for the whole Service.
    pub subset: String,
    /// The protocol to the endpoints.
    pub spoken: UpstreamProtocol,
    /// Whether DNS resolves the host to the endpoints: that of a headless Service, or of an endpoint.
    pub headless: bool,
    /// The addresses of the endpoints; `None` if they are unknown.
    pub addresses: Option<Vec<SocketAddr>>,
    /// The place of the Service in the input, if the endpoints are unknown: see [`UpstreamClusters::locate`].
    pub place: Option<SourceLocation>,
}

impl UpstreamClusters {
    /// Finds the place in the input of each Service whose endpoints are unknown, for the error of an output that needs them.
    pub fn locate(&mut self, cluster: &ClusterState) {
        for upstream in self.by_name.values_mut() {
            if let UpstreamCluster::Endpoints(endpoints) = upstream
                && endpoints.addresses.is_none()
            {
                let service = endpoints.service().and_then(|name| cluster.service(&name));
                endpoints.place = service.map(|service| service.source.place.clone());
            }
        }
    }
}

impl ClusterEndpoints {
    /// The Service in `host`, behind the label of an endpoint if it has one.
    fn service(&self) -> Option<NamespacedName> {
        let (before, namespace) = self.host.split_once(".svc.")?.0.rsplit_once('.')?;
        Some(NamespacedName::new(namespace, before.rsplit('.').next()?))
    }
}

impl fmt::Display for UpstreamCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoints(ClusterEndpoints { host, port, subset, .. }) if subset.is_empty() => {
                write!(f, "{host}:{port}")
            }
            Self::Endpoints(ClusterEndpoints { host, port, subset, .. }) => write!(f, "{host}:{port}, subset {subset}"),
            Self::External { host, port, tls: true } => write!(f, "{host}:{port} over TLS"),
            Self::External { host, port, tls: false } => write!(f, "{host}:{port}"),
            Self::DynamicForwardProxy { tls: true } => f.write_str("hosts outside over TLS"),
            Self::DynamicForwardProxy { tls: false } => f.write_str("hosts outside"),
            Self::OriginalDst(UpstreamProtocol::Tls) => f.write_str("picked endpoints over TLS"),
            Self::OriginalDst(UpstreamProtocol::Http2) => f.write_str("picked endpoints over HTTP/2"),
            Self::OriginalDst(UpstreamProtocol::AsClient) => f.write_str("picked endpoints"),
            Self::Passthrough => f.write_str("the passthrough cluster"),
        }
    }
}

impl UpstreamCluster {
    /// Whether Envoy speaks TLS to it.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        match self {
            Self::Endpoints(endpoints) => endpoints.spoken == UpstreamProtocol::Tls,
            Self::External { tls, .. } | Self::DynamicForwardProxy { tls } => *tls,
            Self::OriginalDst(spoken) => *spoken == UpstreamProtocol::Tls,
            Self::Passthrough => false,
        }
    }

    /// Whether this is a subset of `whole`. If cluster names do not include the subset, one cluster serves all subsets.
    fn is_subset_of(&self, whole: &Self) -> bool {
        matches!((self, whole), (Self::Endpoints(part), Self::Endpoints(whole))
            if whole.subset.is_empty() && (&part.host, part.port) == (&whole.host, whole.port))
    }

    /// The field of the configuration that names this kind of cluster.
    fn named_by(&self) -> Field {
        match self {
            Self::Endpoints(_) => ["steering", "cluster"].into(),
            Self::External { tls, .. } | Self::DynamicForwardProxy { tls } => match tls {
                true => ["steering", "external", "tlsCluster"].into(),
                false => ["steering", "external", "cluster"].into(),
            },
            Self::OriginalDst(_) => ["steering", "originalDst"].into(),
            Self::Passthrough => ["steering", "passCluster"].into(),
        }
    }
}

/// The schemes of the requests that an Envoy of one's own answers.
pub const ALL_SCHEMES: [Scheme; 3] = [Scheme::Http, Scheme::Https, Scheme::Connect];
/// The schemes of the requests that a sidecar of Istio answers: it has no route for a CONNECT.
pub const ISTIO_SCHEMES: [Scheme; 2] = [Scheme::Http, Scheme::Https];

/// Returns the clusters that a configuration needs for requests of these schemes. `wire` and `config` are its two forms, and `base` is
/// its hand-written part.
///
/// # Errors
/// If two clusters would have the same name.
pub fn clusters(
    wire: &wire::Config,
    config: &Config,
    base: &Base,
    schemes: &[Scheme],
) -> Result<UpstreamClusters, InputErrors> {
    let (clusters, problems) = (UpstreamClusters::default(), InputErrors::default());
    let mut found = ClusterCollector { wire, config, base, schemes, clusters, problems };
    match Steered::of(wire) {
        Steered { authority: true, .. } => {
            let named = by_cluster(wire);
            match configured(named.clone()) {
                Ok(config) => found.all(&named, &config),
                Err(refused) => found.problems.append(InputErrors::of_configuration("steering", &refused)),
            }
        }
        Steered { authority: false, .. } => found.all(wire, config),
    }
    if Steered::of(wire).endpoint {
        let wire::OriginalDst { cluster, tls_cluster, http2_cluster } = &wire.steering.original_dst;
        found.put(cluster.clone(), UpstreamCluster::OriginalDst(UpstreamProtocol::AsClient));
        found.put(tls_cluster.clone(), UpstreamCluster::OriginalDst(UpstreamProtocol::Tls));
        if let Some(http2) = http2_cluster.as_ref().filter(|http2| *http2 != cluster) {
            found.put(http2.clone(), UpstreamCluster::OriginalDst(UpstreamProtocol::Http2));
        }
    }
    let ClusterCollector { mut clusters, problems, .. } = found;
    if let Some(name) = &wire.steering.pass_cluster {
        // `passCluster` may name a cluster that exists already.
        clusters.by_name.entry(name.clone()).or_insert(UpstreamCluster::Passthrough);
    }
    problems.or(clusters)
}

/// The clusters that `wire` needs.
///
/// # Errors
/// If the core refuses `wire`, or two clusters would have the same name.
pub(super) fn of_config(wire: &wire::Config, base: &Base) -> Result<UpstreamClusters, InputErrors> {
    let config =
        configured(wire.clone()).map_err(|refused| InputErrors::of_configuration("the configuration", &refused))?;
    clusters(wire, &config, base, &ALL_SCHEMES)
}

/// Returns the clusters that a filter needs that asks a server for Services: those that all Services share, and those of the hosts
/// outside to which aliases may lead by `externalNames.allow`.
///
/// # Errors
/// If two clusters would have the same name.
pub fn clusters_on_demand(
    wire: &wire::Config,
    base: &Base,
    schemes: &[Scheme],
) -> Result<UpstreamClusters, InputErrors> {
    let mut with_aliases = wire.clone();
    // Below an allowed domain any host may be, and only a cluster for all hosts can serve that.
    let is_for_all = wire.steering.external.dynamic_forward_proxy;
    let allowed = wire.external_names.allow.iter().filter(|allow| is_for_all || !allow.host.starts_with('*'));
    for (index, allow) in allowed.enumerate() {
        let alias = wire::Service {
            service_type: wire::ServiceType::ExternalName,
            external_name: Some(allow.host.replacen('*', "any", 1)),
            ..wire::Service::default()
        };
        with_aliases.table.services.insert(format!("byname/allowed-{index}"), alias);
    }
    let config = configured(with_aliases.clone())
        .map_err(|refused| InputErrors::of_configuration("the configuration", &refused))?;
    let mut found = clusters(&with_aliases, &config, base, schemes)?;
    found.by_authority.clear();
    Ok(found)
}

/// The modes by which the Services of a configuration are steered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Steered {
    /// Whether any Service is steered by cluster.
    pub cluster: bool,
    /// Whether any Service is steered by authority.
    pub authority: bool,
    /// Whether any Service is steered by endpoint.
    pub endpoint: bool,
}

impl Steered {
    /// The modes of `wire`.
    #[must_use]
    pub fn of(wire: &wire::Config) -> Self {
        let of_services = wire.table.services.values().filter_map(|service| service.steering.as_ref()?.by);
        let mut steered = Self::default();
        for by in of_services.chain([wire.steering.by]) {
            match by {
                wire::SteeringMode::Cluster => steered.cluster = true,
                wire::SteeringMode::Authority => steered.authority = true,
                wire::SteeringMode::Endpoint => steered.endpoint = true,
            }
        }
        steered
    }
}

/// The Service whose clusters are collected.
#[derive(Clone, Copy)]
struct RequestedService<'s> {
    service: &'s wire::Service,
    subset: &'s str,
}

struct ClusterCollector<'c> {
    wire: &'c wire::Config,
    config: &'c Config,
    base: &'c Base,
    schemes: &'c [Scheme],
    clusters: UpstreamClusters,
    problems: InputErrors,
}

impl ClusterCollector<'_> {
    /// Collects all clusters. `wire` and `config` are the same configuration, and steer nothing by authority.
    fn all(&mut self, wire: &wire::Config, config: &Config) {
        let zone = wire.dns.cluster_domain.trim_end_matches('.');
        let mut listed: Vec<u16> = wire.external_names.allow.iter().flat_map(|allow| &allow.ports).copied().collect();
        listed.sort_unstable();
        listed.dedup();
        for (key, service) in &wire.table.services {
            let Some(NamespacedName { namespace, name }) = NamespacedName::parse(key) else { continue };
            let host = format!("{name}.{namespace}.svc.{zone}.");
            match service.service_type {
                wire::ServiceType::ExternalName => {
                    listed.iter().for_each(|port| self.outside(config, &format!("{host}:{port}")));
                }
                _ => self.service(wire, config, key, service, &host),
            }
        }
        for (key, fallback) in wire.fallback.services.iter().filter(|(_, fallback)| fallback.host.is_some()) {
            let Some(NamespacedName { namespace, name }) = NamespacedName::parse(key) else { continue };
            // With an empty table and no conditions, the fallback always applies.
            let mut alone = without_services(wire);
            alone.fallback.services =
                [(key, wire::Fallback { when: Vec::new(), ..fallback.clone() })].into_iter().collect();
            if let Ok(alone) = configured(alone) {
                self.outside(&alone, &format!("{name}.{namespace}.svc.{zone}.:80"));
            }
        }
    }

    fn service(&mut self, wire: &wire::Config, config: &Config, key: &str, service: &wire::Service, host: &str) {
        let tcp = || service.ports.iter().filter(|port| port.protocol == wire::Protocol::Tcp);
        let mut asked: Vec<String> = tcp().map(|port| format!("{host}:{}", port.port)).collect();
        // A headless Service's EndpointSlices may have named ports that the Service does not list.
        let groups = || service.endpoints.iter().flatten();
        let mut named: Vec<&str> = groups()
            .filter_map(|group| group.ports.as_ref())
            .flat_map(|ports| ports.iter().map(|(name, _)| name))
            .collect();
        named.retain(|name| !name.is_empty() && !tcp().any(|port| port.name == *name));
        named.sort_unstable();
        named.dedup();
        asked.extend(named.iter().map(|name| format!("_{name}._tcp.{host}")));
        let of = RequestedService { service, subset: "" };
        // Each configuration is made once, for all ports: it costs as much as they are.
        let whole = || wire::Service { subsets: wire::Service::default().subsets, ..service.clone() };
        let alone = LazyCell::new(|| alone(wire, key, whole()));
        // The core refuses a Service without ready endpoints, but endpoints may appear later.
        let without_endpoints = LazyCell::new(|| self::alone(wire, key, wire::Service { endpoints: None, ..whole() }));
        for authority in &asked {
            let is_there = service.subsets.is_empty() && self.one(config, authority, of)
                || alone.as_ref().is_some_and(|config| self.one(config, authority, of));
            if !is_there && let Some(config) = without_endpoints.as_ref() {
                self.one(config, authority, of);
            }
        }
        for (name, subset) in service.subsets.iter() {
            let subsets = [(name, subset.clone())].into_iter().collect();
            let Some(config) = self::alone(wire, key, wire::Service { subsets, ..service.clone() }) else { continue };
            for authority in &asked {
                self.one(&config, authority, RequestedService { subset: name, ..of });
            }
        }
        // Several endpoints may share a hostname.
        let hostnames: BTreeSet<&str> = groups().flat_map(|group| group.hostnames.iter()).collect();
        for hostname in hostnames {
            for port in tcp() {
                self.one(config, &format!("{hostname}.{host}:{}", port.port), of);
            }
        }
    }

    /// Asks for a Service or an endpoint, and returns whether the name resolves to it.
    fn one(&mut self, config: &Config, authority: &str, of: RequestedService<'_>) -> bool {
        let (resolution, plan) = ask(config, authority, Scheme::Http);
        let Resolution::Route(route) = resolution else { return false };
        if !matches!(route.reason, Reason::Service | Reason::Endpoint) {
            return false;
        }
        // With an endpoint in the plan, the cluster is the one that all Services share.
        if let (Some(cluster), None) = (plan.cluster(), plan.endpoint()) {
            self.named(authority, cluster);
            let endpoints = self.endpoints(&route, of);
            let has_tunnels = self.schemes.contains(&Scheme::Connect);
            if has_tunnels && endpoints.spoken == UpstreamProtocol::Tls && endpoints.addresses.is_some() {
                let tunnels = self.wire.steering.original_dst.cluster.clone();
                self.put(tunnels, UpstreamCluster::OriginalDst(UpstreamProtocol::AsClient));
            }
            self.put(cluster.to_owned(), UpstreamCluster::Endpoints(endpoints));
        }
        true
    }

    fn endpoints(&self, route: &Route<'_>, of: RequestedService<'_>) -> ClusterEndpoints {
        let mut host = String::new();
        route.destination.write_host(self.wire.dns.cluster_domain.trim_end_matches('.'), &mut host);
        ClusterEndpoints {
            host,
            port: route.port,
            subset: of.subset.to_owned(),
            spoken: route
                .destination
                .service()
                .map_or(UpstreamProtocol::AsClient, |service| service.upstream_protocol(route.port_name)),
            headless: of.service.is_headless() || matches!(route.destination, Destination::Endpoint(..)),
            // The name may have been asked for without the Service's endpoints.
            addresses: route.endpoints().or_else(|| of.service.endpoints.as_ref().map(|_| Vec::new())),
            place: None,
        }
    }

    /// Asks for a name that leaves the cluster.
    fn outside(&mut self, config: &Config, authority: &str) {
        for &scheme in self.schemes {
            let (resolution, plan) = ask(config, authority, scheme);
            let (Resolution::Route(Route { destination: Destination::External(host), port, tls, .. }), Some(cluster)) =
                (resolution, plan.cluster())
            else {
                continue;
            };
            // The client's own TLS is inside the tunnel.
            let tls = tls && scheme != Scheme::Connect;
            let upstream = match plan.dynamic_host() {
                Some(_) => UpstreamCluster::DynamicForwardProxy { tls },
                None => UpstreamCluster::External { host: host.to_owned(), port, tls },
            };
            if scheme == Scheme::Http {
                self.named(authority, cluster);
            }
            self.put(cluster.to_owned(), upstream);
        }
    }

    /// Adds the route to `cluster`, if `authority` is steered by authority.
    fn named(&mut self, authority: &str, cluster: &str) {
        let (resolution, plan) = ask(self.config, authority, Scheme::Http);
        let (Resolution::Route(Route { port, .. }), None, Some(canonical)) =
            (resolution, plan.cluster(), plan.authority())
        else {
            return;
        };
        match self.clusters.by_authority.entry(canonical.to_owned()) {
            Entry::Vacant(free) => drop(free.insert(AuthorityRoute { cluster: cluster.to_owned(), port })),
            Entry::Occupied(other) if other.get().cluster == cluster => {}
            Entry::Occupied(other) => {
                let reason = format!("{canonical} would route to two clusters, {} and {cluster}", other.get().cluster);
                let fix = "set the same alias.tls for all its aliases, or steer by cluster";
                self.problems.push(self.base.problem(["steering", "by"], reason, fix));
            }
        }
    }

    fn put(&mut self, name: String, upstream: UpstreamCluster) {
        match self.clusters.by_name.entry(name) {
            Entry::Vacant(free) => drop(free.insert(upstream)),
            Entry::Occupied(other) if *other.get() == upstream || upstream.is_subset_of(other.get()) => {}
            Entry::Occupied(other) => {
                let (name, one) = (other.key(), other.get());
                let reason = format!("the cluster name {name:?} would stand for both {one} and {upstream}");
                let fix = "add placeholders that tell them apart: {host}, {port}, {subset}";
                self.problems.push(self.base.problem(upstream.named_by(), reason, fix));
            }
        }
    }
}

/// The configuration with only `service` in its table; `None` if the core refuses that.
///
/// It refuses steering by endpoint without endpoints. Such a Service needs no cluster of its own.
fn alone(wire: &wire::Config, key: &str, service: wire::Service) -> Option<Config> {
    // The Service is not an alias, so externalNames does not apply.
    let mut config = wire::Config { external_names: wire::ExternalNames::default(), ..without_services(wire) };
    config.table.services = [(key.to_owned(), service)].into();
    configured(config).ok()
}

pub(super) fn ask<'c>(config: &'c Config, authority: &str, scheme: Scheme) -> (Resolution<'c>, Plan) {
    let mut plan = Plan::default();
    let mut chooser = Chooser { balance: &mut Balance::default(), env: &mut FakeEnv::default() };
    let request = Request::new(authority, scheme);
    let resolution = config.resolve(request, None);
    config.plan(&resolution, request, &mut chooser, &mut plan, None);
    (resolution, plan)
}

pub(super) fn configured(wire: wire::Config) -> Result<Config, FieldErrors> {
    let defaults = Defaults { namespace: Some("default"), ..Defaults::default() };
    Config::from_wire(wire, &defaults)
}

pub(super) fn without_services(wire: &wire::Config) -> wire::Config {
    let wire::Table { version, single_machine, .. } = wire.table;
    let table = wire::Table { version, single_machine, ..wire::Table::default() };
    wire::Config {
        version: wire.version,
        caller: wire.caller.clone(),
        dns: wire.dns.clone(),
        steering: wire.steering.clone(),
        external_names: wire.external_names.clone(),
        table,
        ..wire::Config::default()
    }
}

/// Returns `wire` with steering by cluster in place of steering by authority.
fn by_cluster(wire: &wire::Config) -> wire::Config {
    let mut wire = wire.clone();
    let own = wire.table.services.values_mut().filter_map(|service| service.steering.as_mut()?.by.as_mut());
    for by in own.chain([&mut wire.steering.by]).filter(|by| **by == wire::SteeringMode::Authority) {
        *by = wire::SteeringMode::Cluster;
    }
    wire
}
