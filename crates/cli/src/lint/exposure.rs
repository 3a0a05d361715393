//! How Services are reached from elsewhere: addresses, node ports, load balancers, and from which nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, LintedService, some},
    findings::Findings,
    rule::{Rule, Severity},
};
use crate::kubernetes::NamespacedName;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN050",
        name: "node-port-out-of-range",
        severity: Severity::Warning,
        summary: "a nodePort is outside 30000 to 32767",
        why: "an API server with the default range refuses it, and below it may be a port of the node itself",
        fix: "take a port of the range, or leave it out and have one allocated",
        needs: &[],
        check: node_port_out_of_range,
    },
    Rule {
        id: "BN051",
        name: "node-port-twice",
        severity: Severity::Error,
        summary: "two Services have the same nodePort with the same protocol",
        why: "a node's port leads to one Service: which of them it is depends on the order of their making",
        fix: "leave the nodePort of one of them out, and have another allocated",
        needs: &[],
        check: node_port_twice,
    },
    Rule {
        id: "BN052",
        name: "node-port-local-without-endpoint",
        severity: Severity::Warning,
        summary: "a NodePort Service with externalTrafficPolicy: Local has nodes without an endpoint",
        why: "these nodes drop what comes to the port, and no load balancer is told to leave them out",
        fix: "run a pod on every node that clients use, name only nodes that have one, or use the policy Cluster",
        needs: &["EndpointSlice", "Node"],
        check: node_port_local,
    },
    Rule {
        id: "BN053",
        name: "local-policy-endpoint-without-node",
        severity: Severity::Warning,
        summary: "a Service with a Local traffic policy has an endpoint without a nodeName",
        why: "the endpoint is local to no node, so it is never chosen",
        fix: "write the nodeName of the endpoint, or use the policy Cluster",
        needs: &[],
        check: local_without_node,
    },
    Rule {
        id: "BN054",
        name: "internal-local-without-endpoint",
        severity: Severity::Info,
        summary: "a Service with internalTrafficPolicy: Local has no endpoint on nodes that have pods",
        why: "pods there that ask for it get no answer, as endpoints of other nodes are never used",
        fix: "run one of its pods on every node whose pods ask for it, as a DaemonSet does, or use the policy Cluster",
        needs: &["EndpointSlice", "Node", "Pod"],
        check: internal_local,
    },
    Rule {
        id: "BN055",
        name: "load-balancer-pending",
        severity: Severity::Warning,
        summary: "a Service of type LoadBalancer has no address from a load balancer",
        why: "nothing outside reaches it: no controller has taken it up, or it failed",
        fix: "look at the events of the Service; without a load balancer's controller use NodePort or a gateway",
        needs: &[],
        check: load_balancer_pending,
    },
    Rule {
        id: "BN056",
        name: "external-ips",
        severity: Severity::Warning,
        summary: "a Service has externalIPs",
        why: "whoever writes them takes others' traffic to any address (CVE-2020-8554); they are deprecated",
        fix: "use type LoadBalancer or a gateway",
        needs: &[],
        check: external_ips,
    },
    Rule {
        id: "BN057",
        name: "cluster-ip-twice",
        severity: Severity::Error,
        summary: "two Services have the same cluster IP",
        why: "one of them gets the traffic of both; the filter refuses a table with it",
        fix: "make one of them anew without clusterIP, and have one allocated",
        needs: &[],
        check: cluster_ip_twice,
    },
    Rule {
        id: "BN058",
        name: "load-balancer-local-without-endpoint",
        severity: Severity::Info,
        summary: "a LoadBalancer Service with externalTrafficPolicy: Local has nodes without an endpoint",
        why: "a load balancer that asks healthCheckNodePort leaves them out, so the others carry all; one that does not loses requests",
        fix: "see that the load balancer asks healthCheckNodePort, run a pod on every node, or use the policy Cluster",
        needs: &["EndpointSlice", "Node"],
        check: load_balancer_local,
    },
];

const NODE_PORTS: std::ops::RangeInclusive<i32> = 30000..=32767;

/// Node ports of a Service, each with its field and protocol.
fn node_ports<'c>(service: &LintedService<'c>) -> impl Iterator<Item = (String, i32, &'c str)> {
    let ports = service.view.ports().filter_map(|port| {
        let number = port.object.node_port.filter(|number| *number != 0)?;
        Some((format!("{}.nodePort", port.field()), number, port.protocol.as_str()))
    });
    let health = service.view.spec.health_check_node_port.filter(|number| *number != 0);
    ports.chain(health.map(|number| ("spec.healthCheckNodePort".to_owned(), number, "TCP")))
}

fn node_port_out_of_range(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        for (field, number, _) in node_ports(service).filter(|(_, number, _)| !NODE_PORTS.contains(number)) {
            findings.add(service.subject(), field, format!("{number} is outside 30000 to 32767"));
        }
    }
}

