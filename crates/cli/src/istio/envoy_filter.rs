//! What of Envoy's configuration has to change for the filter, as an EnvoyFilter.

use std::path::Path;

use super::object::{IstioObject, namespace};
use crate::{
    compile::{Compiled, Steered, UpstreamCluster, UpstreamClusters},
    envoy::{ClusterBuilder, Style, dynamic_forward_proxy, extension, header_removal, steered_route, typed, wasm},
    input::{InputError, InputErrors},
    output::yaml::{Yaml, fields, map, one_line},
};

const COMMENT: &str = "\
What steering by cluster or by endpoint needs of the sidecars of the namespace, made by `byname compile`.";

const HEADER_REMOVAL: &str = "\
No client steers by setting the control header: it is removed before any filter runs and whether or not one does.";

const ROUTE: &str = "\
What the filter steered, before Istio's own routes of every virtual host. The match demands the header, and upstreams need not
see it: it is removed after the cluster is chosen by it.";

const FILTER: &str = "The filter, before any that authorizes: steering changes the route that those would look at.";

const RESOLVER: &str = "Resolves the hosts outside the cluster that byname chose.";

/// An EnvoyFilter for the namespace of the caller. With a `module`, which the proxies have as a file, it brings the filter too;
/// else that comes by WasmPlugin.
///
/// # Errors
/// Where there is no namespace, where nothing is steered so that it would be needed, or where it would be too large.
pub fn envoy_filter(
    compiled: &Compiled,
    clusters: &UpstreamClusters,
    style: &Style,
    module: Option<&Path>,
) -> Result<IstioObject, InputErrors> {
    let namespace = namespace(compiled)?;
    let steered = Steered::of(&compiled.wire);
    if !steered.cluster && !steered.endpoint && module.is_none() {
        let reason = "is not needed: everything is steered by authority, and Istio's own routes match that";
        let fix = "write istio-wasmplugin, or steer by cluster or endpoint in --config";
        return Err(InputError::new("the EnvoyFilter", reason, fix).into());
    }
    let control_header = &compiled.wire.steering.control_header;
    let manager = map! {
        "typed_config": typed! {
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "early_header_mutation_extensions": header_removal(control_header),
        },
    };
    let mut route = fields! { "name": "byname" };
    route.extend(steered_route(control_header));
    let mut patches = vec![
        Yaml::commented(HEADER_REMOVAL, patch("NETWORK_FILTER", Some(in_chain(None)), "MERGE", manager)),
        Yaml::commented(ROUTE, patch("HTTP_ROUTE", None, "INSERT_FIRST", Yaml::Map(route))),
    ];
    if let Some(module) = module {
        let filter = extension("byname", wasm(&compiled.text, module, false));
        patches.push(Yaml::commented(FILTER, patch("HTTP_FILTER", Some(in_chain(None)), "INSERT_FIRST", filter)));
    }
    let (mut added, mut problems) = (Vec::new(), InputErrors::default());
    let mut is_dynamic = false;
    let builder = ClusterBuilder::new(style);
    for (name, upstream) in &clusters.by_name {
        match upstream {
            // Istio has those.
            UpstreamCluster::Endpoints(_) | UpstreamCluster::Passthrough => continue,
            UpstreamCluster::DynamicForwardProxy { .. } => is_dynamic = true,
            UpstreamCluster::External { .. } | UpstreamCluster::OriginalDst(_) => {}
        }
        match builder.cluster(name, upstream) {
            Ok(cluster) => added.push(patch("CLUSTER", None, "ADD", Yaml::Map(cluster))),
            Err(problem) => problems.push(problem),
        }
    }
    if is_dynamic {
        let router = in_chain(Some(one_line! { "name": "envoy.filters.http.router" }));
        let filter = patch("HTTP_FILTER", Some(router), "INSERT_BEFORE", dynamic_forward_proxy());
        patches.push(Yaml::commented(RESOLVER, filter));
    }
    patches.append(&mut added);
    problems.or(())?;
    let kind = ("networking.istio.io/v1alpha3", "EnvoyFilter");
    Ok(IstioObject::new(kind, COMMENT, namespace, map! { "configPatches": patches })?)
}

/// A change of the sidecars' outbound side.
fn patch(apply_to: &'static str, listener: Option<Yaml>, operation: &'static str, value: Yaml) -> Yaml {
    map! {
        "applyTo": apply_to,
        "match": map! { "context": "SIDECAR_OUTBOUND", "listener": listener },
        "patch": map! { "operation": operation, "value": value },
    }
}

/// The filter chains with HTTP, or one of their HTTP filters.
fn in_chain(http_filter: Option<Yaml>) -> Yaml {
    let filter = map! { "name": "envoy.filters.network.http_connection_manager", "subFilter": http_filter };
    map! { "filterChain": map! { "filter": filter } }
}
