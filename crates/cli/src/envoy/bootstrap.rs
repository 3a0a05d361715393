//! A whole bootstrap.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    cluster::{self, Style},
    filter::{discovered, dynamic_forward_proxy, inline},
    value::{path, socket_address},
};
use crate::{
    compile::{Compiled, UpstreamCluster, UpstreamClusters},
    fill::{fill, quoted},
    input::{InputError, InputErrors},
    output::directory_of,
};

/// What becomes of requests that the filter passes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Pass {
    /// They are answered with 404: for an Envoy that programs use as their proxy.
    Refuse,
    /// They go where the program connected to: for an Envoy to which the pod's traffic is redirected.
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

/// Of routes whose clusters are discovered.
const LATER: &str = "# They come later than the routes.\nvalidate_clusters: false\n";

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
    let mut own = String::new();
    let passes = wanted.pass.unwrap_or(if pass_cluster.is_some() { Pass::OriginalDst } else { Pass::Refuse });
    let pass = match passes {
        Pass::Refuse if pass_cluster.is_some() => {
            let reason = "would refuse what steering.passCluster sends on";
            return Err(InputError::new("--pass refuse", reason, "leave one of the two out").into());
        }
        Pass::Refuse => include_str!("refuse.yaml.in").to_owned(),
        Pass::OriginalDst => {
            let name = pass_cluster.unwrap_or(PASS_CLUSTER);
            if !clusters.by_name.contains_key(name) {
                own = cluster::cluster(name, &UpstreamCluster::Passthrough, &wanted.style)?;
            }
            fill(include_str!("pass.yaml.in"), &[("cluster", &quoted(name))])
        }
    };
    let is_dynamic =
        clusters.by_name.values().any(|upstream| matches!(upstream, UpstreamCluster::DynamicForwardProxy { .. }));
    let locality = wire.caller.zone.as_deref().map(|zone| format!("locality: {{zone: {}}}", quoted(zone)));
    let filter = match &wanted.ecds_file {
        Some(file) => discovered(file, namespace, &wanted.module),
        None => inline(&compiled.text, &wanted.module),
    };
    let listed = match &wanted.cds_file {
        Some(_) => String::new(),
        None => cluster::list(clusters, &wanted.style)?,
    } + &own;
    let listed = if listed.is_empty() { listed } else { format!("clusters:\n{listed}") };
    Ok(fill(
        include_str!("bootstrap.yaml.in"),
        &[
            ("id", &quoted(wanted.id.as_deref().unwrap_or(namespace))),
            ("namespace", &quoted(namespace)),
            ("locality", &locality.unwrap_or_default()),
            ("admin", &socket_address(wanted.admin)),
            ("dynamic_resources", &wanted.cds_file.as_deref().map(dynamic_resources).unwrap_or_default()),
            ("listen", &socket_address(wanted.listen)),
            ("listener_filters", if passes == Pass::OriginalDst { include_str!("redirected.yaml.in") } else { "" }),
            ("control_header", &quoted(&wire.steering.control_header)),
            ("pass", &pass),
            ("validate_clusters", if wanted.cds_file.is_some() { LATER } else { "" }),
            ("by_authority", &virtual_hosts(clusters)),
            ("filter", &filter),
            ("dynamic_forward_proxy", &if is_dynamic { dynamic_forward_proxy() } else { String::new() }),
            ("clusters", &listed),
        ],
    ))
}

fn dynamic_resources(file: &Path) -> String {
    fill(include_str!("dynamic-resources.yaml.in"), &[("file", &path(file)), ("directory", &path(directory_of(file)))])
}

/// The routes of what is steered by authority. What is steered by cluster may bear one of these names too.
fn virtual_hosts(clusters: &UpstreamClusters) -> String {
    const HOST: &str = "\
- name: {{authority}}
  domains: [{{domains}}]
  routes: [*steered, {match: {prefix: /}, route: {cluster: {{cluster}}, timeout: 0s}}]
";
    let mut text = String::new();
    for (authority, cluster) in &clusters.by_authority {
        let domains = match authority.contains(':') {
            true => quoted(authority),
            false => format!("{}, {}", quoted(authority), quoted(&format!("{authority}:80"))),
        };
        let values = [("authority", &*quoted(authority)), ("domains", &domains), ("cluster", &quoted(cluster))];
        text.push_str(&fill(HOST, &values));
    }
    text
}
