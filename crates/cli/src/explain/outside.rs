//! How a Service is reached from outside the cluster, or why it is not.

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend};
use schemars::JsonSchema;
use serde::Serialize;

use crate::kubernetes::{
    ClusterState, EndpointView, NamespacedName, ServicePortView, ServiceView, Sourced, in_namespace, is_of_api,
};

/// Number of nodes whose addresses are listed.
const MAX_NODES_SHOWN: usize = 3;

/// One way into the cluster.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[schemars(rename = "Way")]
pub struct EntryPoint {
    /// `NodePort`, `LoadBalancer`, `Ingress`, a kind of route, `externalIPs`, or the Service's own type.
    pub kind: String,
    /// Address for clients outside the cluster; omitted if this way is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Why this way is open or closed.
    pub because: String,
}

/// The Service port to find from outside.
struct ExposedPort<'c> {
    cluster: &'c ClusterState,
    service: ServiceView<'c>,
    port: Option<ServicePortView<'c>>,
}

/// The ways from outside to the port named `port_name` of a Service.
pub(super) fn ways(cluster: &ClusterState, name: Option<&NamespacedName>, port_name: Option<&str>) -> Vec<EntryPoint> {
    let Some(service) = name.and_then(|name| cluster.service(name)) else { return Vec::new() };
    let port = service.ports().find(|port| port_name == Some(port.name));
    let wanted = ExposedPort { cluster, service, port };
    let mut ways = Vec::new();
    let service_type = service.type_word();
    match (service_type, wanted.port) {
        ("NodePort" | "LoadBalancer", Some(port)) => {
            if service_type == "LoadBalancer" {
                ways.push(load_balancer(service, &port));
            }
            ways.push(node_port(&wanted, &port));
        }
        ("NodePort" | "LoadBalancer", None) => {}
        ("ExternalName", _) => ways.push(closed(service_type, "an alias has no ports of its own; its target decides")),
        _ if service.is_headless() => {
            ways.push(closed("ClusterIP", "headless: its name resolves to pod IPs, which are reachable only inside the cluster"));
        }
        _ => ways.push(closed(
            "ClusterIP",
            "reachable only inside the cluster; to expose it use NodePort, LoadBalancer, an Ingress or a Gateway API route",
        )),
    }
    for address in service.spec.external_ips.iter().flatten() {
        let because = "works if the network routes this address to a node; externalIPs is deprecated (CVE-2020-8554)";
        let address = wanted.port.map(|port| joined(address, port.number));
        ways.push(EntryPoint { kind: "externalIPs".to_owned(), address, because: because.to_owned() });
    }
    ways.extend(ingresses(&wanted));
    ways.extend(routes(&wanted));
    if wanted.is_served() == Some(false) {
        for way in ways.iter_mut().filter(|way| way.address.is_some()) {
            way.address = None;
            way.because.push_str(", but no endpoint serves it");
        }
    }
    ways
}

impl ExposedPort<'_> {
    /// The endpoints that have the port.
    fn endpoints(&self) -> impl Iterator<Item = EndpointView<'_>> {
        let port = self.port;
        let slices = self.service.slices();
        let slices = slices.filter(move |slice| port.is_some_and(|port| slice.port_of(&port).is_some()));
        slices.flat_map(|slice| slice.endpoints())
    }

    /// Whether an endpoint can serve the port, on `node` only if given: a ready one, or one that serves while it terminates.
    fn serves(&self, node: Option<&str>) -> bool {
        let mut here = self.endpoints().filter(|one| node.is_none_or(|node| one.node() == Some(node)));
        here.any(|endpoint| endpoint.may_serve())
    }

    /// Whether an endpoint can serve the port; `None` if the endpoints are unknown.
    fn is_served(&self) -> Option<bool> {
        self.cluster.knows_endpoints_of(self.service.name).then(|| self.serves(None))
    }
}

