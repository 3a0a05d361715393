//! The EnvoyFilter with the changes to Envoy's configuration that the filter needs.

use std::path::Path;

use super::object::{IstioObject, Placement};
use crate::{
    compile::{Compiled, Steered, UpstreamCluster, UpstreamClusters},
    envoy::{
        Capabilities, ClusterBuilder, Style, dynamic_forward_proxy, early_header_mutations, extension, steered_route,
        typed, wasm,
    },
    input::{InputError, InputErrors},
    output::yaml::{Yaml, fields, map, one_line},
};

const COMMENT: &str = "\
The changes to sidecars that steering by cluster or by endpoint needs, made by `byname compile`.";

const HEADER_REMOVAL: &str = "\
No client can steer by setting the control header: Envoy removes the header before any filter runs.";

const ROUTE: &str = "\
The route of the requests that the filter steered, before Istio's own routes of every virtual host. Only these requests have
the control header. Envoy chooses the cluster by the header and then removes it.";

const FILTER: &str =
    "The filter, before any filter that authorizes requests: steering changes the route that they look at.";

const RESOLVER: &str = "Resolves the hosts outside the cluster that byname chose.";

/// An EnvoyFilter. With a `module`, the path of a file in the sidecars, it adds the filter too.
/// Without one, a WasmPlugin adds the filter.
///
/// # Errors
/// If steering needs no EnvoyFilter, or if the EnvoyFilter would be too large.
pub fn envoy_filter(
    compiled: &Compiled,
    clusters: &UpstreamClusters,
    style: &Style,
    module: Option<&Path>,
    placement: &Placement,
) -> Result<IstioObject, InputErrors> {
    let steered = Steered::of(&compiled.wire);
    if !steered.cluster && !steered.endpoint && module.is_none() {
        let reason = "is not needed: all Services are steered by authority, and Istio's own routes match the authority";
        let fix = "use --format istio-wasmplugin, or set steering.by to cluster or endpoint in --config";
        return Err(InputError::new("the EnvoyFilter", reason, fix).into());
    }
    let control_header = &compiled.wire.steering.control_header;
    let manager = map! {
        "typed_config": typed! {
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "early_header_mutation_extensions": early_header_mutations(control_header, None),
        },
    };
    let mut route = fields! { "name": "byname" };
    route.extend(steered_route(control_header));
    let mut patches = vec![
        Yaml::commented(HEADER_REMOVAL, patch("NETWORK_FILTER", Some(in_chain(None)), "MERGE", manager)),
        Yaml::commented(ROUTE, patch("HTTP_ROUTE", None, "INSERT_FIRST", Yaml::Map(route))),
    ];
    if let Some(module) = module {
        let filter = extension("byname", wasm(&compiled.text, module, Capabilities::Unrestricted));
        patches.push(Yaml::commented(FILTER, patch("HTTP_FILTER", Some(in_chain(None)), "INSERT_FIRST", filter)));
    }
    let (mut added, mut problems) = (Vec::new(), InputErrors::default());
    let mut is_dynamic = false;
    let builder = ClusterBuilder::new(style);
    for (name, upstream) in &clusters.by_name {
        match upstream {
            // Istio has these clusters already.
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
    let spec = map! { "workloadSelector": placement.selector("labels"), "configPatches": patches };
    Ok(IstioObject::new(kind, COMMENT, compiled, placement, spec)?)
}

/// A change to the outbound side of the sidecars.
fn patch(apply_to: &'static str, listener: Option<Yaml>, operation: &'static str, value: Yaml) -> Yaml {
    map! {
        "applyTo": apply_to,
        "match": map! { "context": "SIDECAR_OUTBOUND", "listener": listener },
        "patch": map! { "operation": operation, "value": value },
    }
}

/// A match for the filter chains with HTTP, or for one of their HTTP filters.
fn in_chain(http_filter: Option<Yaml>) -> Yaml {
    let filter = map! { "name": "envoy.filters.network.http_connection_manager", "subFilter": http_filter };
    map! { "filterChain": map! { "filter": filter } }
}
