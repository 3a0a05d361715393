//! The names that go elsewhere with byname than without it: by the cluster's DNS and kube-proxy.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use byname_core::{Authority, FieldErrors, Pass, Reason, Request, Resolution, Scheme};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Asker, difference::Names, names, side::Side};
use crate::{
    cluster_dns::{ClusterDns, DnsAnswer, DnsQuery},
    kubernetes::ClusterState,
};

/// The names that differ from what they are without byname.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsDifference {
    /// The changes, the worst first.
    pub changes: Vec<DnsChange>,
    /// The namespaces that names were resolved from.
    pub namespaces: BTreeSet<String>,
    /// Number of name-and-port pairs that were compared.
    pub names: usize,
}

/// Names that differ in the same way.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DnsChange {
    /// What becomes of requests with byname.
    pub kind: DnsChangeKind,
    /// Where requests go without byname, by DNS and kube-proxy. Empty for `fullHost`, which many Services share.
    pub without: String,
    /// Where requests go with byname. Empty for `fullHost`.
    pub with: String,
    /// The names, grouped by the namespaces that they differ from.
    pub names: Vec<Names>,
}

/// What becomes of requests with byname.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DnsChangeKind {
    /// byname refuses a request that reached something.
    Refused,
    /// It goes to other endpoints or to another host.
    Elsewhere,
    /// It reaches something with byname alone.
    Reached,
    /// It reaches the same, with the Host of another name.
    Host,
    /// It reaches the same, and its Host is the full name of the Service that it was for.
    FullHost,
}

/// Where a request goes without byname.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Without {
    /// To one of these endpoints, as text for people: a Service, or a host outside.
    To(String, Option<BTreeSet<SocketAddr>>),
    /// Nowhere: why.
    Nowhere(&'static str),
    /// The input does not tell.
    Unknown,
}

/// Compares names in `side`, which was compiled from `cluster`, with what they are without byname. `plain` is the same cluster without
/// any policy, which is what kube-proxy does with an address.
///
/// # Errors
/// If one of `from` is not a valid namespace.
pub fn against_dns(
    cluster: &ClusterState,
    side: &mut Side,
    plain: &mut Side,
    from: &BTreeSet<String>,
) -> Result<DnsDifference, FieldErrors> {
    let namespaces = if from.is_empty() { side.namespaces() } else { from.clone() };
    let names = names::of(side, side);
    let dns = ClusterDns::new(cluster, side.zone());
    let all: Vec<&String> = namespaces.iter().collect();
    let mut changes: BTreeMap<(DnsChangeKind, String, String), BTreeMap<usize, Vec<usize>>> = BTreeMap::new();
    let mut asker = Asker::default();
    for (place, namespace) in all.iter().enumerate() {
        side.ask_from(namespace)?;
        plain.ask_from(namespace)?;
        for (index, name) in names.iter().enumerate().filter(|(_, name)| name.is_for(namespace)) {
            let queries = dns.queries(&side.config, &name.authority);
            let without = without(plain, &name.authority, queries.last());
            let Some(change) = change(&mut asker, side, &name.authority, &without) else { continue };
            changes.entry(change).or_default().entry(index).or_default().push(place);
        }
    }
    let changes = changes.into_iter().map(|((kind, without, with), changed)| {
        let mut by_callers: BTreeMap<Vec<usize>, Vec<String>> = BTreeMap::new();
        for (index, from) in changed {
            by_callers.entry(from).or_default().extend(names.get(index).map(|name| name.authority.clone()));
        }
        let called = |from: Vec<usize>| from.into_iter().filter_map(|place| all.get(place).copied().cloned()).collect();
        let names = by_callers.into_iter().map(|(from, names)| Names { from: called(from), names }).collect();
        DnsChange { kind, without, with, names }
    });
    let changes = changes.collect();
    Ok(DnsDifference { changes, names: names.len(), namespaces })
}

