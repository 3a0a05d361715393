//! Backends of Ingresses and of Gateway API routes.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::IngressServiceBackend;
use serde_json::{Value, json};

use super::{
    context::{Context, LintedService, most_similar, shown},
    findings::{Findings, Subject},
    patch::Patch,
    rule::{Rule, Severity},
};
use crate::{
    input::Field,
    kubernetes::{NamespacedName, RouteTargetPort, ServicePortView, TargetPort},
    output::some,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN040",
        name: "backend-service-missing",
        severity: Severity::Error,
        summary: "an Ingress or a route has a backend Service that does not exist",
        why: "the gateway answers 500 or 503 to every request for this backend",
        fix: "correct the name or the namespace, or remove the rule",
        needs: &["Service"],
        absence: Some("Service"),
        check: service_missing,
    },
    Rule {
        id: "BN041",
        name: "backend-port-missing",
        severity: Severity::Error,
        summary: "an Ingress or a route names a port that its Service does not have over TCP",
        why: "the gateway finds no endpoints for the backend, and answers 500 or 503 to its requests",
        fix: "use a port of the Service, not its targetPort; only a Route of OpenShift may have the number of a targetPort",
        needs: &[],
        absence: None,
        check: port_missing,
    },
    Rule {
        id: "BN042",
        name: "backend-is-external-name",
        severity: Severity::Info,
        summary: "an Ingress or a route has an ExternalName Service as its backend",
        why: "some gateways refuse it: the Service's author could reach what only the gateway may (CVE-2021-25740)",
        fix: "route to a Service with endpoints, or configure the external host in the gateway itself",
        needs: &[],
        absence: None,
        check: is_external_name,
    },
    Rule {
        id: "BN043",
        name: "backend-not-granted",
        severity: Severity::Error,
        summary: "a route refers to a Service of another namespace, and no ReferenceGrant there permits it",
        why: "the gateway must ignore the backend, and answers 500 to its requests",
        fix: "create a ReferenceGrant in the namespace of the Service, or move the route there",
        needs: &[],
        absence: Some("ReferenceGrant"),
        check: not_granted,
    },
];

/// A reference to a Service.
struct Backend<'c> {
    subject: Subject<'c>,
    /// The namespace of the Service.
    namespace: &'c str,
    name: &'c str,
    name_field: Field,
    port: BackendPort<'c>,
    port_field: Field,
    /// What to do about a port that the Service does not have.
    port_fix: &'static str,
}

#[derive(Clone, Copy)]
enum BackendPort<'c> {
    None,
    Name(&'c str),
    Number(i32),
    /// The port of a Route of OpenShift.
    Target(&'c RouteTargetPort),
}

impl Backend<'_> {
    fn service<'a, 'c>(&self, context: &'a Context<'c>) -> Option<&'a LintedService<'c>> {
        context.service(self.namespace, self.name)
    }
}

fn backends<'c>(context: &Context<'c>) -> Vec<Backend<'c>> {
    let mut backends = Vec::new();
    for (name, ingress) in &context.cluster.ingresses {
        let subject = Subject::new("Ingress", name, ingress);
        let Some(spec) = &ingress.object.spec else { continue };
        let default = spec.default_backend.iter().map(|backend| (Field::from(["spec", "defaultBackend"]), backend));
        let rules = spec.rules.iter().flatten().enumerate();
        let ruled = rules.flat_map(|(rule, content)| {
            let paths = content.http.iter().flat_map(|http| &http.paths).enumerate();
            let in_rule = move || Field::from(["spec", "rules"]).item(rule).field("http");
            paths.map(move |(path, to)| (in_rule().field("paths").item(path).field("backend"), &to.backend))
        });
        for (field, backend) in default.chain(ruled) {
            // The AWS controller treats a backend with this port name as an action, such as a redirect.
            let is_action = |service: &IngressServiceBackend| {
                service.port.as_ref().and_then(|port| port.name.as_deref()) == Some("use-annotation")
            };
            if let Some(service) = backend.service.as_ref().filter(|service| !is_action(service)) {
                backends.push(of_ingress(subject, &name.namespace, field.field("service"), service));
            }
        }
    }
    for (name, route) in &context.cluster.routes {
        let subject = Subject::new(&route.object.kind, name, route).called(&route.object.name);
        for (field, to) in route.object.backends.iter().filter(|(_, to)| to.is_service() && to.weight != Some(0)) {
            backends.push(Backend {
                subject,
                namespace: to.namespace.as_deref().unwrap_or(&name.namespace),
                name: &to.name,
                name_field: field.clone().field("name"),
                port: match &to.target_port {
                    Some(target) => BackendPort::Target(target),
                    None => to.port.map_or(BackendPort::None, BackendPort::Number),
                },
                port_field: match &to.target_port {
                    Some(RouteTargetPort::Named(_)) => Field::from(["spec", "port", "targetPort"]),
                    Some(RouteTargetPort::Any) => field.clone(),
                    None => field.clone().field("port"),
                },
                port_fix: match &to.target_port {
                    Some(RouteTargetPort::Named(_)) => {
                        "use the name of a port of the Service, or the number of its targetPort"
                    }
                    Some(RouteTargetPort::Any) => "add a TCP port to the Service, or name another Service",
                    None => "use the number of a port of the Service, not of its targetPort",
                },
            });
        }
    }
    backends
}

