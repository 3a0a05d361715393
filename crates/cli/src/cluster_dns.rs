//! The answers of the cluster's DNS to a caller's resolver. DNS knows nothing of the filter.

use std::{collections::BTreeSet, net::IpAddr, ops::ControlFlow};

use byname_core::{Authority, Config, EndpointLabel, Host, Name, SearchedName};
use schemars::JsonSchema;
use serde::Serialize;

use crate::kubernetes::{ClusterState, EndpointView, NamespacedName, ServiceForm, ServiceView, TransportProtocol};

/// The number of CNAMEs that a resolver follows.
const MAX_CNAMES: usize = 10;

/// One name that the resolver looks up, with queries for A and AAAA.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsQuery {
    /// The absolute name.
    pub name: String,
    /// The answer of the cluster's DNS.
    pub answer: DnsAnswer,
    /// The names that the answer goes through (CNAME).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The addresses (A and AAAA).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// The kind of a DNS answer.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DnsAnswer {
    /// Addresses.
    Addresses,
    /// An address that the API server assigns when the Service is created; the input is a manifest.
    Unassigned,
    /// The name exists and has no addresses.
    NoData,
    /// The name does not exist: NXDOMAIN.
    NoSuchName,
    /// The name is outside the cluster's domain: another server answers.
    OtherServers,
    /// The CNAMEs form a loop: an error.
    Circle,
    /// The input lacks the objects that decide.
    Unknown,
}

/// The DNS of a cluster.
pub struct ClusterDns<'c> {
    cluster: &'c ClusterState,
    namespaces: BTreeSet<&'c str>,
    zone: String,
}

impl<'c> ClusterDns<'c> {
    /// The DNS of `cluster`, whose domain is `zone`.
    #[must_use]
    pub fn new(cluster: &'c ClusterState, zone: &str) -> Self {
        Self { cluster, namespaces: cluster.all_namespaces(), zone: zone.to_owned() }
    }

