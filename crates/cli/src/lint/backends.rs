//! Backends of Ingresses and of Gateway API routes.

use k8s_openapi::api::networking::v1::IngressServiceBackend;

use super::{
    context::{Context, LintedService, shown, some},
    findings::{Findings, Subject},
    rule::{Rule, Severity},
};
use crate::{input::Field, kubernetes::ServicePortView};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN040",
        name: "backend-service-missing",
        severity: Severity::Error,
        summary: "an Ingress or a route has a backend Service that does not exist",
        why: "the gateway answers 500 or 503 to every request for this backend",
        fix: "correct the name or the namespace, or remove the rule",
        needs: &["Service"],
        check: service_missing,
    },
    Rule {
        id: "BN041",
        name: "backend-port-missing",
        severity: Severity::Error,
        summary: "an Ingress or a route names a port that its Service does not have over TCP",
        why: "the gateway finds no endpoints and answers 500 or 503; it needs the Service's port, not the targetPort",
        fix: "use the number of a port of the Service; an Ingress may use the port's name instead",
        needs: &[],
        check: port_missing,
    },
    Rule {
        id: "BN042",
        name: "backend-is-external-name",
        severity: Severity::Warning,
        summary: "an Ingress or a route has an ExternalName Service as its backend",
        why: "many gateways refuse it: the Service's author could reach what only the gateway may (CVE-2021-25740)",
        fix: "route to a Service with endpoints, or configure the external host in the gateway itself",
        needs: &[],
        check: is_external_name,
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
}

#[derive(Clone, Copy)]
enum BackendPort<'c> {
    None,
    Name(&'c str),
    Number(i32),
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
                port: to.port.map_or(BackendPort::None, BackendPort::Number),
                port_field: field.clone().field("port"),
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
    let (port, port_field) = match (port.and_then(|port| port.name.as_deref()), port.and_then(|port| port.number)) {
        (Some(name), _) => (BackendPort::Name(name), in_port.field("name")),
        (None, Some(number)) => (BackendPort::Number(number), in_port.field("number")),
        (None, None) => (BackendPort::None, in_port),
    };
    Backend { subject, namespace, name: &service.name, name_field, port, port_field }
}

fn service_missing(context: &Context<'_>, findings: &mut Findings) {
    for backend in backends(context) {
        if context.knows_services_of(backend.namespace) && backend.service(context).is_none() {
            let message = format!("Service {}/{} does not exist", backend.namespace, backend.name);
            findings.add(backend.subject, backend.name_field, message);
        }
    }
}

fn port_missing(context: &Context<'_>, findings: &mut Findings) {
    for backend in backends(context) {
        let Some(service) = backend.service(context).filter(|service| !service.view.is_external_name()) else {
            continue;
        };
        // Gateways connect over TCP, whatever the kind of the route.
        let mut ports = service.view.ports().filter(ServicePortView::is_tcp);
        let (is_there, asked) = match backend.port {
            BackendPort::None => (false, "is referenced without a port".to_owned()),
            BackendPort::Name(name) => (ports.any(|port| port.name == name), format!("has no TCP port named {name}")),
            BackendPort::Number(number) => {
                (ports.any(|port| port.number == number), format!("has no TCP port {number}"))
            }
        };
        if !is_there {
            let all = some(service.view.ports().map(|port| shown(&port)));
            let message = format!("Service {} {asked}; its ports: {all}", service.name);
            findings.add(backend.subject, backend.port_field, message);
        }
    }
}

fn is_external_name(context: &Context<'_>, findings: &mut Findings) {
    for backend in backends(context) {
        let Some(service) = backend.service(context).filter(|service| service.view.is_external_name()) else {
            continue;
        };
        let target = service.view.spec.external_name.as_deref().unwrap_or_default();
        let message = format!("Service {} is an ExternalName for {target}", service.name);
        findings.add(backend.subject, backend.name_field, message);
    }
}
