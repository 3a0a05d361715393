//! Hints: facts that the reader of an explanation would look up next.

use std::net::IpAddr;

use byname_core::{
    Authority, Destination, EndpointLabel, Host, Missing, Plan, Reason, Route, Service, Trace,
    trace::{HopOutcome, Outcome, Step},
};

use super::{endpoints, requested_name::RequestedName};
use crate::{
    cluster_dns::is_called,
    compile::{Compiled, zone},
    kubernetes::{ClusterState, EndpointView, NamespacedName, ServicePortView, ServiceView, TargetPort},
};

/// Minimum Jaro-Winkler similarity, from 0 to 1, of a suggested name.
const LIKENESS: f64 = 0.8;
/// Number of suggested names.
const MAX_NAMED: usize = 3;

/// Hints for a request of `pod`, or of another caller, with this outcome. `service` is the Service that it reached, if any.
pub(super) fn hints(
    cluster: &ClusterState,
    compiled: &Compiled,
    pod: Option<&NamespacedName>,
    asked: &RequestedName,
    (reason, trace): (Reason, &Trace),
    service: Option<(&NamespacedName, &Service)>,
) -> Vec<String> {
    let mut hints = Vec::new();
    let namespace = compiled.config.caller.namespace();
    if !cluster.all_namespaces().contains(namespace) {
        hints.push(format!("the input has no objects in namespace {namespace}"));
    }
    match (reason, service) {
        (Reason::PortNotFound, Some((name, service))) => hints.extend(ports(cluster, name, service, asked, trace)),
        (Reason::NoEndpoints, Some((name, _))) if trace.steps.iter().any(Step::lacks_node) => {
            let fix = match pod {
                Some(pod) => format!("Pod {pod} is not scheduled yet"),
                None => "pass --pod, or set caller.node in the --config file".to_owned(),
            };
            hints.push(format!(
                "Service {name} is reached on the caller's node only (internalTrafficPolicy: Local); {fix}"
            ));
        }
        (Reason::NoEndpoints | Reason::NameNotFound, Some((name, _))) => {
            hints.extend(without_endpoints(cluster, asked, name));
        }
        (Reason::NameNotFound, None) => hints.extend(elsewhere(cluster, compiled, asked)),
        (Reason::IpLiteral, None) => hints.extend(address(cluster, asked)),
        (Reason::BadAuthority, _) => hints.push(like_address(cluster, namespace, asked).unwrap_or_else(|| {
            "a host header is a name, a whole IPv4 address or an IPv6 address in brackets, with or without a port; pass only the \
             host and port, such as payments.prod:8080"
                .to_owned()
        })),
        (Reason::AliasDenied, _) => hints.extend(what_allows(trace).map(str::to_owned)),
        _ => {}
    }
    let reached = service.filter(|(_, service)| !service.ports().is_empty() || service.cluster_ips().is_empty());
    let unread = reached.map(|(name, _)| name.clone()).or_else(|| of_unknown_endpoint(trace));
    if let Some(name) = unread
        && !cluster.knows_endpoints_of(&name)
        && !cluster.service(&name).is_some_and(|view| view.is_external_name())
    {
        hints.push(format!(
            "the input has no EndpointSlice of Service {name}, so its endpoints are unknown; add endpointslices of namespace {} \
             to kubectl get",
            name.namespace,
        ));
    }
    let several = service
        .and_then(|(name, _)| cluster.service(name))
        .and_then(|view| view.endpoints().find(|endpoint| endpoint.all_ips().nth(1).is_some()))
        .or_else(|| named_by_second_address(cluster, trace));
    if let Some(endpoint) = several {
        hints.push(format!(
            "endpoint {} has several addresses: DNS answers with each of them, and only the first one serves, as with kube-proxy",
            endpoint.address
        ));
    }
    hints.extend(left_out(compiled, trace));
    hints
}

