//! Ports of Services: their targets and their names.

use std::collections::BTreeSet;

use super::{
    backends::backend_services,
    context::{Context, LintedService, most_similar, names_no_container_port, shown},
    findings::Findings,
    patch::Patch,
    rule::{Rule, Severity},
};
use crate::kubernetes::{AppProtocol, ServicePortView, TargetPort, TransportProtocol, is_qualified_name};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN020",
        name: "target-port-name-missing",
        severity: Severity::Error,
        summary: "no container of the selected pods has a port with the targetPort's name and protocol",
        why: "the port has no endpoint, so every request to it fails",
        fix: "use the name or the number of a container port",
        needs: &["Pod or workload"],
        absence: None,
        check: target_port_name_missing,
    },
    Rule {
        id: "BN021",
        name: "target-port-not-listed",
        severity: Severity::Info,
        summary: "a targetPort is a number that no selected pod lists among its container ports",
        why: "containers may listen on ports that they do not list, so it may work, but often the number is a typo",
        fix: "list the port in the container, ideally with a name for the Service to use, or correct the number",
        needs: &["Pod or workload"],
        absence: None,
        check: target_port_not_listed,
    },
    Rule {
        id: "BN022",
        name: "tls-and-plaintext-to-one-port",
        severity: Severity::Info,
        summary: "a TLS port and a plaintext port route to the same targetPort",
        why: "few servers accept TLS and plaintext on one port; with any other, requests to one of the two ports fail",
        fix: "route the TLS port to a container port that speaks TLS, or remove it if TLS ends before the Service",
        needs: &[],
        absence: None,
        check: tls_and_clear_text,
    },
    Rule {
        id: "BN023",
        name: "tcp-protocol-over-udp",
        severity: Severity::Warning,
        summary: "a port is named after a protocol that runs over TCP only, but its protocol is not TCP",
        why: "clients connect over TCP, where nothing listens; the filter finds no TCP port of that name",
        fix: "set protocol: TCP, or rename the port",
        needs: &[],
        absence: None,
        check: tcp_over_udp,
    },
    Rule {
        id: "BN024",
        name: "unnamed-port",
        severity: Severity::Error,
        summary: "a Service has several ports, and one of the ports has no name",
        why: "EndpointSlices match ports by name, and the API server rejects such a Service",
        fix: "name every port",
        needs: &[],
        absence: None,
        check: unnamed_port,
    },
    Rule {
        id: "BN025",
        name: "unknown-app-protocol",
        severity: Severity::Warning,
        summary: "an appProtocol begins with kubernetes.io/, but Kubernetes does not define it",
        why: "the prefix is reserved for Kubernetes: proxies do not know the value and treat the port as TCP or HTTP/1",
        fix: "use kubernetes.io/h2c, kubernetes.io/ws or kubernetes.io/wss, or an IANA name such as https",
        needs: &[],
        absence: None,
        check: unknown_app_protocol,
    },
    Rule {
        id: "BN026",
        name: "headless-port-differs",
        severity: Severity::Warning,
        summary: "a port of a headless Service differs from the port of its pods",
        why: "a headless name resolves to the pods, and nothing translates ports, so only the pods' port answers",
        fix: "set port and targetPort to the same number",
        needs: &[],
        absence: None,
        check: headless_port_differs,
    },
];

fn target_port_name_missing(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        for port in service.view.ports().filter(|port| names_no_container_port(service, port)) {
            let TargetPort::Name(name) = port.target() else { continue };
            let number = name.parse::<u16>().map_or("", |_| "; write a port number without quotes");
            let protocol = port.protocol;
            let pods = service.selected();
            let message = format!("no container of {pods} has a {protocol} port named \"{name}\"{number}");
            let field = port.field().field("targetPort");
            let listed = service.pods.iter().flat_map(|one| &one.pod.container_ports);
            let listed: BTreeSet<&str> = listed
                .filter(|one| !one.name.is_empty() && one.protocol == protocol.as_str())
                .map(|one| &*one.name)
                .collect();
            let alone = listed.first().copied().filter(|_| listed.len() == 1);
            let meant = most_similar(name, listed.iter().copied()).or(alone);
            let patch = match name.parse::<u16>() {
                Ok(number) => Some(Patch::Set(field.clone(), number.into())),
                Err(_) => meant.map(|meant| Patch::Set(field.clone(), meant.into())),
            };
            findings.add(service.subject(), field, message).patch(patch);
        }
    }
}

fn target_port_not_listed(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let listed = || service.pods.iter().flat_map(|one| &one.pod.container_ports);
        // A pod that lists no port at all may listen on any.
        if service.pods.iter().any(|one| one.pod.container_ports.is_empty()) || service.pods.is_empty() {
            continue;
        }
        for port in service.view.ports() {
            let TargetPort::Number(number) = port.target() else { continue };
            let protocol = port.protocol;
            // BN080 reports a protocol that does not exist.
            if matches!(protocol, TransportProtocol::Unknown(_))
                || listed().any(|one| one.port == number && one.protocol == protocol.as_str())
            {
                continue;
            }
            let field = if port.object.target_port.is_some() { "targetPort" } else { "port" };
            let field = port.field().field(field);
            findings.add(
                service.subject(),
                field,
                format!("no container of {} lists {protocol} port {number}", service.selected()),
            );
        }
    }
}