fn of_ingress<'c>(
    subject: Subject<'c>,
    namespace: &'c str,
    field: Field,
    service: &'c IngressServiceBackend,
) -> Backend<'c> {
    let port = service.port.as_ref();
    let (name_field, in_port) = (field.clone().field("name"), field.field("port"));
    // The API server takes an empty name and 0 for none.
    let port_name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty());
    let number = port.and_then(|port| port.number).filter(|number| *number != 0);
    let (port, port_field) = match (port_name, number) {
        (Some(name), _) => (BackendPort::Name(name), in_port.field("name")),
        (None, Some(number)) => (BackendPort::Number(number), in_port.field("number")),
        (None, None) => (BackendPort::None, in_port),
    };
    let port_fix = "use the name or the number of a port of the Service, not its targetPort";
    Backend { subject, namespace, name: &service.name, name_field, port, port_field, port_fix }
}

/// The Services that an Ingress or a route has as a backend.
pub(super) fn backend_services(context: &Context<'_>) -> BTreeSet<NamespacedName> {
    backends(context).iter().map(|backend| NamespacedName::new(backend.namespace, backend.name)).collect()
}

fn not_granted(context: &Context<'_>, findings: &mut Findings) {
    for (name, route) in &context.cluster.routes {
        for (field, to) in route.object.backends.iter().filter(|(_, to)| to.is_service() && to.target_port.is_none()) {
            let Some(namespace) = to.namespace.as_deref().filter(|namespace| **namespace != *name.namespace) else {
                continue;
            };
            let service = NamespacedName::new(namespace, &to.name);
            let (kind, from) = (&route.object.kind, &name.namespace);
            if context.cluster.grant(kind, from, &service).is_none() && context.cluster.lists_grants_of(namespace) {
                let message = format!(
                    "no ReferenceGrant in namespace {namespace} permits {} {kind} of namespace {from}",
                    if kind.starts_with('H') { "an" } else { "a" }
                );
                let subject = Subject::new(kind, name, route).called(&route.object.name);
                let manifest = json!({
                    "apiVersion": "gateway.networking.k8s.io/v1beta1",
                    "kind": "ReferenceGrant",
                    "metadata": {"name": format!("{from}-{}", to.name), "namespace": namespace},
                    "spec": {
                        "from": [{"group": "gateway.networking.k8s.io", "kind": kind, "namespace": from}],
                        "to": [{"group": "", "kind": "Service", "name": to.name}],
                    },
                });
                let found = findings.add(subject, field.clone().field("namespace"), message);
                found.patch(Patch::Create(manifest));
            }
        }
    }
}

fn service_missing(context: &Context<'_>, findings: &mut Findings) {
    for backend in backends(context) {
        if backend.name.is_empty() {
            findings.add(backend.subject, backend.name_field, "the backend has no name");
        } else if let Some(missing) = context.missing_service(backend.namespace, backend.name) {
            let message = missing.message(backend.namespace, backend.name);
            let patch = missing.meant.map(|near| Patch::Set(backend.name_field.clone(), near.into()));
            findings.add(backend.subject, backend.name_field, message).patch(patch);
        }
    }
}

