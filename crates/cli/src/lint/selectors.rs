//! Selectors of Services and subdomains of pods.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    context::{Context, labels, shown, some},
    findings::{Findings, Subject},
    rule::{Rule, Severity},
};
use crate::kubernetes::{NamespacedName, Pod};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN001",
        name: "selector-matches-no-pod",
        severity: Severity::Error,
        summary: "the selector of a Service matches no pod of its namespace",
        why: "the Service has no endpoint, so every request to it fails",
        fix: "use the labels of the intended pods; if there are none on purpose, ignore the finding with an annotation",
        needs: &["Pod"],
        check: matches_no_pod,
    },
    Rule {
        id: "BN002",
        name: "selector-spans-workloads",
        severity: Severity::Warning,
        summary: "the selector of a Service matches pods of several workloads",
        why: "requests go to every workload in proportion to its pods, though the workloads may differ",
        fix: "add a label to the selector that only the right pods have; for a canary, ignore the finding",
        needs: &["Pod"],
        check: spans_workloads,
    },
    Rule {
        id: "BN003",
        name: "same-pods-same-port",
        severity: Severity::Info,
        summary: "two Services of one type have the same selector, port and target",
        why: "the same pods have two names, so policies, statistics and affinity depend on the name that clients use",
        fix: "keep one Service, and make the other an ExternalName for it while the name is in use",
        needs: &[],
        check: twins,
    },
    Rule {
        id: "BN004",
        name: "subdomain-without-service",
        severity: Severity::Warning,
        summary: "the subdomain of a pod is not the name of a Service in its namespace",
        why: "the pod has no DNS name: hostname.subdomain needs a Service with the subdomain's name",
        fix: "create a headless Service with the subdomain's name that selects the pod, or remove the subdomain",
        needs: &["Service"],
        check: subdomain_without_service,
    },
];

fn matches_no_pod(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        let Some(selector) = service.view.selector().filter(|_| !service.view.is_external_name()) else { continue };
        // Endpoints prove that there are pods; the input only lacks them.
        if !service.pods.is_empty() || !service.endpoints.is_empty() {
            continue;
        }
        // An empty slice or a pod with a phase comes from a cluster, where every pod is listed. Manifests have neither,
        // and controllers create most of their pods later.
        let is_of_cluster = |pod: &Pod| !pod.phase.is_empty();
        if service.view.all_slices().next().is_none()
            && !context.cluster.pods_of(&service.name.namespace).any(|(_, pod)| is_of_cluster(&pod.object))
        {
            continue;
        }
        let message = format!("no pod in namespace {} has {}", service.name.namespace, labels(selector));
        findings.add(service.subject(), ["spec", "selector"], message);
    }
}

fn spans_workloads(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let Some(selector) = service.view.selector() else { continue };
        let workloads: BTreeSet<String> = service.pods.iter().map(|(name, pod)| workload(name, &pod.object)).collect();
        if workloads.len() > 1 {
            let count = workloads.len();
            let message = format!("{} matches pods of {count} workloads: {}", labels(selector), some(workloads));
            findings.add(service.subject(), ["spec", "selector"], message);
        }
    }
}

/// The workload that owns a pod; a pod without an owner is its own workload.
fn workload(name: &NamespacedName, pod: &Pod) -> String {
    /// The label that tells the ReplicaSets of a Rollout apart, as `pod-template-hash` does for a Deployment.
    const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";
    let Some(owner) = &pod.owner else { return format!("Pod {}", name.name) };
    let hash = pod.labels.get(ROLLOUT_HASH);
    match hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')) {
        Some(rollout) => format!("Rollout {rollout}"),
        // The owner of a static pod is its node.
        None if owner.kind == "Node" => "static pods".to_owned(),
        None => owner.to_string(),
    }
}

fn twins(context: &Context<'_>, findings: &mut Findings) {
    let mut first: BTreeMap<_, &NamespacedName> = BTreeMap::new();
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let Some(selector) = service.view.selector() else { continue };
        let same = service.view.ports().find_map(|port| {
            // StatefulSets often have a headless Service beside one with a cluster IP.
            let kind = (service.view.is_headless(), service.view.type_word());
            let key = (&*service.name.namespace, selector, kind, port.number, port.protocol, port.target().to_string());
            let first = *first.entry(key).or_insert(service.name);
            (first != service.name).then_some((port, first))
        });
        if let Some((port, first)) = same {
            let message = format!("port {} routes to the same pods and port as Service {first}", shown(&port));
            findings.add(service.subject(), port.field(), message);
        }
    }
}

fn subdomain_without_service(context: &Context<'_>, findings: &mut Findings) {
    let mut seen = BTreeMap::new();
    for (name, pod) in &context.cluster.pods {
        let subdomain = pod.object.subdomain.as_deref().filter(|subdomain| !subdomain.is_empty());
        let Some(subdomain) = subdomain.filter(|_| !pod.object.is_over()) else { continue };
        if !context.knows_services_of(&name.namespace) {
            continue;
        }
        let service = context.service(&name.namespace, subdomain);
        if service.is_none_or(|service| service.view.is_external_name()) {
            let (_, count) = seen.entry((&*name.namespace, subdomain)).or_insert(((name, pod), 0));
            *count += 1;
        }
    }
    for ((namespace, subdomain), ((name, pod), count)) in seen {
        let more = if count > 1 { format!("; {count} pods have this subdomain") } else { String::new() };
        let message = format!("Service {namespace}/{subdomain} does not exist or is an ExternalName{more}");
        findings.add(Subject::new("Pod", name, pod), ["spec", "subdomain"], message);
    }
}