fn closed(kind: &str, because: &str) -> EntryPoint {
    EntryPoint { kind: kind.to_owned(), address: None, because: because.to_owned() }
}

fn joined(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn load_balancer(service: ServiceView<'_>, port: &ServicePortView<'_>) -> EntryPoint {
    let status = service.source.object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = status.and_then(|balancer| balancer.ingress.as_ref()?.first());
    let address = given.and_then(|ingress| ingress.hostname.clone().or_else(|| ingress.ip.clone()));
    let because = match &address {
        Some(_) => "address of the load balancer",
        None if !service.is_of_api() => "a load balancer gets its address after the Service is created",
        None => "status.loadBalancer is empty: no load balancer is provisioned yet",
    };
    EntryPoint {
        kind: "LoadBalancer".to_owned(),
        address: address.map(|address| joined(&address, port.number)),
        because: because.to_owned(),
    }
}

fn node_port(wanted: &ExposedPort<'_>, port: &ServicePortView<'_>) -> EntryPoint {
    let kind = "NodePort".to_owned();
    let Some(number) = port.object.node_port.filter(|number| *number != 0) else {
        let may_have_none = wanted.service.spec.allocate_load_balancer_node_ports == Some(false);
        let because = match may_have_none {
            true => "no nodePort is allocated: allocateLoadBalancerNodePorts is false",
            false => "no nodePort is allocated: the Service is not in a cluster yet",
        };
        return EntryPoint { kind, address: None, because: because.to_owned() };
    };
    let ready = || wanted.cluster.nodes.iter().filter(|(_, node)| node.object.ready);
    let is_local = wanted.service.spec.external_traffic_policy.as_deref() == Some("Local");
    let open: Vec<_> = ready().filter(|(node, _)| !is_local || wanted.serves(Some(node))).collect();
    let mut addresses: Vec<String> = open
        .iter()
        .filter_map(|(_, node)| {
            let by_kind = |wanted: &str| node.object.addresses.iter().find(|(kind, _)| kind == wanted);
            let (_, address) = by_kind("ExternalIP").or_else(|| by_kind("InternalIP"))?;
            Some(joined(address, number))
        })
        .collect();
    let because = match (is_local, open.len(), ready().count()) {
        (_, _, 0) => format!("port {number} of every node; the input has no ready node"),
        (false, ..) if addresses.is_empty() => {
            format!("port {number} of every node; the input has no node addresses")
        }
        (false, _, all) => format!("on all {all} ready nodes"),
        (true, 0, _) => {
            format!("externalTrafficPolicy is Local, and no ready node has an endpoint that can serve port {number}")
        }
        (true, open, all) => {
            format!(
                "externalTrafficPolicy is Local: only on nodes with a serving endpoint, {open} of {all} ready nodes"
            )
        }
    };
    let more = addresses.len().saturating_sub(MAX_NODES_SHOWN);
    addresses.truncate(MAX_NODES_SHOWN);
    if more > 0 {
        addresses.push(format!("and {more} more"));
    }
    EntryPoint { kind, address: (!addresses.is_empty()).then(|| addresses.join(" ")), because }
}

fn ingresses(ExposedPort { cluster, service: ServiceView { name, .. }, port }: &ExposedPort<'_>) -> Vec<EntryPoint> {
    let mut ways = Vec::new();
    for (ingress_name, ingress) in in_namespace(&cluster.ingresses, &name.namespace) {
        let spec = ingress.object.spec.clone().unwrap_or_default();
        let mut lead = |host: &str, path: Option<&HTTPIngressPath>, backend: &IngressBackend| {
            let Some(service) = backend.service.as_ref().filter(|service| service.name == name.name) else { return };
            let wanted = service.port.clone().unwrap_or_default();
            // The API server takes an empty name for none.
            let wanted_name = wanted.name.filter(|name| !name.is_empty());
            let leads_here = port.is_some_and(|port| {
                wanted.number == Some(port.number) || wanted_name.as_deref().is_some_and(|name| name == port.name)
            });
            let is_tls = spec.tls.iter().flatten().any(|tls| covers(tls.hosts.as_deref().unwrap_or_default(), host));
            let scheme = if is_tls { "https" } else { "http" };
            let path = path.and_then(|path| path.path.as_deref()).unwrap_or("/");
            let written = wanted_name.or_else(|| wanted.number.map(|number| number.to_string()));
            let written = written.unwrap_or_else(|| "(none)".to_owned());
            ways.push(match leads_here {
                true => EntryPoint {
                    kind: "Ingress".to_owned(),
                    address: Some(format!("{scheme}://{host}{path}")),
                    because: format!("{ingress_name} routes here{}", address_of(ingress)),
                },
                false => closed(
                    "Ingress",
                    &format!("{ingress_name} routes to port {written} of this Service, not to this port"),
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

/// Whether a TLS entry with these hosts covers `host`; an entry without hosts covers all.
fn covers(hosts: &[String], host: &str) -> bool {
    let parent = host.split_once('.').map(|(_, parent)| parent);
    hosts.is_empty()
        || hosts.iter().any(|other| other == host || (parent.is_some() && other.strip_prefix("*.") == parent))
}

fn address_of(ingress: &Sourced<Ingress>) -> String {
    let status = ingress.object.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
    let first = status.and_then(|ingress| ingress.first());
    match first.and_then(|ingress| ingress.hostname.as_ref().or(ingress.ip.as_ref())) {
        Some(address) => format!(", at {address}"),
        // The status of a manifest says nothing about the cluster.
        None if !is_of_api(&ingress.object.metadata) => String::new(),
        None => ", but no controller has assigned an address".to_owned(),
    }
}

fn routes(ExposedPort { cluster, service, port }: &ExposedPort<'_>) -> Vec<EntryPoint> {
    let name = service.name;
    let mut ways = Vec::new();
    // A route whose parent is a Service applies to traffic inside the mesh only.
    let from_outside = cluster.routes.iter().filter(|(_, route)| {
        let parents = &route.object.parents;
        parents.is_empty() || parents.iter().any(|parent| parent.kind.as_deref() != Some("Service"))
    });
    for (route_name, route) in from_outside {
        let route = &route.object;
        for (_, backend) in &route.backends {
            let namespace = backend.namespace.as_ref().unwrap_or(&route_name.namespace);
            if !backend.is_service() || *namespace != name.namespace || backend.name != name.name {
                continue;
            }
            let called = format!("{} {}/{}", route.kind, route_name.namespace, route.name);
            if backend.weight == Some(0) {
                ways.push(closed(&route.kind, &format!("{called} gives this Service weight 0")));
                continue;
            }
            let leads_here = |port: &ServicePortView<'_>| match &backend.target_port {
                Some(wanted) => wanted.is_for(*service, port),
                None => backend.port == Some(port.number),
            };
            if !port.is_some_and(|port| leads_here(&port)) {
                ways.push(closed(&route.kind, &format!("{called} routes to another port of this Service")));
                continue;
            }
            let hosts = if route.hostnames.is_empty() { "*".to_owned() } else { route.hostnames.join(" ") };
            let grant = cluster.grant(&route.kind, &route_name.namespace, name);
            let grant = match (*namespace == route_name.namespace, grant) {
                (true, _) => String::new(),
                (false, Some(grant)) => format!(", permitted by ReferenceGrant {grant}"),
                (false, None) if cluster.lists_grants_of(namespace) => {
                    let because = format!("{called} refers here, and no ReferenceGrant in {namespace} permits it");
                    ways.push(closed(&route.kind, &because));
                    continue;
                }
                (false, None) => format!(", if a ReferenceGrant in {namespace} permits it"),
            };
            let because = format!("{called} routes here{grant}");
            ways.push(EntryPoint { kind: route.kind.clone(), address: Some(hosts), because });
        }
    }
    ways
}
