//! Ports of Services: where they lead, and what they are called.

use k8s_openapi::{api::core::v1::ServicePort, apimachinery::pkg::util::intstr::IntOrString};

use super::{
    context::{Context, ServiceForm, View, joined, names_no_container_port, protocol, shown, target},
    findings::Findings,
    rule::{Rule, Severity},
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN020",
        name: "target-port-name-missing",
        severity: Severity::Error,
        summary: "a targetPort is a name that no container of the selected pods gives to a port of that protocol",
        why: "the port has no endpoint, so every request to it fails",
        fix: "write the name that the containers give to the port, or its number",
        needs: &["Pod"],
        check: target_port_name_missing,
    },
    Rule {
        id: "BN021",
        name: "target-port-not-listed",
        severity: Severity::Info,
        summary: "a targetPort is a number that the selected pods do not list among their ports",
        why: "containers may listen on ports that they do not list, so it may work; more often it is a typing error",
        fix: "list the port in the container, best with a name that the Service then uses, or mend the number",
        needs: &["Pod"],
        check: target_port_not_listed,
    },
    Rule {
        id: "BN022",
        name: "tls-and-clear-text-to-one-port",
        severity: Severity::Warning,
        summary: "a port for TLS and one for clear text lead to the same targetPort",
        why: "hardly any server takes both on one port; who believes the port's name speaks what is not understood",
        fix: "lead the TLS port to the port that speaks TLS, or take it out where TLS ends before the Service",
        needs: &[],
        check: tls_and_clear_text,
    },
    Rule {
        id: "BN023",
        name: "tcp-protocol-over-udp",
        severity: Severity::Warning,
        summary: "a port is named after a protocol that runs over TCP alone, and has another protocol",
        why: "clients connect over TCP, where nothing listens; the filter finds no TCP port of that name",
        fix: "write protocol: TCP, or give the port a name that does not say something else",
        needs: &[],
        check: tcp_over_udp,
    },
    Rule {
        id: "BN024",
        name: "unnamed-port",
        severity: Severity::Error,
        summary: "a Service has several ports and one of them has no name",
        why: "ports are joined to EndpointSlices by their names; the API server refuses such a Service",
        fix: "name every port",
        needs: &[],
        check: unnamed_port,
    },
    Rule {
        id: "BN025",
        name: "unknown-app-protocol",
        severity: Severity::Warning,
        summary: "an appProtocol begins with kubernetes.io/ and is none that Kubernetes defines",
        why: "the prefix is Kubernetes' own: nothing knows the value, so the port is taken for plain TCP or HTTP/1",
        fix: "write kubernetes.io/h2c, kubernetes.io/ws or kubernetes.io/wss, or a name of IANA such as https",
        needs: &[],
        check: unknown_app_protocol,
    },
    Rule {
        id: "BN026",
        name: "headless-port-differs",
        severity: Severity::Warning,
        summary: "a port of a headless Service is not the port of its pods",
        why: "a headless name gives the pods' addresses, and nothing translates ports: only the pods' port answers",
        fix: "make port and targetPort the same number",
        needs: &[],
        check: headless_port_differs,
    },
];

/// What names of ports stand for that run over TCP alone. HTTPS is not among them, as HTTP/3 is often called so.
const OVER_TCP: &[&str] =
    &["http", "http2", "h2c", "grpc", "ws", "tcp", "mysql", "postgres", "postgresql", "redis", "mongo", "amqp", "ssh"];

/// What names of ports and `appProtocol` stand for that is inside TLS.
const OVER_TLS: &[&str] = &["https", "tls", "wss", "kubernetes.io/wss"];

/// What a port speaks, as far as it says so: by `appProtocol`, else by its name up to a `-`.
fn spoken(port: &ServicePort) -> &str {
    let name = port.name.as_deref().unwrap_or_default();
    port.app_protocol.as_deref().unwrap_or_else(|| name.split('-').next().unwrap_or_default())
}

fn target_port_name_missing(context: &Context<'_>, findings: &mut Findings) {
    for view in context.services.iter().filter(|view| view.form != ServiceForm::ExternalName) {
        for (field, port) in view.ports().filter(|(_, port)| names_no_container_port(view, port)) {
            let name = target(port).unwrap_or_default();
            let number = name.parse::<u16>().map_or("", |_| "; a number is written without quotes");
            let protocol = protocol(port.protocol.as_ref());
            let count = view.pods.len();
            let pods = if count == 1 { "the selected pod".into() } else { format!("the {count} selected pods") };
            let message = format!("no container of {pods} calls a {protocol} port \"{name}\"{number}");
            findings.add(view.subject(), format!("{field}.targetPort"), message);
        }
    }
}