fn port_missing(context: &Context<'_>, findings: &mut Findings) {
    for backend in backends(context) {
        let Some(service) = backend.service(context) else { continue };
        // A gateway may connect to any port of an external host. A name must be the name of a port.
        if service.view.is_external_name() && !matches!(backend.port, BackendPort::Name(_)) || service.may_be_patch() {
            continue;
        }
        // Gateways connect over TCP, whatever the kind of the route.
        let ports: Vec<_> = service.view.ports().filter(ServicePortView::is_tcp).collect();
        let has_port = |is_it: &dyn Fn(&ServicePortView<'_>) -> bool| ports.iter().any(is_it);
        let (is_there, asked) = match backend.port {
            BackendPort::None => (false, "is referenced without a port".to_owned()),
            BackendPort::Name(name) => (has_port(&|port| port.name == name), format!("has no TCP port named {name}")),
            BackendPort::Number(number) => {
                (has_port(&|port| port.number == number), format!("has no TCP port {number}"))
            }
            BackendPort::Target(target) => (
                has_port(&|port| target.is_for(service.view, port)),
                match target {
                    RouteTargetPort::Any => "has no TCP port".to_owned(),
                    RouteTargetPort::Named(number) if number.parse::<i32>().is_ok() => {
                        format!("has no TCP port with the targetPort {number}")
                    }
                    RouteTargetPort::Named(name) => format!("has no TCP port named {name}"),
                },
            ),
        };
        if !is_there {
            let is_target = matches!(backend.port, BackendPort::Target(_));
            let with_target = |port: ServicePortView<'_>| match is_target {
                true => format!("{} to targetPort {}", shown(&port), port.target()),
                false => shown(&port),
            };
            let all = some(service.view.ports().map(with_target));
            let all = if all.is_empty() { "none".to_owned() } else { all };
            let message = format!("Service {} {asked}; its ports: {all}", service.name);
            let patch = meant(&backend, &ports).map(|value| Patch::Set(backend.port_field.clone(), value));
            let subject = backend.subject.of_service(service.name);
            findings.add(subject, backend.port_field, message).fix(backend.port_fix).patch(patch);
        }
    }
}

/// The value that seems to be meant in the field of a port that none of `ports` is.
fn meant(backend: &Backend<'_>, ports: &[ServicePortView<'_>]) -> Option<Value> {
    let alone = ports.first().filter(|_| ports.len() == 1);
    let name_of = |name: &str| {
        let alone = alone.map(|port| port.name).filter(|name| !name.is_empty());
        most_similar(name, ports.iter().map(|port| port.name)).or(alone)
    };
    match backend.port {
        // People often write the targetPort.
        BackendPort::Number(number) => {
            let meant = ports.iter().find(|port| port.target() == TargetPort::Number(number)).or(alone);
            meant.map(|port| port.number.into())
        }
        BackendPort::Name(name) => name_of(name).map(Into::into),
        // People often write the Service's port.
        BackendPort::Target(RouteTargetPort::Named(text)) => {
            let of_number = text.parse::<i32>().ok().and_then(|number| ports.iter().find(|port| port.number == number));
            match of_number {
                Some(port) if port.name.is_empty() => {
                    Some(serde_json::to_value(port.object.target_port.as_ref()?).ok()?)
                }
                Some(port) => Some(port.name.into()),
                None => name_of(text).map(Into::into),
            }
        }
        BackendPort::None | BackendPort::Target(RouteTargetPort::Any) => None,
    }
}

fn is_external_name(context: &Context<'_>, findings: &mut Findings) {
    for backend in backends(context) {
        let Some(service) = backend.service(context).filter(|service| service.view.is_external_name()) else {
            continue;
        };
        let target = service.view.spec.external_name.as_deref().unwrap_or_default();
        let message = format!("Service {} is an ExternalName for {target}", service.name);
        findings.add(backend.subject.of_service(service.name), backend.name_field, message);
    }
}