/// Why a Service has no endpoint that can serve, and which Service of the same name has some.
pub(super) fn without_endpoints(
    cluster: &ClusterState,
    asked: &RequestedName,
    name: &NamespacedName,
) -> impl Iterator<Item = String> {
    endpoints::why_none(cluster, name).into_iter().chain(served_elsewhere(cluster, asked, name))
}

/// What Envoy lacks for the name of an endpoint without a hostname. Such clusters would be as many as there are endpoints.
pub(super) fn lacks_cluster(route: &Route<'_>, plan: &Plan) -> Option<String> {
    let Destination::Endpoint(service, EndpointLabel::Address(_)) = route.destination else { return None };
    let missing = plan.cluster().filter(|_| plan.endpoint().is_none())?;
    Some(format!(
        "compile and serve write no clusters for endpoints without a hostname, so Envoy answers 503 unless it has {missing}; call \
         Service {}/{}, steer by endpoint, or set hostname and subdomain in the pod",
        service.namespace(),
        service.name(),
    ))
}

/// The Service of a tried name of an endpoint, if its endpoints are not in the table.
fn of_unknown_endpoint(trace: &Trace) -> Option<NamespacedName> {
    trace.steps.iter().find_map(|step| match step {
        Step::Candidate { service: Some(service), outcome: Outcome::Missing(Missing::EndpointUnknown), .. } => {
            Some(NamespacedName::new(service.namespace(), service.name()))
        }
        _ => None,
    })
}

/// The endpoint that a tried name is for by an address that does not serve.
fn named_by_second_address<'c>(cluster: &'c ClusterState, trace: &Trace) -> Option<EndpointView<'c>> {
    trace.steps.iter().find_map(|step| {
        let Step::Candidate { name, service: Some(service), outcome: Outcome::Missing(Missing::Endpoint) } = step
        else {
            return None;
        };
        let label = name.split('.').next()?;
        let view = cluster.service(&NamespacedName::new(service.namespace(), service.name()))?;
        let is_meant = |endpoint: &EndpointView<'_>| {
            endpoint.is_ready && endpoint.all_ips().skip(1).any(|address| is_called(endpoint, address, label))
        };
        view.endpoints().find(is_meant)
    })
}

/// The form that works, where resolvers read the name of a Service as an IPv4 address, as inet_aton(3) does.
fn like_address(cluster: &ClusterState, namespace: &str, asked: &RequestedName) -> Option<String> {
    let host = asked.name.to_ascii_lowercase();
    if Authority::try_from(host.as_bytes()).is_ok() {
        return None;
    }
    let (name, namespace) = host.split_once('.').unwrap_or((&host, namespace));
    cluster.service(&NamespacedName::new(namespace, name))?;
    let forms = [format!("{name}.{namespace}"), format!("{name}.{namespace}.svc")];
    let form = forms.into_iter().find(|form| Authority::try_from(form.as_bytes()).is_ok())?;
    Some(format!(
        "resolvers read {host} as an IPv4 address, so it never reaches Service {namespace}/{name}; use {form}"
    ))
}

/// The setting that allows the target of a denied alias; `None` if no configuration can allow it.
fn what_allows(trace: &Trace) -> Option<&'static str> {
    let last = trace.steps.iter().rev().find_map(|step| match step {
        Step::Hop { outcome, .. } => Some(outcome),
        _ => None,
    });
    match last {
        Some(HopOutcome::AlwaysRefused) => None,
        Some(HopOutcome::NotGranted { .. }) => Some(
            "with externalNames.mode: listed, a target in another namespace needs a grant in externalNames.grants of the --config file",
        ),
        _ => Some("list the target with its port in externalNames.allow of the --config file"),
    }
}

