//! How a Service is reached from outside the cluster, or why it is not.

use k8s_openapi::{
    api::{
        core::v1::{ServicePort, ServiceSpec},
        networking::v1::{HTTPIngressPath, Ingress, IngressBackend},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{Cluster, NamespacedName, Sourced};

/// One way into the cluster.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Way {
    /// `NodePort`, `LoadBalancer`, `Ingress`, a kind of route, `externalIPs`, or the Service's own type.
    pub kind: String,
    /// What a client outside would use, where this way is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Why it is open, or closed.
    pub because: String,
}

/// The ways to the port called `port_name` of a Service.
pub(super) fn ways(cluster: &Cluster, name: Option<&NamespacedName>, port_name: Option<&str>) -> Vec<Way> {
    let Some((name, service)) = name.and_then(|name| cluster.services.get_key_value(name)) else { return Vec::new() };
    let nothing = ServiceSpec::default();
    let spec = service.object.spec.as_ref().unwrap_or(&nothing);
    let ports = spec.ports.iter().flatten();
    let port =
        ports.clone().find(|port| port_name.is_some_and(|wanted| port.name.as_deref().unwrap_or_default() == wanted));
    let mut ways = Vec::new();
    let service_type = spec.type_.as_deref().unwrap_or("ClusterIP");
    match (service_type, port) {
        ("NodePort" | "LoadBalancer", Some(port)) => {
            if service_type == "LoadBalancer" {
                ways.push(load_balancer(service, port));
            }
            ways.push(node_port(cluster, name, spec, port));
        }
        ("NodePort" | "LoadBalancer", None) => {}
        ("ExternalName", _) => ways.push(closed(service_type, "an alias has no port of its own: the target decides")),
        _ if spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).any(|address| address == "None") => {
            ways.push(closed("ClusterIP", "headless: its name means pods, whose addresses are the cluster's own"));
        }
        _ => ways.push(closed(
            "ClusterIP",
            "its address is the cluster's own; NodePort, LoadBalancer, an Ingress or a Gateway's route would open it",
        )),
    }
    for address in spec.external_ips.iter().flatten() {
        let because = "if the network brings this address to a node; externalIPs is deprecated (CVE-2020-8554)";
        let address = port.map(|port| joined(address, port.port));
        ways.push(Way { kind: "externalIPs".to_owned(), address, because: because.to_owned() });
    }
    ways.extend(ingresses(cluster, name, port));
    ways.extend(routes(cluster, name, port));
    ways
}

fn closed(kind: &str, because: &str) -> Way {
    Way { kind: kind.to_owned(), address: None, because: because.to_owned() }
}

/// `targetPort` as it is written; left out it is the port.
pub(super) fn target_port(port: &ServicePort) -> String {
    match &port.target_port {
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(name)) => name.clone(),
        None => port.port.to_string(),
    }
}

fn joined(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn load_balancer(service: &Sourced<k8s_openapi::api::core::v1::Service>, port: &ServicePort) -> Way {
    let status = service.object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = status.and_then(|balancer| balancer.ingress.as_ref()?.first());
    let address = given.and_then(|ingress| ingress.hostname.clone().or_else(|| ingress.ip.clone()));
    let because = match &address {
        Some(_) => "the cloud's load balancer has this address",
        None => "no load balancer has been given to it: status.loadBalancer is empty",
    };
    Way {
        kind: "LoadBalancer".to_owned(),
        address: address.map(|address| joined(&address, port.port)),
        because: because.to_owned(),
    }
}

fn node_port(cluster: &Cluster, name: &NamespacedName, spec: &ServiceSpec, port: &ServicePort) -> Way {
    let kind = "NodePort".to_owned();
    let Some(number) = port.node_port.filter(|number| *number != 0) else {
        let because =
            "no node port is given to it: allocateLoadBalancerNodePorts is false, or it is not in a cluster yet";
        return Way { kind, address: None, because: because.to_owned() };
    };
    let is_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let has_endpoint = |node: &str| {
        let endpoints = cluster.slices_of(name).flat_map(|(_, slice)| slice.object.endpoints.iter().flatten());
        let ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        };
        endpoints.filter(|endpoint| ready(endpoint)).any(|endpoint| endpoint.node_name.as_deref() == Some(node))
    };
    let nodes = cluster.nodes.iter().filter(|(node, _)| !is_local || has_endpoint(node));
    let addresses: Vec<String> = nodes
        .filter_map(|(_, node)| {
            let by_kind = |wanted: &str| node.object.addresses.iter().find(|(kind, _)| kind == wanted);
            let (_, address) = by_kind("ExternalIP").or_else(|| by_kind("InternalIP"))?;
            Some(joined(address, number))
        })
        .collect();
    let because = match (is_local, addresses.len()) {
        _ if !cluster.knows("Node") => format!("port {number} of every node; there are no nodes in the input"),
        (false, _) => "on every node".to_owned(),
        (true, 0) => format!("port {number}, and externalTrafficPolicy is Local: no node has a ready endpoint"),
        (true, open) => format!(
            "externalTrafficPolicy is Local: on the {open} of {} nodes that have a ready endpoint",
            cluster.nodes.len()
        ),
    };
    Way { kind, address: (!addresses.is_empty()).then(|| addresses.join(" ")), because }
}

