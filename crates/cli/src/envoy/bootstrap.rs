//! A whole bootstrap.

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

/// What becomes of requests that the filter passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pass {
    /// They are answered with 404: for an Envoy that clients use as their proxy.
    Refuse,
    /// They go where the client connected to: for an Envoy to which the pod's traffic is redirected.
    OriginalDst,
}

/// What is wanted of it.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Where the module is.
    pub module: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where its admin interface listens.
    pub admin: SocketAddr,
    /// By default they go where a `steering.passCluster` says, or are refused.
    pub pass: Option<Pass>,
    /// The node's id; by default that of the namespace.
    pub id: Option<String>,
    /// The file that the filter is discovered from. Without one it stands in the bootstrap.
    pub ecds_file: Option<PathBuf>,
    /// The file that the clusters are discovered from. Without one they stand in the bootstrap.
    pub cds_file: Option<PathBuf>,
    /// How clusters are written.
    pub style: Style,
}

/// The cluster of what is passed through, where nothing else is said.
const PASS_CLUSTER: &str = "passthrough";

/// The bootstrap of a sidecar for the caller that `compiled` is for.
///
/// # Errors
/// Where it is for nobody in particular, or a cluster would need endpoints that are not known.
pub fn bootstrap(compiled: &Compiled, clusters: &UpstreamClusters, wanted: &Bootstrap) -> Result<String, InputErrors> {
    let wire = &compiled.wire;
    let Some(namespace) = wire.caller.namespace.as_deref() else {
        let reason = "is that of a pod, and whose is not said";
        return Err(InputError::new("the bootstrap", reason, "say --namespace or --pod").into());
    };
    let pass_cluster = wire.steering.pass_cluster.as_deref();
    let passes = wanted.pass.unwrap_or(if pass_cluster.is_some() { Pass::OriginalDst } else { Pass::Refuse });
    if passes == Pass::Refuse && pass_cluster.is_some() {
        let reason = "would refuse what steering.passCluster sends on";
        return Err(InputError::new("--pass refuse", reason, "leave one of the two out").into());
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
            "It resolves the host that byname chose. The host comes from filter state alone, which no client can set; without\n\
             `allow_dynamic_host_from_filter_state` it would be the client's own Host, and this an open proxy.",
            dynamic_forward_proxy(),
        ));
    }
    let router = typed! { "envoy.extensions.filters.http.router.v3.Router" };
    filters.push(extension("envoy.filters.http.router", router));
    filters.into()
}

/// The routes of what is steered by cluster, and of what is steered by authority. What is steered by cluster may have the name of
/// an authority too.
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
            "All else goes where the client connected to, as it would without the filter. Redirected traffic may go there; a\n\
             request that is sent here as to a proxy would come back here again.",
            to_cluster(cluster),
        ),
        None => {
            let body = "byname: this name means nothing in the cluster, and this Envoy passes nothing on\n";
            let response = map! { "status": 404, "body": one_line! { "inline_string": body } };
            Yaml::commented(
                "All else means nothing in the cluster. `--pass original-dst` sends it on, where traffic is redirected here.",
                map! { "match": one_line! { "prefix": "/" }, "direct_response": response },
            )
        }
    };
    let steered_first = Yaml::commented(
        "What the filter steered. The match demands the header, and upstreams need not see it: it is removed after the cluster\n\
         is chosen by it.",
        steered(),
    );
    let mut hosts =
        vec![map! { "name": "all", "domains": Yaml::one_line(["*"]), "routes": [steered_first, otherwise] }];
    hosts.extend(clusters.by_authority.iter().map(|(authority, cluster)| {
        let mut domains = vec![authority.clone()];
        if !authority.contains(':') {
            domains.push(format!("{authority}:80"));
        }
        map! {
            "name": authority.clone(),
            "domains": Yaml::one_line(domains),
            "routes": Yaml::one_line([steered(), to_cluster(cluster)]),
        }
    }));
    hosts.into()
}