/// The errors of left-out Services that the tried names refer to, and the number of other left-out Services.
fn left_out(compiled: &Compiled, trace: &Trace) -> Vec<String> {
    let is_meant = |name: &NamespacedName| {
        trace.tried_services().any(|tried| (tried.namespace(), tried.name()) == (&name.namespace, &name.name))
    };
    let (meant, others): (Vec<_>, Vec<_>) = compiled.left_out.iter().partition(|(name, _)| is_meant(name));
    let mut hints: Vec<String> =
        meant.iter().map(|(_, problem)| format!("left out because the filter would refuse it: {problem}")).collect();
    match others.len() {
        0 => {}
        1 => hints.push(
            "1 other Service is left out because the filter would refuse it; run byname compile to see it".to_owned(),
        ),
        many => hints.push(format!(
            "{many} other Services are left out because the filter would refuse them; run byname compile to see them"
        )),
    }
    hints
}

/// The Service's ports, and what the requested number is instead.
fn ports(
    cluster: &ClusterState,
    name: &NamespacedName,
    service: &Service,
    asked: &RequestedName,
    trace: &Trace,
) -> Vec<String> {
    let named = trace.steps.iter().find_map(|step| match step {
        Step::NamedPort { named, .. } => Some(*named),
        _ => None,
    });
    if let Some(named) = named {
        return vec![format!("the name is for port {named} of Service {name}; leave the port out, or use {named}")];
    }
    let ports = service.ports().iter().map(|port| match port.name() {
        "" => port.port().to_string(),
        called => format!("{} ({called})", port.port()),
    });
    let ports: Vec<String> = ports.collect();
    let is_of_pods = trace.steps.iter().any(|step| matches!(step, Step::PodPort { .. }));
    let mut hints = vec![match ports.as_slice() {
        [] if is_of_pods => format!("Service {name} has no TCP port"),
        [] => format!("Service {name} has no TCP port; the filter routes only to TCP ports of a Service"),
        [one] => format!("Service {name} has one TCP port: {one}"),
        many => format!("Service {name} has the TCP ports {}", many.join(", ")),
    }];
    let number = asked.port.as_deref().and_then(|port| port.parse::<i32>().ok());
    if is_of_pods {
        let number = number.unwrap_or_else(|| asked.scheme().default_port().into());
        // Nothing translates the ports of pod addresses, so neither the Service's port nor a nodePort replaces this one.
        hints.push(format!(
            "the name resolves to pod addresses, so port {number} of the pods answers where the request is passed on to the address \
             that the client connected to; to have the filter route it, set steering.by: endpoint for the Service, or list the port \
             in the Service"
        ));
    } else if let (Some(number), Some(view)) = (number, cluster.service(name)) {
        hints.extend(other_meaning(view, number));
    }
    hints
}

/// What `number` is, if it is a nodePort or a target port of a TCP port of the Service. The filter routes to no other ports.
fn other_meaning(view: ServiceView<'_>, number: i32) -> Option<String> {
    let ports = || view.ports().filter(ServicePortView::is_tcp);
    if let Some(port) = ports().find(|port| port.object.node_port == Some(number)) {
        return Some(format!(
            "{number} is the nodePort of the Service's port {}, open on nodes only; use that port with the Service's name",
            port.number
        ));
    }
    let leads_there = |port: &ServicePortView<'_>| {
        (port.object.target_port.is_some() && port.target() == TargetPort::Number(number))
            || view.slices().any(|slice| slice.port_of(port) == Some(number))
    };
    let port = ports().find(leads_there)?;
    Some(format!("{number} is the target port of the Service's port {}; use {}", port.number, port.number))
}