fn node_port_twice(context: &Context<'_>, findings: &mut Findings) {
    let mut first: BTreeMap<(i32, &str), &NamespacedName> = BTreeMap::new();
    for service in &context.services {
        for (field, number, protocol) in node_ports(service) {
            let first = *first.entry((number, protocol)).or_insert(service.name);
            if first != service.name {
                let message = format!("{number} ({protocol}) is that of Service {first} too");
                findings.add(service.subject(), field, message);
            }
        }
    }
}

/// Nodes that are ready and have none of the endpoints that serve.
fn nodes_without<'c>(service: &LintedService<'c>, context: &Context<'c>) -> Vec<&'c str> {
    let ready = context.cluster.nodes.iter().filter(|(_, node)| node.object.ready);
    let serving = service.serving_nodes();
    ready.map(|(name, _)| name.as_str()).filter(|name| !serving.contains(name)).collect()
}

fn node_port_local(context: &Context<'_>, findings: &mut Findings) {
    external_local(context, findings, "NodePort");
}

fn load_balancer_local(context: &Context<'_>, findings: &mut Findings) {
    external_local(context, findings, "LoadBalancer");
}

fn external_local(context: &Context<'_>, findings: &mut Findings, service_type: &str) {
    for service in
        context.services.iter().filter(|service| service.view.type_word() == service_type && service.serves())
    {
        if service.view.spec.external_traffic_policy.as_deref() != Some("Local") {
            continue;
        }
        let without = nodes_without(service, context);
        if !without.is_empty() {
            let message = format!("no endpoint on {}", some(without));
            findings.add(service.subject(), "spec.externalTrafficPolicy", message);
        }
    }
}

fn local_without_node(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        let is_local = |policy: &Option<String>| policy.as_deref() == Some("Local");
        let field = if is_local(&service.view.spec.internal_traffic_policy) {
            "internalTrafficPolicy"
        } else if is_local(&service.view.spec.external_traffic_policy) {
            "externalTrafficPolicy"
        } else {
            continue;
        };
        let without = service.endpoints.iter().filter(|endpoint| endpoint.node().is_none());
        let addresses: Vec<&str> = without.map(|endpoint| endpoint.address).collect();
        if !addresses.is_empty() {
            let message = format!("without a nodeName: {}", some(addresses));
            findings.add(service.subject(), format!("spec.{field}"), message);
        }
    }
}

fn internal_local(context: &Context<'_>, findings: &mut Findings) {
    let pods = context.cluster.pods.values().filter(|pod| !pod.object.is_over() && !pod.object.host_network);
    let with_pods: BTreeSet<&str> = pods.filter_map(|pod| pod.object.node.as_deref()).collect();
    for service in context.services.iter().filter(|service| service.view.is_virtual() && service.serves()) {
        if service.view.spec.internal_traffic_policy.as_deref() != Some("Local") {
            continue;
        }
        let mut without = nodes_without(service, context);
        without.retain(|node| with_pods.contains(node));
        if !without.is_empty() {
            let message = format!("no endpoint on {}", some(without));
            findings.add(service.subject(), "spec.internalTrafficPolicy", message);
        }
    }
}

fn load_balancer_pending(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.type_word() == "LoadBalancer") {
        // What was never in a cluster has no uid; kubectl writes an empty status all the same.
        if service.view.source.object.metadata.uid.is_none() {
            continue;
        }
        let Some(status) = &service.view.source.object.status else { continue };
        let ingress = status.load_balancer.as_ref().and_then(|balancer| balancer.ingress.as_ref());
        if ingress.is_none_or(Vec::is_empty) {
            findings.add(service.subject(), "status.loadBalancer", "no address is in status.loadBalancer.ingress");
        }
    }
}

fn external_ips(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        let addresses = service.view.spec.external_ips.as_deref().unwrap_or_default();
        if !addresses.is_empty() {
            let message = format!("it takes what is sent to {}", some(addresses));
            findings.add(service.subject(), "spec.externalIPs", message);
        }
    }
}

fn cluster_ip_twice(context: &Context<'_>, findings: &mut Findings) {
    let mut first: BTreeMap<&str, &NamespacedName> = BTreeMap::new();
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        for (index, ip) in service.view.cluster_ips().enumerate() {
            let field = match (index, &service.view.spec.cluster_ip) {
                (0, Some(_)) => "spec.clusterIP".to_owned(),
                _ => format!("spec.clusterIPs[{index}]"),
            };
            let first = *first.entry(ip).or_insert(service.name);
            if first != service.name {
                findings.add(service.subject(), field, format!("{ip} is that of Service {first} too"));
            }
        }
    }
}
