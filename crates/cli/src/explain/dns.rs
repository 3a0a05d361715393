//! What the cluster's own DNS answers a caller's resolver, which knows nothing of the filter.

use std::{net::IpAddr, ops::ControlFlow};

use byname_core::{Authority, Config, Destination, Host, Name, Request, Resolution, Scheme, resolve};
use schemars::JsonSchema;
use serde::Serialize;

use super::Asked;
use crate::{
    caller::Caller,
    cluster::{Cluster, NamespacedName},
};

/// CNAMEs that a resolver follows.
const MAX_CNAMES: usize = 10;

/// One name that the resolver asks for, each as A and AAAA.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsQuery {
    /// The absolute name.
    pub name: String,
    /// What is answered.
    pub answer: DnsAnswer,
    /// Names that it leads through (CNAME).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The addresses (A and AAAA).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// What a DNS server answers.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DnsAnswer {
    /// Addresses.
    Addresses,
    /// The name exists and has no addresses.
    NoData,
    /// There is no such name: NXDOMAIN.
    NoSuchName,
    /// It is not the cluster's: the next server knows.
    OtherServers,
    /// Aliases lead in a circle: an error.
    Circle,
}

/// The queries for `asked`, up to the one that ends it.
pub(super) fn queries(cluster: &Cluster, config: &Config, caller: &Caller, asked: &Asked) -> Vec<DnsQuery> {
    let authority = asked.authority();
    let Ok(authority) = Authority::try_from(authority.as_bytes()) else { return Vec::new() };
    let Host::Name { name, absolute } = authority.host() else { return Vec::new() };
    let mut queries = Vec::new();
    // A resolver goes on where a name has no addresses, and has no other end but the list's.
    let _ = config.caller.search().try_each(name, *absolute, |candidate| {
        let query = query(cluster, config, &caller.dns.cluster_domain, candidate.name);
        // Where an alias leads out, the cluster's DNS asks on by itself; what comes of it nobody here knows.
        let leads_out = query.answer == DnsAnswer::OtherServers && !query.aliases.is_empty();
        let is_end = query.answer == DnsAnswer::Addresses || leads_out;
        queries.push(query);
        if is_end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    queries
}

fn query(cluster: &Cluster, config: &Config, zone: &str, name: &Name) -> DnsQuery {
    let mut query = DnsQuery {
        name: name.as_str().to_owned(),
        answer: DnsAnswer::NoSuchName,
        aliases: Vec::new(),
        addresses: Vec::new(),
    };
    let mut at = *name;
    loop {
        let Some(below) = at.below(zone) else {
            query.answer = DnsAnswer::OtherServers;
            return query;
        };
        match lookup(cluster, config, &at, below) {
            Found::Addresses(addresses) if addresses.is_empty() => query.answer = DnsAnswer::NoData,
            Found::Addresses(addresses) => {
                query.answer = DnsAnswer::Addresses;
                query.addresses = addresses;
            }
            Found::Nothing => query.answer = DnsAnswer::NoSuchName,
            Found::Alias(target) if query.aliases.contains(&target) || query.aliases.len() >= MAX_CNAMES => {
                query.answer = DnsAnswer::Circle;
            }
            Found::Alias(target) => {
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

enum Found {
    Addresses(Vec<String>),
    Alias(String),
    Nothing,
}

/// By the rules of the Kubernetes DNS specification, as CoreDNS has them.
fn lookup(cluster: &Cluster, config: &Config, name: &Name, below: &str) -> Found {
    let labels: Vec<&str> = below.rsplit('.').collect();
    match labels.as_slice() {
        ["svc", namespace, service] => of_service(cluster, &NamespacedName::new(namespace, service)),
        // Single endpoints and named ports: the core has their rules.
        ["svc", namespace, service, ..] => of_part(cluster, config, name, &NamespacedName::new(namespace, service)),
        // CoreDNS as kubeadm installs it (`pods insecure`) answers any address, be there a pod or not.
        ["pod", _, dashed] => match dashed.replace('-', ".").parse::<IpAddr>().or(dashed.replace('-', ":").parse()) {
            Ok(address) => Found::Addresses(vec![address.to_string()]),
            Err(_) => Found::Nothing,
        },
        _ => Found::Nothing,
    }
}

fn of_service(cluster: &Cluster, name: &NamespacedName) -> Found {
    let Some(service) = cluster.services.get(name) else { return Found::Nothing };
    let spec = service.object.spec.clone().unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        return spec.external_name.map_or(Found::Nothing, Found::Alias);
    }
    let listed = spec.cluster_ips.unwrap_or_default();
    let addresses = if listed.is_empty() { spec.cluster_ip.into_iter().collect() } else { listed };
    if !addresses.iter().any(|address| address == "None") {
        return Found::Addresses(addresses.into_iter().filter(|address| !address.is_empty()).collect());
    }
    let publishes = spec.publish_not_ready_addresses.unwrap_or(false);
    let endpoints = cluster.slices_of(name).flat_map(|(_, slice)| slice.object.endpoints.iter().flatten());
    let ready = endpoints.filter(|endpoint| {
        publishes || endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    let mut addresses: Vec<IpAddr> = ready.filter_map(|endpoint| endpoint.addresses.first()?.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        // Without a ready endpoint a headless Service has no name.
        return Found::Nothing;
    }
    Found::Addresses(addresses.iter().map(IpAddr::to_string).collect())
}

fn of_part(cluster: &Cluster, config: &Config, name: &Name, service: &NamespacedName) -> Found {
    let absolute = format!("{}.", name.as_str());
    let request = Request { authority: absolute.as_bytes(), scheme: Scheme::Http };
    let route = match resolve(&config.table, &config.caller, request) {
        Resolution::Route(route) => route,
        // It has the name, and not this port.
        Resolution::Pass(byname_core::Reason::PortNotFound) | Resolution::Refuse(byname_core::Reason::PortNotFound) => {
            return endpoint_called(cluster, service, name)
                .map_or(Found::Nothing, |address| Found::Addresses(vec![address]));
        }
        Resolution::Pass(_) | Resolution::Refuse(_) => return Found::Nothing,
    };
    match route.destination {
        Destination::Endpoint(..) => {
            endpoint_called(cluster, service, name).map_or(Found::Nothing, |address| Found::Addresses(vec![address]))
        }
        _ => of_service(cluster, service),
    }
}

/// The address of the endpoint that the first label names.
fn endpoint_called(cluster: &Cluster, service: &NamespacedName, name: &Name) -> Option<String> {
    let (label, _) = name.as_str().split_once('.')?;
    let endpoints = cluster.slices_of(service).flat_map(|(_, slice)| slice.object.endpoints.iter().flatten());
    endpoints.filter_map(|endpoint| Some((endpoint, endpoint.addresses.first()?))).find_map(|(endpoint, address)| {
        let is_it = match endpoint.hostname.as_deref() {
            Some(hostname) if !hostname.is_empty() => hostname == label,
            _ => byname_core::EndpointLabel::Address(address.parse().ok()?).to_string() == label,
        };
        is_it.then(|| address.clone())
    })
}
