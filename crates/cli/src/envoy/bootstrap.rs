//! A complete Envoy bootstrap.

use std::{net::SocketAddr, path::PathBuf, rc::Rc};

use byname_core::wire;

use super::{
    cluster::{ClusterBuilder, Style},
    filter::{Capabilities, discovered, dynamic_forward_proxy, inline},
    server::{self, NO_TABLE, Server, WhenNoServer},
    steered::{early_header_mutations, ends_tunnels, steered_route, steered_tunnel_route},
    template::fill,
    value::{empty, extension, socket_address, typed, watched},
};
use crate::{
    compile::{Compiled, UpstreamCluster, UpstreamClusters},
    input::{InputError, InputErrors},
    output::yaml::{Fields, Yaml, map, one_line},
};

/// What happens to requests that the filter passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pass {
    /// Answer 404. For an Envoy that clients use as their proxy.
    Refuse,
    /// Send them to the address that the client connected to. For an Envoy that the pod's traffic is redirected to.
    OriginalDst,
}

/// Options of a bootstrap.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The path of the module.
    pub module: PathBuf,
    /// The address of the listener.
    pub listen: SocketAddr,
    /// The address of the admin interface.
    pub admin: SocketAddr,
    /// What happens to requests that pass through. Default: send them on if `steering.passCluster` is set, else refuse them.
    pub pass: Option<Pass>,
    /// Protocols that clients may upgrade to, besides those of [`UPGRADES`].
    pub upgrades: Vec<String>,
    /// The node's id. Default: the namespace.
    pub id: Option<String>,
    /// The file that Envoy discovers the filter from. Default: the filter is part of the bootstrap.
    pub ecds_file: Option<PathBuf>,
    /// The file that Envoy discovers the clusters from. Default: the clusters are part of the bootstrap.
    pub cds_file: Option<PathBuf>,
    /// The server that Envoy gets the filter, the clusters and their endpoints from, or that the filter asks for Services. Default: none.
    pub server: Option<Server>,
    /// The style of the clusters.
    pub style: Style,
}

/// The default name of the cluster for requests that pass through.
const PASS_CLUSTER: &str = "passthrough";

/// The protocols that clients may upgrade to: WebSocket, `kubectl exec`, Docker's API and Tailscale's.
const UPGRADES: [&str; 5] = ["websocket", "SPDY/3.1", "tcp", "tailscale-control-protocol", "derp"];

/// The bootstrap of a sidecar for the caller that `compiled` is for.
///
/// # Errors
/// If `compiled` has no namespace, or a cluster needs endpoints that are unknown.
pub fn bootstrap(compiled: &Compiled, clusters: &UpstreamClusters, wanted: &Bootstrap) -> Result<String, InputErrors> {
    let wire = &compiled.wire;
    let Some(namespace) = wire.caller.namespace.as_deref() else {
        let reason = "is per namespace or pod, and neither is given";
        return Err(InputError::new("the bootstrap", reason, "pass --namespace or --pod").into());
    };
    let pass_cluster = wire.steering.pass_cluster.as_deref();
    let passes = wanted.pass.unwrap_or(if pass_cluster.is_some() { Pass::OriginalDst } else { Pass::Refuse });
    if passes == Pass::Refuse && pass_cluster.is_some() {
        let reason = "conflicts with steering.passCluster, which sends these requests on";
        return Err(InputError::new("--pass refuse", reason, "remove one of the two").into());
    }
    let of_envoy = wanted.server.as_ref().filter(|server| !server.is_asked_by_filter);
    let when_absent = of_envoy.map(|server| when_absent(server, passes)).transpose()?;
    let pass_cluster = (passes == Pass::OriginalDst).then(|| pass_cluster.unwrap_or(PASS_CLUSTER));

    let builder = ClusterBuilder::sharing(&wanted.style);
    let mut listed = if wanted.cds_file.is_some() { Vec::new() } else { builder.all(clusters)? };
    if let Some(name) = pass_cluster.filter(|name| !clusters.by_name.contains_key(*name)) {
        listed.push(builder.cluster(name, &UpstreamCluster::Passthrough)?);
    }
    listed.extend(wanted.server.as_ref().map(|server| server::cluster(server)));
    let listed: Vec<Yaml> = listed.into_iter().map(Yaml::Map).collect();

    let control_header = &wire.steering.control_header;
    let destination_port = wire.destination_port.as_ref().and_then(|port| port.header.as_deref());
    Ok(fill(
        include_str!("bootstrap.yaml.in"),
        [
            ("id", wanted.id.clone().unwrap_or_else(|| namespace.to_owned()).into()),
            ("namespace", namespace.to_owned().into()),
            ("metadata", metadata(namespace, wire, of_envoy)),
            ("locality", wire.caller.zone.clone().map(|zone| one_line! { "zone": zone }).into()),
            ("admin", socket_address(wanted.admin)),
            ("watched_clusters", wanted.cds_file.as_deref().map(|file| map! { "cds_config": watched(file) }).into()),
            ("server", of_envoy.map(|_| server::dynamic_resources()).into()),
            ("listen", socket_address(wanted.listen)),
            ("listener_filters", (passes == Pass::OriginalDst).then(listener_filters).into()),
            ("upgrades", upgrades(&wanted.upgrades)),
            ("local_replies", local_replies(when_absent, control_header)),
            ("early_header_mutations", early_header_mutations(control_header, destination_port)),
            ("removed_headers", destination_port.map(|name| Yaml::one_line([name.to_owned()])).into()),
            ("validate_clusters", wanted.cds_file.is_some().then_some(false).into()),
            ("virtual_hosts", virtual_hosts(clusters, control_header, pass_cluster)),
            ("http_filters", http_filters(compiled, clusters, namespace, wanted, when_absent)),
            ("clusters", (!listed.is_empty()).then_some(listed).into()),
        ],
    ))
}