    /// The queries of the caller of `config` for the host of `authority`, up to the one that ends the search.
    #[must_use]
    pub fn queries(&self, config: &Config, authority: &str) -> Vec<DnsQuery> {
        let Ok(authority) = Authority::try_from(authority.as_bytes()) else { return Vec::new() };
        let Host::Name { name, absolute } = authority.host() else { return Vec::new() };
        let mut queries = Vec::new();
        // A resolver tries the next name after one without addresses, until the search list ends.
        let _ = config.caller.search().try_each(&SearchedName::new(name, *absolute), |candidate| {
            let mut whole = *name;
            let fits = candidate.domain().is_none_or(|domain| whole.join(whole.len(), domain));
            debug_assert!(fits, "the search leaves out names that would be too long");
            let query = self.query(&whole);
            // The cluster's DNS follows a CNAME out of the cluster by itself. The final answer is unknown here.
            let leads_out = query.answer == DnsAnswer::OtherServers && !query.aliases.is_empty();
            let is_end =
                leads_out || matches!(query.answer, DnsAnswer::Addresses | DnsAnswer::Unassigned | DnsAnswer::Unknown);
            queries.push(query);
            if is_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        queries
    }

    fn query(&self, name: &Name) -> DnsQuery {
        let mut query = DnsQuery {
            name: name.as_str().to_owned(),
            answer: DnsAnswer::NoSuchName,
            aliases: Vec::new(),
            addresses: Vec::new(),
        };
        let mut at = *name;
        loop {
            let Some(below) = at.below(&self.zone) else {
                query.answer = DnsAnswer::OtherServers;
                return query;
            };
            match self.lookup(below) {
                DnsLookup::Addresses(addresses) if addresses.is_empty() => query.answer = DnsAnswer::NoData,
                DnsLookup::Addresses(addresses) => {
                    query.answer = DnsAnswer::Addresses;
                    query.addresses = addresses;
                }
                DnsLookup::Unassigned => query.answer = DnsAnswer::Unassigned,
                DnsLookup::Nothing => query.answer = DnsAnswer::NoSuchName,
                DnsLookup::Unknown => query.answer = DnsAnswer::Unknown,
                DnsLookup::Alias(target) if query.aliases.contains(&target) || query.aliases.len() >= MAX_CNAMES => {
                    query.answer = DnsAnswer::Circle;
                }
                DnsLookup::Alias(target) => {
                    query.aliases.push(target.clone());
                    if let Ok(next) = Name::parse(target.trim_end_matches('.').as_bytes()) {
                        at = next;
                        continue;
                    }
                }
            }
            return query;
        }
    }

    /// Looks a name up by the Kubernetes DNS specification, as CoreDNS implements it.
    fn lookup(&self, below: &str) -> DnsLookup {
        let Self { cluster, namespaces, .. } = self;
        let labels: Vec<&str> = below.rsplit('.').collect();
        match labels.as_slice() {
            ["svc" | "pod"] => DnsLookup::Addresses(Vec::new()),
            ["svc" | "pod", namespace] if namespaces.contains(namespace) => DnsLookup::Addresses(Vec::new()),
            ["svc", namespace, service, parts @ ..] => {
                let name = NamespacedName::new(namespace, service);
                cluster.service(&name).map_or(DnsLookup::Nothing, |view| of_service(cluster, view, parts))
            }
            // With kubeadm's `pods insecure`, CoreDNS answers any address, whether a pod has it or not.
            ["pod", namespace, dashed] if namespaces.contains(namespace) => {
                let address = dashed.replace('-', ".").parse::<IpAddr>().or(dashed.replace('-', ":").parse());
                address.map_or(DnsLookup::Nothing, |address| DnsLookup::Addresses(vec![address.to_string()]))
            }
            _ => DnsLookup::Nothing,
        }
    }
}

enum DnsLookup {
    /// The list may be empty: the name exists without addresses.
    Addresses(Vec<String>),
    /// A cluster IP that the API server has yet to assign.
    Unassigned,
    Alias(String),
    Nothing,
    Unknown,
}

/// `parts` are the labels before the Service's name, the last label first.
fn of_service(cluster: &ClusterState, view: ServiceView<'_>, parts: &[&str]) -> DnsLookup {
    let own_addresses = || match view.form {
        ServiceForm::Unassigned => DnsLookup::Unassigned,
        _ => DnsLookup::Addresses(view.cluster_ips().map(str::to_owned).collect()),
    };
    match (view.form, parts) {
        (ServiceForm::ExternalName, []) => match &view.spec.external_name {
            // A CNAME cannot point to an IP address.
            Some(target) if target.parse::<IpAddr>().is_err() => DnsLookup::Alias(target.to_ascii_lowercase()),
            _ => DnsLookup::Nothing,
        },
        (ServiceForm::ExternalName, _) => DnsLookup::Nothing,
        (ServiceForm::Headless, []) => of_endpoints(cluster, view, |_, _| true),
        (ServiceForm::Virtual | ServiceForm::Unassigned, []) => own_addresses(),
        (_, [label]) => of_endpoints(cluster, view, |endpoint, address| is_called(endpoint, address, label)),
        (form, [protocol, port]) => {
            let (port, protocol) = (port.trim_start_matches('_'), protocol.trim_start_matches('_'));
            let is_it = |name: &str, of: TransportProtocol<'_>| {
                !name.is_empty() && name == port && of.as_str().eq_ignore_ascii_case(protocol)
            };
            match form {
                ServiceForm::Headless => {
                    of_endpoints(cluster, view, |endpoint, _| {
                        // A port without a number has a name in DNS too.
                        endpoint.slice.ports().any(|port| is_it(port.name, port.protocol))
                    })
                }
                _ if view.ports().any(|other| is_it(other.name, other.protocol)) => own_addresses(),
                _ => DnsLookup::Nothing,
            }
        }
        _ => DnsLookup::Nothing,
    }
}

/// The addresses of the ready endpoints that match; CoreDNS answers with every address of an endpoint. Without one, the name
/// does not exist.
fn of_endpoints(
    cluster: &ClusterState,
    view: ServiceView<'_>,
    is_meant: impl Fn(&EndpointView<'_>, IpAddr) -> bool,
) -> DnsLookup {
    if !cluster.knows_endpoints_of(view.name) {
        return DnsLookup::Unknown;
    }
    let mut addresses: Vec<IpAddr> = Vec::new();
    for endpoint in view.endpoints().filter(|endpoint| endpoint.is_ready) {
        addresses.extend(endpoint.all_ips().filter(|address| is_meant(&endpoint, *address)));
    }
    addresses.sort_unstable();
    addresses.dedup();
    match addresses.is_empty() {
        true => DnsLookup::Nothing,
        false => DnsLookup::Addresses(addresses.iter().map(IpAddr::to_string).collect()),
    }
}

/// Whether `label` is the endpoint's hostname or, without a hostname, its address with dashes.
pub(crate) fn is_called(endpoint: &EndpointView<'_>, address: IpAddr, label: &str) -> bool {
    match endpoint.hostname() {
        Some(hostname) => hostname == label,
        None => EndpointLabel::Address(address).to_string() == label,
    }
}