fn target_port_not_listed(context: &Context<'_>, findings: &mut Findings) {
    for view in context.services.iter().filter(|view| view.form != ServiceForm::ExternalName) {
        let listed = || view.pods.iter().flat_map(|(_, pod)| &pod.object.container_ports);
        // Who lists nothing says nothing.
        if view.pods.iter().any(|(_, pod)| pod.object.container_ports.is_empty()) || view.pods.is_empty() {
            continue;
        }
        for (field, port) in view.ports() {
            let number = match port.target_port {
                Some(IntOrString::Int(number)) => number,
                None => port.port,
                Some(IntOrString::String(_)) => continue,
            };
            let protocol = protocol(port.protocol.as_ref());
            if listed().any(|one| one.port == number && one.protocol == protocol) {
                continue;
            }
            let field =
                if port.target_port.is_some() { format!("{field}.targetPort") } else { format!("{field}.port") };
            findings.add(view.subject(), field, format!("the selected pods list no {protocol} port {number}"));
        }
    }
}

fn tls_and_clear_text(context: &Context<'_>, findings: &mut Findings) {
    // A load balancer may end TLS, and speak in clear text from there on.
    let is_judged = |view: &&View<'_>| view.form != ServiceForm::ExternalName && view.type_() != "LoadBalancer";
    for view in context.services.iter().filter(is_judged) {
        for (field, port) in view.ports().filter(|(_, port)| OVER_TLS.contains(&spoken(port))) {
            let leads_there_too = |other: &&ServicePort| {
                target(other).unwrap_or_else(|| other.port.to_string())
                    == target(port).unwrap_or_else(|| port.port.to_string())
                    && protocol(other.protocol.as_ref()) == protocol(port.protocol.as_ref())
                    && OVER_TCP.contains(&spoken(other))
            };
            let other = view.ports().map(|(_, other)| other).find(leads_there_too);
            if let Some(other) = other {
                let target = target(port).unwrap_or_else(|| port.port.to_string());
                let message = format!("ports {} and {} both lead to {target}", shown(port), shown(other));
                findings.add(view.subject(), field, message);
            }
        }
    }
}

fn tcp_over_udp(context: &Context<'_>, findings: &mut Findings) {
    for view in &context.services {
        for (field, port) in view.ports() {
            let protocol = protocol(port.protocol.as_ref());
            if protocol != "TCP" && OVER_TCP.contains(&spoken(port)) {
                let message = format!("port {} is said to be {} over {protocol}", shown(port), spoken(port));
                findings.add(view.subject(), format!("{field}.protocol"), message);
            }
        }
    }
}

fn unnamed_port(context: &Context<'_>, findings: &mut Findings) {
    for view in context.services.iter().filter(|view| view.ports().count() > 1) {
        for (field, port) in view.ports().filter(|(_, port)| port.name.as_deref().unwrap_or_default().is_empty()) {
            let message = format!("port {} is one of {} and has no name", shown(port), view.ports().count());
            findings.add(view.subject(), field, message);
        }
    }
}

fn unknown_app_protocol(context: &Context<'_>, findings: &mut Findings) {
    for view in &context.services {
        for (field, port) in view.ports() {
            let Some(value) = port.app_protocol.as_deref() else { continue };
            if value.strip_prefix("kubernetes.io/").is_some_and(|name| !["h2c", "ws", "wss"].contains(&name)) {
                let message = format!("Kubernetes defines no appProtocol {value}");
                findings.add(view.subject(), format!("{field}.appProtocol"), message);
            }
        }
    }
}

fn headless_port_differs(context: &Context<'_>, findings: &mut Findings) {
    for view in context.services.iter().filter(|view| view.form == ServiceForm::Headless) {
        for (field, port) in view.ports() {
            let slices = context.cluster.slices_of(view.name).map(|(_, slice)| &slice.object);
            let mut numbers: Vec<i32> = slices.filter_map(|slice| joined(slice, port)).collect();
            if let (true, Some(IntOrString::Int(number))) = (numbers.is_empty(), &port.target_port) {
                numbers.push(*number);
            }
            if let Some(number) = numbers.iter().find(|number| **number != port.port) {
                let message = format!("port {} is {number} at the pods", shown(port));
                findings.add(view.subject(), format!("{field}.port"), message);
            }
        }
    }
}