/// What the server has to know of this Envoy, too: its module, and what its listener asks of the filter.
fn metadata(namespace: &str, wire: &wire::Config, server: Option<&Server>) -> Yaml {
    let of_listener = server.map(|_| wire);
    let refuses = of_listener.is_some_and(|wire| wire.unknown_names == wire::UnknownNames::Refuse);
    let port = of_listener.and_then(|wire| wire.destination_port.as_ref()?.listener_port);
    one_line! {
        "NAMESPACE": namespace.to_owned(),
        "NODE_NAME": wire.caller.node.clone(),
        "BYNAME_SCHEMA": server.and_then(|server| server.schema.clone()),
        "BYNAME_UNKNOWN_NAMES": refuses.then(|| "refuse".to_owned()),
        "BYNAME_LISTENER_PORT": port.map(|port| port.to_string()),
    }
}

/// What happens until the first table arrives. Requests can pass only where the bootstrap has a route for them.
fn when_absent(server: &Server, passes: Pass) -> Result<WhenNoServer, InputError> {
    match (server.when_absent, passes) {
        (Some(WhenNoServer::Pass), Pass::Refuse) => Err(InputError::new(
            "--when-no-server pass",
            "needs an Envoy that passes requests on, and this one refuses them",
            "add --pass original-dst, or use --when-no-server refuse",
        )),
        (Some(when_absent), _) => Ok(when_absent),
        (None, Pass::OriginalDst) => Ok(WhenNoServer::Pass),
        (None, Pass::Refuse) => Ok(WhenNoServer::Refuse),
    }
}

fn listener_filters() -> Yaml {
    let original_dst = typed! { "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" };
    [extension("envoy.filters.listener.original_dst", original_dst)].into()
}

fn upgrades(more: &[String]) -> Yaml {
    let types = ["CONNECT"].iter().chain(&UPGRADES).map(|name| (*name).to_owned()).chain(more.iter().cloned());
    types.map(|name| one_line! { "upgrade_type": name }).collect::<Vec<_>>().into()
}

/// The words of the replies that Envoy gives before or after byname's filter, by Envoy's reason.
fn local_replies(when_absent: Option<WhenNoServer>, control_header: &str) -> Yaml {
    let mut mappers = vec![local_reply(
        "response.code_details == 'upgrade_failed'",
        "upgrade_not_allowed",
        "this Envoy does not pass on an upgrade to %REQ(UPGRADE)%; pass --upgrade TYPE to byname compile to allow it"
            .to_owned(),
    )];
    if let Some(when_absent) = when_absent {
        mappers.push(local_reply(
            "response.code_details == 'cluster_not_found'",
            "cluster_not_found",
            format!(
                "no server sent the cluster %REQ({control_header})% in time; check that byname serve runs, that Envoy reaches it, \
                 and that both have the same steering"
            ),
        ));
        // The filter of a server has no endpoints, so it cannot say this itself.
        mappers.push(local_reply(
            "response.code_details.startsWith('no_healthy_upstream')",
            "no_endpoints",
            "no endpoint of the cluster %UPSTREAM_CLUSTER_RAW% can serve; check the readiness of its pods".to_owned(),
        ));
        if when_absent != WhenNoServer::Pass {
            mappers.push(local_reply(
                "response.code_details == 'fault_filter_abort'",
                NO_TABLE,
                "this Envoy has no table; check that byname serve runs, that Envoy reaches it, and that Envoy's log rejects no \
                 push of it"
                    .to_owned(),
            ));
        }
    }
    map! { "mappers": mappers }
}

/// A reply for which `expression` holds, with byname's words.
fn local_reply(expression: &'static str, reason: &'static str, words: String) -> Yaml {
    let is_meant = typed! {
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        "expression": expression,
    };
    let words = format!("byname: {reason}: {words}\n");
    map! {
        "filter": map! { "extension_filter": extension("envoy.access_loggers.extension_filters.cel", is_meant) },
        "headers_to_add": [reason_header(reason)],
        "body_format_override": map! { "text_format_source": one_line! { "inline_string": words } },
    }
}