fn ingresses(cluster: &Cluster, name: &NamespacedName, port: Option<&ServicePort>) -> Vec<Way> {
    let mut ways = Vec::new();
    let own = cluster.ingresses.range(NamespacedName::new(&name.namespace, "")..);
    for (ingress_name, ingress) in own.take_while(|(ingress, _)| ingress.namespace == name.namespace) {
        let spec = ingress.object.spec.clone().unwrap_or_default();
        let mut lead = |host: &str, path: Option<&HTTPIngressPath>, backend: &IngressBackend| {
            let Some(service) = backend.service.as_ref().filter(|service| service.name == name.name) else { return };
            let wanted = service.port.clone().unwrap_or_default();
            let leads_here = port.is_some_and(|port| {
                wanted.number == Some(port.port) || (wanted.name.is_some() && wanted.name == port.name)
            });
            let is_tls = spec.tls.iter().flatten().any(|tls| tls.hosts.iter().flatten().any(|other| other == host));
            let scheme = if is_tls { "https" } else { "http" };
            let path = path.and_then(|path| path.path.as_deref()).unwrap_or("/");
            let written = wanted.name.clone().or_else(|| wanted.number.map(|number| number.to_string()));
            let written = written.unwrap_or_else(|| "nothing".to_owned());
            ways.push(match leads_here {
                true => Way {
                    kind: "Ingress".to_owned(),
                    address: Some(format!("{scheme}://{host}{path}")),
                    because: format!("{ingress_name} leads here{}", address_of(ingress)),
                },
                false => closed(
                    "Ingress",
                    &format!("{ingress_name} leads to this Service's port {written}, not to this one"),
                ),
            });
        };
        if let Some(backend) = &spec.default_backend {
            lead("*", None, backend);
        }
        for rule in spec.rules.iter().flatten() {
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                lead(rule.host.as_deref().unwrap_or("*"), Some(path), &path.backend);
            }
        }
    }
    ways
}

fn address_of(ingress: &Sourced<Ingress>) -> String {
    let status = ingress.object.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let first = status.and_then(|ingress| ingress.first());
    match first.and_then(|ingress| ingress.hostname.as_ref().or(ingress.ip.as_ref())) {
        Some(address) => format!(", at {address}"),
        None => ", but no controller has given it an address".to_owned(),
    }
}

fn routes(cluster: &Cluster, name: &NamespacedName, port: Option<&ServicePort>) -> Vec<Way> {
    let mut ways = Vec::new();
    for (route_name, route) in &cluster.routes {
        for (_, backend) in &route.object.backends {
            let namespace = backend.namespace.as_ref().unwrap_or(&route_name.namespace);
            if !backend.is_service() || *namespace != name.namespace || backend.name != name.name {
                continue;
            }
            let called = format!("{} {}/{}", route.object.kind, route_name.namespace, route.object.name);
            let leads_here = port.is_some_and(|port| backend.port == Some(port.port));
            let hosts =
                if route.object.hostnames.is_empty() { "*".to_owned() } else { route.object.hostnames.join(" ") };
            ways.push(match leads_here {
                true => Way {
                    kind: route.object.kind.clone(),
                    address: Some(hosts),
                    because: format!("{called} leads here"),
                },
                false => closed(&route.object.kind, &format!("{called} leads to another port of this Service")),
            });
        }
    }
    ways
}