/// Where a request for `authority` goes without byname, after the last query of its resolver.
fn without(plain: &Side, authority: &str, query: Option<&DnsQuery>) -> Without {
    let port = Authority::try_from(authority.as_bytes()).ok().and_then(|authority| authority.port()).unwrap_or(80);
    let Some(query) = query else { return Without::Unknown };
    let address = match query.answer {
        DnsAnswer::Unknown | DnsAnswer::Unassigned => return Without::Unknown,
        DnsAnswer::NoData | DnsAnswer::NoSuchName => return Without::Nowhere("no such name in DNS"),
        DnsAnswer::Circle => return Without::Nowhere("a CNAME loop in DNS"),
        DnsAnswer::OtherServers => {
            return match query.aliases.last() {
                Some(target) => {
                    Without::To(format!("{}:{port} outside the cluster", target.trim_end_matches('.')), None)
                }
                None => Without::Nowhere("no such name in the cluster's DNS"),
            };
        }
        DnsAnswer::Addresses => query.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()),
    };
    let addresses: Vec<IpAddr> = address.collect();
    let Some(first) = addresses.first() else { return Without::Unknown };
    let asked = SocketAddr::new(*first, port).to_string();
    match plain.config.resolve(Request::new(&asked, Scheme::Http), None) {
        // A cluster IP: kube-proxy sends the connection to an endpoint.
        Resolution::Route(route) => {
            let mut host = String::new();
            route.destination.write_host(plain.zone(), &mut host);
            let endpoints = route.endpoints().map(|endpoints| endpoints.into_iter().collect());
            Without::To(format!("{host}:{port}"), endpoints)
        }
        Resolution::Refuse(_) => Without::Nowhere("connection refused: no endpoint can serve"),
        // No Service has the address, and nothing translates the port of an endpoint's own address.
        Resolution::Pass(Pass { reason: Reason::IpLiteral, .. }) => {
            let endpoints: BTreeSet<SocketAddr> =
                addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect();
            Without::To(format!("{} at port {port} of its endpoints", query.name), Some(endpoints))
        }
        Resolution::Pass(_) => Without::Nowhere("connection refused: the Service has no such port"),
    }
}

/// How a request differs with byname, if it does.
fn change(
    asker: &mut Asker,
    side: &Side,
    authority: &str,
    without: &Without,
) -> Option<(DnsChangeKind, String, String)> {
    let resolution = side.config.resolve(Request::new(authority, Scheme::Http), None);
    let meaning = asker.meaning(side, authority);
    let host = asker.authority().map(str::to_owned);
    let of_dns = match without {
        Without::To(text, _) => text.clone(),
        Without::Nowhere(why) => (*why).to_owned(),
        Without::Unknown => return None,
    };
    let route = match &resolution {
        // To the address that DNS gave. An alias for a host outside has that host's name.
        Resolution::Pass(_) => {
            let host = host.filter(|host| host != sent(authority) && host != authority)?;
            let with = format!("passed on ({}), Host {host}", meaning.reason);
            return matches!(without, Without::To(..)).then_some((DnsChangeKind::Host, of_dns, with));
        }
        Resolution::Refuse(_) => {
            return match without {
                Without::To(..) => Some((DnsChangeKind::Refused, of_dns, format!("refused ({})", meaning.reason))),
                // The client fails either way.
                Without::Nowhere(_) | Without::Unknown => None,
            };
        }
        Resolution::Route(route) => route,
    };
    let tls = if meaning.tls { " over TLS" } else { "" };
    let with = format!("{}:{}{tls} ({})", meaning.host, route.port, meaning.reason);
    let (text, endpoints) = match without {
        Without::To(text, endpoints) => (text, endpoints),
        Without::Nowhere(_) | Without::Unknown => return Some((DnsChangeKind::Reached, of_dns, with)),
    };
    let own: Option<BTreeSet<SocketAddr>> = route.endpoints().map(|endpoints| endpoints.into_iter().collect());
    let is_same = match (own, endpoints) {
        (Some(own), Some(others)) => own.is_subset(others),
        // An external host, or a Service whose endpoints are unknown: by name.
        _ => text.starts_with(&format!("{}:{}", meaning.host, route.port)) && !meaning.tls,
    };
    if !is_same {
        return Some((DnsChangeKind::Elsewhere, of_dns, with));
    }
    let sent = sent(authority);
    let host = host.filter(|host| host != sent && host != authority)?;
    // `payments`, `payments.shop` and `payments.shop.svc` begin the full name of what they are for.
    let name = sent.rsplit_once(':').map_or(sent, |(name, _)| name);
    let is_full = host == meaning.host || host.starts_with(&format!("{}:", meaning.host));
    match is_full && meaning.host.starts_with(&format!("{name}.")) {
        true => Some((DnsChangeKind::FullHost, String::new(), String::new())),
        false => Some((DnsChangeKind::Host, of_dns, format!("{with}, Host {host}"))),
    }
}

/// The Host that a client sends for this name and port: http's own port is left out.
fn sent(authority: &str) -> &str {
    authority.strip_suffix(":80").unwrap_or(authority)
}