/// Why Envoy answers by itself, as the filter says it in its local replies.
fn reason_header(reason: &'static str) -> Yaml {
    map! {
        "header": one_line! { "key": "x-byname-reason", "value": reason },
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
}

fn http_filters(
    compiled: &Compiled,
    clusters: &UpstreamClusters,
    namespace: &str,
    wanted: &Bootstrap,
    when_absent: Option<WhenNoServer>,
) -> Yaml {
    let mut filters = vec![match (when_absent, &wanted.ecds_file) {
        (Some(when_absent), _) => server::filter(when_absent, namespace, &wanted.module),
        (None, Some(file)) => discovered(file, namespace, &wanted.module),
        (None, None) if wanted.server.is_some() => inline(&compiled.text, &wanted.module, Capabilities::OnDemand),
        (None, None) if compiled.watches_ends() => inline(&compiled.text, &wanted.module, Capabilities::All),
        (None, None) => inline(&compiled.text, &wanted.module, Capabilities::WithoutEnds),
    }];
    filters.extend(when_absent.map(|_| server::on_demand()));
    if clusters.by_name.values().any(|upstream| matches!(upstream, UpstreamCluster::DynamicForwardProxy { .. })) {
        filters.push(Yaml::commented(
            "Resolves the host that byname chose. byname passes the host in filter state, which no client can set. Without\n\
             `allow_dynamic_host_from_filter_state`, Envoy would resolve the client's host header, as an open proxy does.",
            dynamic_forward_proxy(),
        ));
    }
    let router = typed! { "envoy.extensions.filters.http.router.v3.Router" };
    filters.push(extension("envoy.filters.http.router", router));
    filters.into()
}

/// The routes of requests that are steered by cluster, and of requests that are steered by authority. A request that is steered by
/// cluster may have the name of an authority too, so its route comes first.
fn virtual_hosts(clusters: &UpstreamClusters, control_header: &str, pass_cluster: Option<&str>) -> Yaml {
    let shared = |anchor, route: Fields| {
        let route = Rc::new(Yaml::Map(route));
        move || Yaml::Shared(anchor, Rc::clone(&route))
    };
    let steered = shared("steered", steered_route(control_header));
    let steered_tunnel = shared("steered_tunnel", steered_tunnel_route(control_header));
    let mut first = vec![
        Yaml::commented(
            "The route of the requests that the filter steered: only they have the control header. Envoy chooses the cluster by it\n\
             and then removes it.",
            steered(),
        ),
        Yaml::commented(
            "The same for CONNECT: Envoy ends the tunnel, and its content goes to the upstream.",
            steered_tunnel(),
        ),
    ];
    first.extend(others(pass_cluster));
    let mut hosts = vec![map! { "name": "all", "domains": Yaml::one_line(["*"]), "routes": first }];
    hosts.extend(clusters.by_authority.iter().map(|(authority, route)| {
        let mut domains = vec![authority.clone()];
        if route.port == 80 {
            domains.push(format!("{authority}:80"));
        }
        let routes =
            [steered(), steered_tunnel(), to_cluster(&route.cluster, path()), tunnel_to(clusters, &route.cluster)];
        map! { "name": authority.clone(), "domains": Yaml::one_line(domains), "routes": Yaml::one_line(routes) }
    }));
    hosts.into()
}

/// The routes of the requests that the filter passes through.
fn others(pass_cluster: Option<&str>) -> [Yaml; 2] {
    match pass_cluster {
        Some(cluster) => [
            Yaml::commented(
                "Other requests go to the address that the client connected to, as without the filter. This needs redirected traffic:\n\
                 a request that a client sends to this Envoy as its proxy would come back here.",
                to_cluster(cluster, path()),
            ),
            to_cluster(cluster, tunnel()),
        ],
        None => {
            let refused = |matched| {
                let body = "byname: not_in_table: this address or name is not in the table, and this Envoy passes nothing on\n";
                direct_response(matched, 404, "not_in_table", body)
            };
            [
                Yaml::commented(
                    "Other requests get 404. If traffic is redirected here, `--pass original-dst` sends them on instead.",
                    refused(path()),
                ),
                refused(tunnel()),
            ]
        }
    }
}

/// The route of tunnels to a Service that is steered by authority.
fn tunnel_to(clusters: &UpstreamClusters, cluster: &str) -> Yaml {
    if clusters.by_name.get(cluster).is_some_and(UpstreamCluster::speaks_tls) {
        let body = "byname: tunnel_in_tls: a tunnel to this port would be in TLS twice; steer the Service by cluster or by endpoint\n";
        return direct_response(tunnel(), 501, "tunnel_in_tls", body);
    }
    map! {
        "match": tunnel(),
        "route": one_line! { "cluster": cluster.to_owned(), "timeout": "0s", "upgrade_configs": ends_tunnels() },
    }
}

fn to_cluster(cluster: &str, matched: Yaml) -> Yaml {
    map! { "match": matched, "route": one_line! { "cluster": cluster.to_owned(), "timeout": "0s" } }
}

fn direct_response(matched: Yaml, status: u32, reason: &'static str, body: &'static str) -> Yaml {
    let response = map! { "status": status, "body": one_line! { "inline_string": body } };
    map! { "match": matched, "direct_response": response, "response_headers_to_add": [reason_header(reason)] }
}

fn path() -> Yaml {
    one_line! { "prefix": "/" }
}

fn tunnel() -> Yaml {
    one_line! { "connect_matcher": empty() }
}
