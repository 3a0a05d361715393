//! A complete Envoy bootstrap.

use std::{net::SocketAddr, path::PathBuf, rc::Rc};

use super::{
    cluster::{ClusterBuilder, Style},
    filter::{discovered, dynamic_forward_proxy, inline},
    steered::{header_removal, steered_route},
    template::fill,
    value::{extension, socket_address, typed, watched},
};
use crate::{
    compile::{Compiled, UpstreamCluster, UpstreamClusters},
    input::{InputError, InputErrors},
    output::yaml::{Yaml, map, one_line},
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
    /// The node's id. Default: the namespace.
    pub id: Option<String>,
    /// The file that Envoy discovers the filter from. Default: the filter is part of the bootstrap.
    pub ecds_file: Option<PathBuf>,
    /// The file that Envoy discovers the clusters from. Default: the clusters are part of the bootstrap.
    pub cds_file: Option<PathBuf>,
    /// The style of the clusters.
    pub style: Style,
}

/// The default name of the cluster for requests that pass through.
const PASS_CLUSTER: &str = "passthrough";

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
    let pass_cluster = (passes == Pass::OriginalDst).then(|| pass_cluster.unwrap_or(PASS_CLUSTER));

    let builder = ClusterBuilder::sharing(&wanted.style);
    let mut listed = if wanted.cds_file.is_some() { Vec::new() } else { builder.all(clusters)? };
    if let Some(name) = pass_cluster.filter(|name| !clusters.by_name.contains_key(*name)) {
        listed.push(builder.cluster(name, &UpstreamCluster::Passthrough)?);
    }
    let listed: Vec<Yaml> = listed.into_iter().map(Yaml::Map).collect();

    let control_header = &wire.steering.control_header;
    Ok(fill(
        include_str!("bootstrap.yaml.in"),
        [
            ("id", wanted.id.clone().unwrap_or_else(|| namespace.to_owned()).into()),
            ("namespace", namespace.to_owned().into()),
            ("metadata", one_line! { "NAMESPACE": namespace.to_owned() }),
            ("locality", wire.caller.zone.clone().map(|zone| one_line! { "zone": zone }).into()),
            ("admin", socket_address(wanted.admin)),
            ("dynamic_resources", wanted.cds_file.as_deref().map(|file| map! { "cds_config": watched(file) }).into()),
            ("listen", socket_address(wanted.listen)),
            ("listener_filters", (passes == Pass::OriginalDst).then(listener_filters).into()),
            ("header_removal", header_removal(control_header)),
            ("validate_clusters", wanted.cds_file.is_some().then_some(false).into()),
            ("virtual_hosts", virtual_hosts(clusters, control_header, pass_cluster)),
            ("http_filters", http_filters(compiled, clusters, namespace, wanted)),
            ("clusters", (!listed.is_empty()).then_some(listed).into()),
        ],
    ))
}

fn listener_filters() -> Yaml {
    let original_dst = typed! { "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" };
    [extension("envoy.filters.listener.original_dst", original_dst)].into()
}

fn http_filters(compiled: &Compiled, clusters: &UpstreamClusters, namespace: &str, wanted: &Bootstrap) -> Yaml {
    let mut filters = vec![match &wanted.ecds_file {
        Some(file) => discovered(file, namespace, &wanted.module),
        None => inline(&compiled.text, &wanted.module),
    }];
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
    let steered = Rc::new(Yaml::Map(steered_route(control_header)));
    let steered = || Yaml::Shared("steered", Rc::clone(&steered));
    let to_cluster = |cluster: &str| {
        map! {
            "match": one_line! { "prefix": "/" },
            "route": one_line! { "cluster": cluster.to_owned(), "timeout": "0s" },
        }
    };
    let otherwise = match pass_cluster {
        Some(cluster) => Yaml::commented(
            "Other requests go to the address that the client connected to, as without the filter. This needs redirected traffic:\n\
             a request that a client sends to this Envoy as its proxy would come back here.",
            to_cluster(cluster),
        ),
        None => {
            let body = "byname: this address or name is not in the table, and this Envoy passes nothing on\n";
            let response = map! { "status": 404, "body": one_line! { "inline_string": body } };
            Yaml::commented(
                "Other requests get 404. If traffic is redirected here, `--pass original-dst` sends them on instead.",
                map! { "match": one_line! { "prefix": "/" }, "direct_response": response },
            )
        }
    };
    let steered_first = Yaml::commented(
        "The route of the requests that the filter steered: only they have the control header. Envoy chooses the cluster by it\n\
         and then removes it.",
        steered(),
    );
    let mut hosts =
        vec![map! { "name": "all", "domains": Yaml::one_line(["*"]), "routes": [steered_first, otherwise] }];
    hosts.extend(clusters.by_authority.iter().map(|(authority, route)| {
        let mut domains = vec![authority.clone()];
        if route.port == 80 {
            domains.push(format!("{authority}:80"));
        }
        map! {
            "name": authority.clone(),
            "domains": Yaml::one_line(domains),
            "routes": Yaml::one_line([steered(), to_cluster(&route.cluster)]),
        }
    }));
    hosts.into()
}