/// Services of that name in other namespaces, else Services with similar names.
fn elsewhere(cluster: &ClusterState, compiled: &Compiled, asked: &RequestedName) -> Vec<String> {
    let namespace = compiled.config.caller.namespace();
    let zone = zone(&compiled.wire.dns);
    let dns = &compiled.wire.dns;
    let mut searches = dns.searches.iter().flatten().chain(&dns.extra_searches);
    if dns.searches.is_some() && !searches.any(|search| search.ends_with(&zone)) {
        return vec![format!(
            "the pod's search list has no cluster domain, so only full names resolve; use {}.svc.{zone}",
            if asked.name.contains('.') { asked.name.clone() } else { format!("{}.{namespace}", asked.name) },
        )];
    }
    let services = || cluster.services.keys().filter(|name| !compiled.left_out.contains_key(name));
    let mut labels = asked.name.split('.');
    let first = labels.next().unwrap_or_default().to_ascii_lowercase();
    let named: Vec<&NamespacedName> = match labels.next() {
        None => services().filter(|name| name.name == first && name.namespace != namespace).take(MAX_NAMED).collect(),
        Some(_) => Vec::new(),
    };
    if !named.is_empty() {
        let there: Vec<String> = named.iter().map(|name| format!("{}.{}", name.name, name.namespace)).collect();
        return vec![format!("namespace {namespace} has no Service {first}; did you mean {}?", there.join(", "))];
    }
    let whole = asked.name.trim_end_matches('.').to_ascii_lowercase();
    let mut like: Vec<(f64, String)> = services()
        .map(|name| match name.namespace == namespace {
            true => name.name.clone(),
            false => format!("{}.{}", name.name, name.namespace),
        })
        .map(|name| (strsim::jaro_winkler(&whole, &name), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .collect();
    like.sort_by(|one, other| other.0.total_cmp(&one.0));
    let like: Vec<String> = like.into_iter().take(MAX_NAMED).map(|(_, name)| name).collect();
    if like.is_empty() { Vec::new() } else { vec![format!("similar names: {}", like.join(", "))] }
}

/// The Services in other namespaces that have the same short name, and endpoints: one of them may be meant.
fn served_elsewhere(cluster: &ClusterState, asked: &RequestedName, name: &NamespacedName) -> Option<String> {
    let others =
        cluster.service_views().filter(|view| view.name.name == name.name && view.name.namespace != name.namespace);
    let serving = others.filter(|view| view.endpoints().any(|endpoint| endpoint.may_serve()));
    let named: Vec<String> =
        serving.map(|view| format!("{}.{}", view.name.name, view.name.namespace)).take(MAX_NAMED).collect();
    let is_short = !asked.name.trim_end_matches('.').contains('.');
    (is_short && !named.is_empty()).then(|| {
        format!(
            "{} in another namespace has endpoints that can serve; request it by this name to reach it",
            named.join(" or ")
        )
    })
}

/// The pod or node that has the requested address, which is no cluster IP.
fn address(cluster: &ClusterState, asked: &RequestedName) -> Option<String> {
    let authority = asked.authority();
    let authority = Authority::try_from(authority.as_bytes()).ok()?;
    let Host::Ip(address) = authority.host() else { return None };
    let is_it = |text: &str| text.parse::<IpAddr>().is_ok_and(|other| other.to_canonical() == *address);
    if let Some((name, _)) = cluster.pods.iter().find(|(_, pod)| pod.object.ips.iter().any(|ip| is_it(ip))) {
        return Some(format!(
            "{address} is the address of pod {name}, which changes when the pod is replaced; use a Service's name"
        ));
    }
    let (node, _) = cluster.nodes.iter().find(|(_, node)| node.object.addresses.iter().any(|(_, ip)| is_it(ip)))?;
    let port = authority.port().map(i32::from)?;
    let behind = cluster.service_views().find_map(|view| {
        let port = view.ports().find(|own| own.object.node_port == Some(port))?;
        Some(format!("{}.{}:{}", view.name.name, view.name.namespace, port.number))
    });
    Some(match behind {
        Some(name) => {
            format!("{address} is the address of node {node}, and {port} is a nodePort; inside the cluster use {name}")
        }
        None => format!("{address} is the address of node {node}, and no Service has the nodePort {port}"),
    })
}
