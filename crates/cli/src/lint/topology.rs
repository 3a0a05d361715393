//! Affinity, topology and readiness: fields without effect, or with an unexpected effect.

use super::{
    backends::backend_services,
    context::{Context, LintedService},
    findings::Findings,
    patch::Patch,
    rule::{Rule, Severity},
};
use crate::{input::Field, kubernetes::ServiceForm};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN070",
        name: "affinity-without-effect",
        severity: Severity::Warning,
        summary: "a Service sets sessionAffinity without a cluster IP, or only sessionAffinityConfig",
        why: "affinity works only where a cluster IP is translated; with DNS alone a client may use any address",
        fix: "remove the fields, or give the Service a cluster IP and set sessionAffinity: ClientIP",
        needs: &[],
        absence: None,
        check: affinity_without_effect,
    },
    Rule {
        id: "BN071",
        name: "affinity-timeout",
        severity: Severity::Info,
        summary: "a sessionAffinity has a timeout other than the default",
        why: "kube-proxy applies the timeout, but the filter keeps a client on its endpoint while the endpoint serves",
        fix: "change nothing unless clients must move on; then set loadBalancer in the filter's configuration",
        needs: &[],
        absence: None,
        check: affinity_timeout,
    },
    Rule {
        id: "BN072",
        name: "topology-without-effect",
        severity: Severity::Warning,
        summary: "trafficDistribution, internalTrafficPolicy or a topology annotation has no effect on the Service",
        why: "DNS lists every ready endpoint of a headless Service (KEP-2086) and returns an ExternalName as it is",
        fix: "remove the field, or give the Service a cluster IP",
        needs: &[],
        absence: None,
        check: topology_without_effect,
    },
    Rule {
        id: "BN073",
        name: "topology-annotation",
        severity: Severity::Warning,
        summary: "a Service has the deprecated annotation topology-mode or topology-aware-hints",
        why: "the annotation overrides trafficDistribution, and adds hints only if its heuristic accepts the zones",
        fix: "set trafficDistribution: PreferSameZone and remove the annotation",
        needs: &[],
        absence: None,
        check: topology_annotation,
    },
    Rule {
        id: "BN074",
        name: "prefer-close",
        severity: Severity::Info,
        summary: "trafficDistribution is PreferClose, the old name of PreferSameZone",
        why: "PreferClose is deprecated, and the name does not say what is close",
        fix: "write PreferSameZone",
        needs: &[],
        absence: None,
        check: prefer_close,
    },
    Rule {
        id: "BN075",
        name: "not-ready-addresses-are-served",
        severity: Severity::Warning,
        summary: "a Service with a cluster IP sets publishNotReadyAddresses",
        why: "requests go to pods that are not ready; the field is meant for peers that find each other by DNS",
        fix: "remove the field, or create a separate headless Service for the peers",
        needs: &[],
        absence: None,
        check: not_ready_addresses,
    },
];

/// Annotations that request hints, from before `trafficDistribution`.
const TOPOLOGY_ANNOTATIONS: &[&str] =
    &["service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"];
/// The API server's default timeout.
const DEFAULT_TIMEOUT_SECONDS: i32 = 10_800;

/// Topology annotations of a Service that request hints. The controller of EndpointSlices reads no other values.
fn topology_annotations<'c>(service: &LintedService<'c>) -> impl Iterator<Item = (&'static str, &'c str)> {
    let modes = TOPOLOGY_ANNOTATIONS.iter().filter_map(|name| Some((*name, service.annotation(name)?)));
    modes.filter(|(_, mode)| matches!(*mode, "Auto" | "auto"))
}

/// The phrase for a Service without a cluster IP; `None` for other Services.
fn without_address(service: &LintedService<'_>) -> Option<&'static str> {
    match service.view.form {
        ServiceForm::ExternalName => Some("an ExternalName Service"),
        ServiceForm::Headless => Some("a headless Service"),
        ServiceForm::Virtual | ServiceForm::Unassigned => None,
    }
}

fn affinity_without_effect(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        let has_affinity = service.view.spec.session_affinity.as_deref() == Some("ClientIP");
        match without_address(service) {
            Some(what) if has_affinity => {
                let message = format!("ClientIP has no effect on {what}");
                let field = ["spec", "sessionAffinity"];
                findings.add(service.subject(), field, message).patch(Patch::Remove(field.into()));
            }
            _ if !has_affinity && service.view.spec.session_affinity_config.is_some() => {
                let message = "sessionAffinityConfig has no effect while sessionAffinity is None";
                let field = ["spec", "sessionAffinityConfig"];
                findings.add(service.subject(), field, message).patch(Patch::Remove(field.into()));
            }
            _ => {}
        }
    }
}

fn affinity_timeout(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        let config = service.view.spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let timeout = config.and_then(|config| config.timeout_seconds);
        if let Some(timeout) = timeout.filter(|timeout| *timeout != DEFAULT_TIMEOUT_SECONDS)
            && service.view.spec.session_affinity.as_deref() == Some("ClientIP")
        {
            let field = ["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"];
            findings.add(service.subject(), field, format!("the filter ignores the timeout of {timeout} seconds"));
        }
    }
}

fn topology_without_effect(context: &Context<'_>, findings: &mut Findings) {
    let backends = backend_services(context);
    for service in &context.services {
        let Some(what) = without_address(service) else { continue };
        let mut add = |field: Field, value: &str| {
            let message = format!("{value} has no effect on {what}");
            findings.add(service.subject(), field.clone(), message).patch(Patch::Remove(field));
        };
        // A gateway chooses among the endpoints of its backends.
        let distribution = service.view.spec.traffic_distribution.as_deref();
        if let Some(distribution) = distribution.filter(|_| !backends.contains(service.name)) {
            add(["spec", "trafficDistribution"].into(), distribution);
        }
        if service.view.spec.internal_traffic_policy.as_deref() == Some("Local") {
            add(["spec", "internalTrafficPolicy"].into(), "Local");
        }
        for (name, mode) in topology_annotations(service) {
            add(["metadata", "annotations", name].into(), mode);
        }
    }
}

fn topology_annotation(context: &Context<'_>, findings: &mut Findings) {
    // BN072 reports the other Services.
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        for (name, mode) in topology_annotations(service) {
            let message = match service.view.spec.traffic_distribution.as_deref() {
                Some(distribution) => format!("{mode} overrides trafficDistribution: {distribution}"),
                None => format!("{mode} is set by a deprecated annotation"),
            };
            let field = ["metadata", "annotations", name];
            findings.add(service.subject(), field, message).patch(Patch::Remove(field.into()));
        }
    }
}

fn prefer_close(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        if service.view.spec.traffic_distribution.as_deref() == Some("PreferClose") {
            let message = "PreferClose is now called PreferSameZone";
            let field = ["spec", "trafficDistribution"];
            let patch = Patch::Set(field.into(), "PreferSameZone".into());
            findings.add(service.subject(), field, message).patch(patch);
        }
    }
}

fn not_ready_addresses(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        // A Service for one pod gives a member of a cluster its address before the cluster has formed.
        let is_for_one_pod = service.view.selector().is_some_and(|selector| {
            ["statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"]
                .iter()
                .any(|label| selector.contains_key(*label))
        });
        if service.view.publishes_not_ready() && !is_for_one_pod {
            let message = "requests to the cluster IP go to pods that are not ready";
            let field = ["spec", "publishNotReadyAddresses"];
            findings.add(service.subject(), field, message).patch(Patch::Remove(field.into()));
        }
    }
}
