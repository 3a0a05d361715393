//! How a name resolves for a caller, and why: every step, as data.

mod endpoints;
mod explanation;
mod hints;
mod mesh;
mod outside;
mod requested_name;
mod server_key;
mod step;
mod text;
mod typed_name;
mod uri_scheme;

use std::{collections::BTreeSet, net::SocketAddr};

use byname_core::{Balance, Chooser, Destination, FakeEnv, Plan, Reason, Request, Resolution, Trace};

use self::endpoints::{EndpointPort, EndpointQuery};
pub use self::{
    endpoints::ExplainedEndpoint,
    explanation::{ExplainedCaller, ExplainedDestination, ExplainedUpstream, Explanation, ResolutionKind},
    outside::EntryPoint,
    requested_name::RequestedName,
    step::ExplainedStep,
    text::{TextLayout, text},
    typed_name::TypedName,
};
pub use crate::cluster_dns::{DnsAnswer, DnsQuery};
use crate::{
    caller::CallerSettings,
    cluster_dns::ClusterDns,
    compile::{Compiled, zone},
    kubernetes::{ClusterState, NamespacedName},
};

/// Explains how the typed name resolves for `caller`.
#[must_use]
pub fn explain(
    cluster: &ClusterState,
    caller: &CallerSettings,
    pod: Option<&NamespacedName>,
    compiled: &Compiled,
    typed: TypedName,
) -> Explanation {
    let TypedName { requested: asked, mut notes } = typed;
    let config = &compiled.config;
    let zone = zone(&compiled.wire.dns);
    let authority = asked.authority();
    let request = Request { destination_port: asked.destination_port, ..Request::new(&authority, asked.scheme()) };
    let (mut balance, mut env, mut plan) = (Balance::default(), FakeEnv::default(), Plan::default());
    let mut chooser = Chooser { balance: &mut balance, env: &mut env };
    let mut trace = Trace::new(config.table.version());
    let resolution = config.resolve(request, Some(&mut trace));
    let keys = match &compiled.wire.server {
        Some(_) => server_key::rounds(&compiled.wire, request, &trace),
        None => Vec::new(),
    };
    config.plan(&resolution, request, &mut chooser, &mut plan, Some(&mut trace));
    let route = match &resolution {
        Resolution::Route(route) => Some(route),
        Resolution::Pass(_) | Resolution::Refuse(_) => None,
    };
    let service = match route {
        Some(route) => route.destination.service(),
        // The steps record which Service the search reached.
        None => step::service(&trace, config),
    };
    let named = service.map(|service| NamespacedName::new(service.namespace(), service.name()));
    let port_name = match route {
        Some(route) => (!route.is_pod_port).then_some(route.port_name),
        // The core reports a headless Service without ready endpoints before it looks at the ports.
        None => step::port_name(&trace).or_else(|| match resolution.reason() {
            Reason::NameNotFound => Some(service?.ports().first()?.name()),
            _ => None,
        }),
    };
    let pod_port = route.filter(|route| route.is_pod_port).map(|route| EndpointPort::OfPods(route.port));
    let endpoints = match (&named, service, pod_port.or(port_name.map(EndpointPort::Named))) {
        (Some(name), Some(service), Some(port)) if cluster.knows_endpoints_of(name) => {
            let single_machine = compiled.wire.table.single_machine;
            let label = route.and_then(|route| match route.destination {
                Destination::Endpoint(_, label) => Some(label.to_string()),
                _ => None,
            });
            let routed = route.and_then(byname_core::Route::endpoints);
            let asked = EndpointQuery { service, port, label, routed, caller, single_machine };
            cluster.service(name).map(|view| endpoints::of(view, &asked))
        }
        _ => None,
    };
    notes.extend(caller.notes.iter().cloned());
    notes.extend(hints::hints(
        cluster,
        compiled,
        pod,
        &asked,
        (resolution.reason(), &trace),
        named.as_ref().zip(service),
    ));
    notes.extend(route.and_then(|route| hints::lacks_cluster(route, &plan)));
    notes.extend(mesh::notes(cluster, &zone, &asked, named.as_ref()));
    let observed = config.observed_percent(&resolution, request);
    let status = match &resolution {
        Resolution::Refuse(refusal) => Some(config.local_reply(request, *refusal).status),
        Resolution::Route(_) | Resolution::Pass(_) => None,
    };
    Explanation {
        reachable: route.is_some(),
        resolution: match resolution {
            Resolution::Route(_) => ResolutionKind::Route,
            Resolution::Pass(_) => ResolutionKind::Pass,
            Resolution::Refuse(_) => ResolutionKind::Refuse,
        },
        observed_percent: (observed > 0).then_some(observed),
        reason: resolution.reason().to_string(),
        status,
        destination: target(&resolution, cluster, &zone),
        upstream: (route.is_some() || plan.authority().is_some()).then(|| ExplainedUpstream {
            cluster: plan.cluster().map(str::to_owned),
            endpoint: plan.endpoint().map(str::to_owned),
            authority: plan.authority().map(str::to_owned),
        }),
        steps: step::steps(&trace, &keys, port_name.unwrap_or_default(), endpoints.as_deref().unwrap_or_default()),
        endpoints,
        dns: ClusterDns::new(cluster, &zone).queries(config, &authority),
        outside: outside::ways(cluster, named.as_ref(), port_name),
        notes,
        table_version: trace.table_version,
        caller: who(caller, pod, config),
        asked,
    }
}