fn tls_and_clear_text(context: &Context<'_>, findings: &mut Findings) {
    // A load balancer may terminate TLS and send plaintext to the pods.
    let is_judged =
        |service: &&LintedService<'_>| !service.view.is_external_name() && service.view.type_word() != "LoadBalancer";
    for service in context.services.iter().filter(is_judged) {
        for port in service.view.ports().filter(|port| port.app_protocol() == AppProtocol::Tls) {
            let target = port.target();
            let leads_there_too = |other: &ServicePortView<'_>| {
                other.target() == target
                    && other.protocol == port.protocol
                    && other.app_protocol().is_plaintext_over_tcp()
            };
            if let Some(other) = service.view.ports().find(leads_there_too) {
                let message = format!("ports {} and {} both route to {target}", shown(&port), shown(&other));
                findings.add(service.subject(), port.field(), message);
            }
        }
    }
}

fn tcp_over_udp(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        for port in service.view.ports() {
            let is_other = matches!(port.protocol, TransportProtocol::Udp | TransportProtocol::Sctp);
            if is_other && port.app_protocol().is_plaintext_over_tcp() && !names_udp(port.name) {
                let (word, protocol) = (port.protocol_word(), port.protocol);
                let message = format!("port {} is declared as {word} but uses {protocol}", shown(&port));
                let field = port.field().field("protocol");
                findings.add(service.subject(), field.clone(), message).patch(Patch::Set(field, "TCP".into()));
            }
        }
    }
}

/// Whether a port's name says that the port is meant for UDP, as the port of HTTP/3 beside that of HTTP.
fn names_udp(name: &str) -> bool {
    name.split('-').any(|word| ["udp", "quic", "h3", "http3"].contains(&word))
}

fn unnamed_port(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.ports().count() > 1) {
        for port in service.view.ports().filter(|port| port.name.is_empty()) {
            let message =
                format!("port {} is one of {} ports and has no name", shown(&port), service.view.ports().count());
            let name = format!("{}-{}", port.protocol.as_str().to_ascii_lowercase(), port.number);
            let patch = Patch::Set(port.field().field("name"), name.into());
            findings.add(service.subject(), port.field(), message).patch(patch);
        }
    }
}

fn unknown_app_protocol(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        for port in service.view.ports() {
            let Some(value) = port.object.app_protocol.as_deref() else { continue };
            let is_of_kubernetes = value.to_ascii_lowercase().starts_with("kubernetes.io/");
            // BN079 reports the others.
            if is_of_kubernetes && is_qualified_name(value) && port.app_protocol() == AppProtocol::Unknown {
                let message = format!("Kubernetes defines no appProtocol {value}");
                let field = port.field().field("appProtocol");
                let known = match value.to_ascii_lowercase().rsplit('/').next() {
                    Some("grpc" | "http2" | "h2") => Some("kubernetes.io/h2c"),
                    Some("http") => Some("http"),
                    Some("https" | "tls") => Some("https"),
                    Some("websocket") => Some("kubernetes.io/ws"),
                    _ => None,
                };
                let patch = match known {
                    Some(known) => Patch::Set(field.clone(), known.into()),
                    None => Patch::Remove(field.clone()),
                };
                findings.add(service.subject(), field, message).patch(patch);
            }
        }
    }
}

fn headless_port_differs(context: &Context<'_>, findings: &mut Findings) {
    let backends = backend_services(context);
    // A gateway connects to the endpoints, at their ports.
    let is_judged = |service: &&LintedService<'_>| service.view.is_headless() && !backends.contains(service.name);
    for service in context.services.iter().filter(is_judged) {
        for port in service.view.ports() {
            let mut numbers: Vec<i32> = service.view.slices().filter_map(|slice| slice.port_of(&port)).collect();
            match port.target() {
                _ if !numbers.is_empty() => {}
                TargetPort::Number(number) => numbers.push(number),
                TargetPort::Name(name) => {
                    let listed = service.pods.iter().flat_map(|one| &one.pod.container_ports);
                    let named = listed.filter(|one| one.name == name && one.protocol == port.protocol.as_str());
                    numbers.extend(named.map(|one| one.port));
                }
            }
            if let Some(number) = numbers.iter().find(|number| **number != port.number) {
                let message = format!("port {} is port {number} on the pods", shown(&port));
                let field = port.field().field("port");
                findings.add(service.subject(), field.clone(), message).patch(Patch::Set(field, (*number).into()));
            }
        }
    }
}
