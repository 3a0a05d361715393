//! Access to Services from outside: addresses, node ports, load balancers and traffic policies.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    api::{PORTS, external_ip},
    context::{Context, LintedService},
    findings::Findings,
    patch::Patch,
    rule::{Rule, Severity},
};
use crate::{input::Field, kubernetes::NamespacedName, output::some};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN050",
        name: "node-port-out-of-range",
        severity: Severity::Warning,
        summary: "a nodePort is outside 30000 to 32767",
        why: "an API server with the default range rejects the port; a lower one may clash with the node's own ports",
        fix: "use a port in the range, or omit nodePort to have one allocated",
        needs: &[],
        absence: None,
        check: node_port_out_of_range,
    },
    Rule {
        id: "BN051",
        name: "node-port-twice",
        severity: Severity::Error,
        summary: "two Services have the same nodePort",
        why: "a node port belongs to one Service, for every protocol: an API server refuses the Service that comes second",
        fix: "omit the nodePort of one Service to have another port allocated",
        needs: &[],
        absence: None,
        check: node_port_twice,
    },
    Rule {
        id: "BN052",
        name: "node-port-local-without-endpoint",
        severity: Severity::Warning,
        summary: "some nodes have no endpoint of a NodePort Service with externalTrafficPolicy: Local",
        why: "these nodes drop requests to the port, and no load balancer learns to avoid them",
        fix: "run a pod on every node that clients use, send clients to nodes with a pod, or use policy Cluster",
        needs: &["EndpointSlice", "Node"],
        absence: None,
        check: node_port_local,
    },
    Rule {
        id: "BN053",
        name: "local-policy-endpoint-without-node",
        severity: Severity::Warning,
        summary: "a Service with a Local traffic policy has an endpoint without a nodeName",
        why: "the endpoint is local to no node, so a Local policy never chooses it",
        fix: "set the nodeName of the endpoint, or use policy Cluster",
        needs: &[],
        absence: None,
        check: local_without_node,
    },
    Rule {
        id: "BN054",
        name: "internal-local-without-endpoint",
        severity: Severity::Info,
        summary: "some nodes with pods have no endpoint of a Service with internalTrafficPolicy: Local",
        why: "requests from pods on these nodes fail, because endpoints on other nodes are never used",
        fix: "run an endpoint on every node with clients, for example as a DaemonSet, or use policy Cluster",
        needs: &["EndpointSlice", "Node", "Pod"],
        absence: None,
        check: internal_local,
    },
    Rule {
        id: "BN055",
        name: "load-balancer-pending",
        severity: Severity::Warning,
        summary: "a Service of type LoadBalancer has no load balancer address",
        why: "clients outside the cluster cannot reach the Service: no load balancer controller runs, or it failed",
        fix: "check the events of the Service; without a load balancer controller use NodePort or a gateway",
        needs: &[],
        absence: Some("Service"),
        check: load_balancer_pending,
    },
    Rule {
        id: "BN056",
        name: "external-ips",
        severity: Severity::Warning,
        summary: "a Service has externalIPs",
        why: "the Service's author can take over traffic to any address (CVE-2020-8554); externalIPs is deprecated",
        fix: "use type LoadBalancer or a gateway",
        needs: &[],
        absence: None,
        check: external_ips,
    },
    Rule {
        id: "BN057",
        name: "cluster-ip-twice",
        severity: Severity::Error,
        summary: "two Services have the same cluster IP",
        why: "one Service gets the traffic of both, and the filter rejects the table",
        fix: "recreate one Service without clusterIP to have another address allocated",
        needs: &[],
        absence: None,
        check: cluster_ip_twice,
    },
    Rule {
        id: "BN058",
        name: "load-balancer-local-without-endpoint",
        severity: Severity::Info,
        summary: "some nodes have no endpoint of a LoadBalancer Service with externalTrafficPolicy: Local",
        why: "a load balancer that checks healthCheckNodePort avoids these nodes; any other loses requests there",
        fix: "have the load balancer check healthCheckNodePort, run a pod on every node, or use policy Cluster",
        needs: &["EndpointSlice", "Node"],
        absence: None,
        check: load_balancer_local,
    },
];

const NODE_PORTS: std::ops::RangeInclusive<i32> = 30000..=32767;

