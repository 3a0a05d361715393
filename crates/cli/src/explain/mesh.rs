//! Objects of a mesh that change what a name does. byname does not read their rules, so an explanation names them.

use super::requested_name::RequestedName;
use crate::kubernetes::{ClusterState, NamespacedName};

/// A note for each object that applies to the requested name, or to the Service that it reaches.
pub(super) fn notes(
    cluster: &ClusterState,
    domain: &str,
    asked: &RequestedName,
    service: Option<&NamespacedName>,
) -> Vec<String> {
    let host = match service {
        Some(service) => format!("{}.{}.svc.{domain}", service.name, service.namespace),
        None => asked.name.trim_end_matches('.').to_ascii_lowercase(),
    };
    let rules = cluster.mesh_rules.iter();
    let rules = rules.filter(|(name, rule)| rule.object.applies_to(&host, &name.namespace, domain));
    let of_istio = rules.map(|(name, rule)| {
        let what = match rule.object.kind.as_str() {
            "VirtualService" => "can route its requests elsewhere, rewrite them or answer them",
            "TrafficSplit" => "splits its requests between other Services",
            "ServiceProfile" => "sets its retries and timeouts",
            "DestinationRule" => "sets its load balancing, TLS and subsets",
            _ => "adds it to the mesh with addresses and ports of its own",
        };
        (&rule.object.kind, &name.namespace, &rule.object.name, &rule.place, what)
    });
    let routes = cluster.routes.iter().filter(|(name, route)| {
        route.object.parents.iter().any(|parent| {
            let namespace = parent.namespace.as_ref().unwrap_or(&name.namespace);
            let is_service = parent.kind.as_deref() == Some("Service");
            is_service && service.is_some_and(|own| (&own.namespace, &own.name) == (namespace, &parent.name))
        })
    });
    let of_gateway_api = routes.map(|(name, route)| {
        let what = "routes its requests inside the mesh to the backends of the route";
        (&route.object.kind, &name.namespace, &route.object.name, &route.place, what)
    });
    let notes = of_istio.chain(of_gateway_api).map(|(kind, namespace, name, place, what)| {
        format!("{kind} {namespace}/{name} ({place}) applies to {host}: in the mesh it {what}; byname does not read its rules")
    });
    notes.collect()
}
