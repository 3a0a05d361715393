//! Affinity, topology and readiness: fields that have no effect, or another one than they seem to.

use super::{
    context::{Context, LintedService},
    findings::Findings,
    rule::{Rule, Severity},
};
use crate::kubernetes::ServiceForm;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN070",
        name: "affinity-without-effect",
        severity: Severity::Warning,
        summary: "sessionAffinity of a Service that has no address of its own, or its settings without it",
        why: "affinity is kept where a cluster IP is translated: by DNS alone a client takes any address",
        fix: "take the fields out; or, for affinity, give the Service a cluster IP and write sessionAffinity: ClientIP",
        needs: &[],
        check: affinity_without_effect,
    },
    Rule {
        id: "BN071",
        name: "affinity-timeout",
        severity: Severity::Info,
        summary: "the timeout of a sessionAffinity is not the default",
        why: "kube-proxy keeps to it; in the filter a pod stays with its endpoint for as long as that serves",
        fix: "nothing, unless clients have to move on; then balance with loadBalancer in the filter's configuration",
        needs: &[],
        check: affinity_timeout,
    },
    Rule {
        id: "BN072",
        name: "topology-without-effect",
        severity: Severity::Warning,
        summary: "trafficDistribution, internalTrafficPolicy or a topology annotation where nothing chooses endpoints",
        why: "DNS lists every ready endpoint of a headless Service (KEP-2086) and gives an ExternalName as it is",
        fix: "take the field out, or give the Service a cluster IP",
        needs: &[],
        check: topology_without_effect,
    },
    Rule {
        id: "BN073",
        name: "topology-annotation",
        severity: Severity::Warning,
        summary: "a Service has the deprecated annotation topology-mode or topology-aware-hints",
        why: "it takes precedence over trafficDistribution, and writes hints only where its heuristic likes the zones",
        fix: "write trafficDistribution: PreferSameZone and take the annotation out",
        needs: &[],
        check: topology_annotation,
    },
    Rule {
        id: "BN074",
        name: "prefer-close",
        severity: Severity::Info,
        summary: "trafficDistribution is PreferClose, the old name of PreferSameZone",
        why: "it is deprecated, and does not say what is close",
        fix: "write PreferSameZone",
        needs: &[],
        check: prefer_close,
    },
    Rule {
        id: "BN075",
        name: "not-ready-addresses-are-served",
        severity: Severity::Warning,
        summary: "publishNotReadyAddresses of a Service with a cluster IP",
        why: "requests are sent to pods that say they are not ready; it is meant for peers that find each other by DNS",
        fix: "take it out, or make a headless Service of its own for the peers",
        needs: &[],
        check: not_ready_addresses,
    },
];

/// The annotations by which hints were asked for before there was a field.
const TOPOLOGY_ANNOTATIONS: &[&str] =
    &["service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"];
/// The timeout that the API server writes where none is given.
const DEFAULT_TIMEOUT_SECONDS: i32 = 10_800;

/// The topology annotations of a Service that ask for something.
fn topology_annotations<'c>(service: &LintedService<'c>) -> impl Iterator<Item = (&'static str, &'c str)> {
    let modes = TOPOLOGY_ANNOTATIONS.iter().filter_map(|name| Some((*name, service.annotation(name)?)));
    modes.filter(|(_, mode)| !mode.eq_ignore_ascii_case("disabled"))
}

/// What a Service without an address of its own is called.
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
                findings.add(service.subject(), "spec.sessionAffinity", format!("ClientIP, for {what}"));
            }
            _ if !has_affinity && service.view.spec.session_affinity_config.is_some() => {
                let message = "it sets how sessionAffinity works, which is None";
                findings.add(service.subject(), "spec.sessionAffinityConfig", message);
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
            let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
            findings.add(service.subject(), field, format!("{timeout} seconds, which the filter does not count"));
        }
    }
}

fn topology_without_effect(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        let Some(what) = without_address(service) else { continue };
        let mut add = |field: &str, value: &str| {
            findings.add(service.subject(), field, format!("{value}, for {what}"));
        };
        if let Some(distribution) = service.view.spec.traffic_distribution.as_deref() {
            add("spec.trafficDistribution", distribution);
        }
        if service.view.spec.internal_traffic_policy.as_deref() == Some("Local") {
            add("spec.internalTrafficPolicy", "Local");
        }
        for (name, mode) in topology_annotations(service) {
            add(&format!("metadata.annotations.{name}"), mode);
        }
    }
}

fn topology_annotation(context: &Context<'_>, findings: &mut Findings) {
    // BN072 says more of the others.
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        for (name, mode) in topology_annotations(service) {
            let message = match service.view.spec.traffic_distribution.as_deref() {
                Some(distribution) => format!("{mode}, so trafficDistribution: {distribution} does not count"),
                None => format!("{mode}, by an annotation that is deprecated"),
            };
            findings.add(service.subject(), format!("metadata.annotations.{name}"), message);
        }
    }
}

fn prefer_close(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        if service.view.spec.traffic_distribution.as_deref() == Some("PreferClose") {
            findings.add(service.subject(), "spec.trafficDistribution", "PreferClose is now called PreferSameZone");
        }
    }
}

fn not_ready_addresses(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| service.view.is_virtual()) {
        if service.view.publishes_not_ready() {
            let message = "pods that are not ready are endpoints of a Service with a cluster IP";
            findings.add(service.subject(), "spec.publishNotReadyAddresses", message);
        }
    }
}