/// Node ports of a Service, each with its field and protocol. An ExternalName Service gets none, whatever its fields say.
fn node_ports<'c>(service: &LintedService<'c>) -> impl Iterator<Item = (Field, i32, &'c str)> {
    let is_alias = service.view.is_external_name();
    let ports = service.view.ports().filter(move |_| !is_alias).filter_map(|port| {
        let number = port.object.node_port.filter(|number| *number != 0)?;
        Some((port.field().field("nodePort"), number, port.protocol.as_str()))
    });
    let health = service.view.spec.health_check_node_port.filter(|number| *number != 0 && !is_alias);
    ports.chain(health.map(|number| (["spec", "healthCheckNodePort"].into(), number, "TCP")))
}

fn node_port_out_of_range(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        // BN079 reports numbers that are no ports.
        let is_unusual = |number: &i32| PORTS.contains(number) && !NODE_PORTS.contains(number);
        for (field, number, _) in node_ports(service).filter(|(_, number, _)| is_unusual(number)) {
            let message = format!("{number} is outside 30000 to 32767");
            findings.add(service.subject(), field.clone(), message).patch(Patch::Remove(field));
        }
    }
}

fn node_port_twice(context: &Context<'_>, findings: &mut Findings) {
    // API servers allocate numbers, without protocols.
    let mut first: BTreeMap<i32, (&NamespacedName, &str)> = BTreeMap::new();
    for service in &context.services {
        for (field, number, protocol) in node_ports(service) {
            let (first, protocol) = *first.entry(number).or_insert((service.name, protocol));
            if first != service.name {
                let message = format!("Service {first} has node port {number} ({protocol}) too");
                findings.add(service.subject(), field.clone(), message).patch(Patch::Remove(field));
            }
        }
    }
}

/// The patch that makes endpoints on all nodes count.
fn cluster_policy(field: &str) -> Patch {
    Patch::Set(["spec", field].into(), "Cluster".into())
}

/// Ready nodes without a serving endpoint.
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
            findings
                .add(service.subject(), ["spec", "externalTrafficPolicy"], message)
                .patch(cluster_policy("externalTrafficPolicy"));
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
            let message = format!("endpoints without a nodeName: {}", some(addresses));
            findings.add(service.subject(), ["spec", field], message).patch(cluster_policy(field));
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
            findings
                .add(service.subject(), ["spec", "internalTrafficPolicy"], message)
                .patch(cluster_policy("internalTrafficPolicy"));
        }
    }
}

fn load_balancer_pending(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.type_word() == "LoadBalancer") {
        // kubectl may have written an empty status into a manifest.
        if !service.view.is_of_api() {
            continue;
        }
        let Some(status) = &service.view.source.object.status else { continue };
        let ingress = status.load_balancer.as_ref().and_then(|balancer| balancer.ingress.as_ref());
        if ingress.is_none_or(Vec::is_empty) {
            findings.add(service.subject(), ["status", "loadBalancer"], "status.loadBalancer.ingress has no address");
        }
    }
}

fn external_ips(context: &Context<'_>, findings: &mut Findings) {
    // kube-proxy skips the others.
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        // BN079 reports the others.
        let addresses =
            service.view.spec.external_ips.iter().flatten().filter(|address| external_ip(address).is_none());
        let addresses: Vec<&String> = addresses.collect();
        if !addresses.is_empty() {
            let message = format!("the Service takes over traffic to {}", some(addresses));
            let field = Field::from(["spec", "externalIPs"]);
            findings.add(service.subject(), field.clone(), message).patch(Patch::Remove(field));
        }
    }
}

fn cluster_ip_twice(context: &Context<'_>, findings: &mut Findings) {
    // An address has several spellings, and the filter compares what they stand for.
    let mut first: BTreeMap<IpAddr, &NamespacedName> = BTreeMap::new();
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        for (index, ip) in service.view.cluster_ips().enumerate() {
            let Ok(address) = ip.parse::<IpAddr>() else { continue };
            let field = match (index, &service.view.spec.cluster_ip) {
                (0, Some(_)) => Field::from(["spec", "clusterIP"]),
                _ => Field::from(["spec", "clusterIPs"]).item(index),
            };
            let first = *first.entry(address.to_canonical()).or_insert(service.name);
            if first != service.name {
                findings.add(service.subject(), field, format!("Service {first} has cluster IP {ip} too"));
            }
        }
    }
}