/// Says that Envoy, which runs, has no endpoint for the explained request, and why by the objects of the cluster.
pub fn lack_endpoints(explanation: &mut Explanation, cluster: &ClusterState) {
    explanation.reachable = false;
    let service = explanation.destination.as_ref().and_then(|destination| destination.service.as_deref());
    if let Some((namespace, name)) = service.and_then(|service| service.split_once('/')) {
        let name = NamespacedName::new(namespace, name);
        explanation.notes.extend(hints::without_endpoints(cluster, &explanation.asked, &name));
    }
}

/// The endpoints that a request for this name may go to; `None` if it is not routed, or they are unknown.
#[must_use]
pub fn endpoints_of(config: &byname_core::Config, requested: &RequestedName) -> Option<BTreeSet<SocketAddr>> {
    let authority = requested.authority();
    let request =
        Request { destination_port: requested.destination_port, ..Request::new(&authority, requested.scheme()) };
    match config.resolve(request, None) {
        Resolution::Route(route) => route.endpoints().map(|endpoints| endpoints.into_iter().collect()),
        Resolution::Pass(_) | Resolution::Refuse(_) => None,
    }
}

fn who(caller: &CallerSettings, pod: Option<&NamespacedName>, config: &byname_core::Config) -> ExplainedCaller {
    let namespace = config.caller.namespace().to_owned();
    let zone = zone(&caller.dns);
    let defaults = || vec![format!("{namespace}.svc.{zone}"), format!("svc.{zone}"), zone.clone()];
    let mut searches = caller.dns.searches.clone().unwrap_or_else(defaults);
    searches.extend(caller.dns.extra_searches.iter().cloned());
    ExplainedCaller {
        pod: pod.map(NamespacedName::to_string),
        zone: caller.who.zone.clone(),
        node: caller.who.node.clone(),
        ndots: caller.dns.ndots,
        namespace,
        searches,
    }
}

fn target(resolution: &Resolution<'_>, cluster: &ClusterState, zone: &str) -> Option<ExplainedDestination> {
    let Resolution::Route(route) = resolution else { return None };
    let mut host = String::new();
    route.destination.write_host(zone, &mut host);
    let service = route.destination.service();
    let name = service.map(|service| NamespacedName::new(service.namespace(), service.name()));
    let view = name.as_ref().and_then(|name| cluster.service(name));
    let port = view.and_then(|view| view.ports().find(|port| port.is_tcp() && port.number == i32::from(route.port)));
    let kind = match route.destination {
        Destination::Service(_) => "service",
        Destination::Endpoint(..) => "endpoint",
        Destination::Pod(_) => "pod",
        Destination::External(_) => "external",
    };
    Some(ExplainedDestination {
        kind: kind.to_owned(),
        host,
        port: route.port,
        port_name: route.port_name.to_owned(),
        service: name.map(|name| name.to_string()),
        target_port: port.map(|port| port.target().to_string()),
        tls: route.tls,
        at: view.map(|view| view.source.place.to_string()),
    })
}
