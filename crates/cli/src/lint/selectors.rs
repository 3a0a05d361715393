//! Selectors: which pods a Service means, and which Service a pod means.

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
        fix: "write the labels of the pods that are meant; where there are none on purpose, say so in an annotation",
        needs: &["Pod"],
        check: matches_no_pod,
    },
    Rule {
        id: "BN002",
        name: "selector-spans-workloads",
        severity: Severity::Warning,
        summary: "the selector of a Service matches pods of several workloads",
        why: "requests go to all of them, in proportion to their pods, though they need not do the same",
        fix: "add a label to the selector that only the right pods have; a canary is ignored by an annotation",
        needs: &["Pod"],
        check: spans_workloads,
    },
    Rule {
        id: "BN003",
        name: "same-pods-same-port",
        severity: Severity::Info,
        summary: "two Services of one type have the same selector, port and target",
        why: "two names for one thing: policies, statistics and affinity differ by which one is asked for",
        fix: "keep one, and lead the other name to it with type ExternalName while it is in use",
        needs: &[],
        check: twins,
    },
    Rule {
        id: "BN004",
        name: "subdomain-without-service",
        severity: Severity::Warning,
        summary: "the subdomain of a pod names no Service of its namespace",
        why: "the pod has no name in DNS: hostname.subdomain is made by the Service of that name",
        fix: "make a headless Service that is called like the subdomain and selects the pod, or take the subdomain out",
        needs: &["Service"],
        check: subdomain_without_service,
    },
];

fn matches_no_pod(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        let Some(selector) = service.view.selector().filter(|_| !service.view.is_external_name()) else { continue };
        // Where there are endpoints there are pods, and what was read lacks them.
        if !service.pods.is_empty() || !service.endpoints.is_empty() {
            continue;
        }
        // A slice without endpoints is of a control plane that found no pod; pods that run are those of a cluster. Manifests
        // have neither, and pods of their own besides the few that are written out.
        let is_of_cluster = |pod: &Pod| !pod.phase.is_empty();
        if service.view.all_slices().next().is_none()
            && !context.cluster.pods_of(&service.name.namespace).any(|(_, pod)| is_of_cluster(&pod.object))
        {
            continue;
        }
        let message = format!("no pod of {} has {}", service.name.namespace, labels(selector));
        findings.add(service.subject(), "spec.selector", message);
    }
}

fn spans_workloads(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let Some(selector) = service.view.selector() else { continue };
        let workloads: BTreeSet<String> = service.pods.iter().map(|(name, pod)| workload(name, &pod.object)).collect();
        if workloads.len() > 1 {
            let count = workloads.len();
            let message = format!("{} matches pods of {count} workloads: {}", labels(selector), some(workloads));
            findings.add(service.subject(), "spec.selector", message);
        }
    }
}

/// What made a pod; a pod that nothing made is a workload of its own.
fn workload(name: &NamespacedName, pod: &Pod) -> String {
    /// The label by which a Rollout tells its ReplicaSets apart, as a Deployment does by another.
    const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";
    let Some(owner) = &pod.owner else { return format!("Pod {}", name.name) };
    let hash = pod.labels.get(ROLLOUT_HASH);
    match hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')) {
        Some(rollout) => format!("Rollout {rollout}"),
        // Static pods, each of which belongs to its node.
        None if owner.kind == "Node" => "static pods".to_owned(),
        None => owner.to_string(),
    }
}

fn twins(context: &Context<'_>, findings: &mut Findings) {
    let mut first: BTreeMap<_, &NamespacedName> = BTreeMap::new();
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let Some(selector) = service.view.selector() else { continue };
        let same = service.view.ports().find_map(|port| {
            // A headless Service beside one with an address is how StatefulSets are reached.
            let kind = (service.view.is_headless(), service.view.type_word());
            let key = (&*service.name.namespace, selector, kind, port.number, port.protocol, port.target().to_string());
            let first = *first.entry(key).or_insert(service.name);
            (first != service.name).then_some((port, first))
        });
        if let Some((port, first)) = same {
            let message = format!("port {} leads to the same pods and port as that of Service {first}", shown(&port));
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
        let more = if count > 1 { format!(", which {count} pods name") } else { String::new() };
        let message = format!("there is no Service {namespace}/{subdomain} with endpoints{more}");
        findings.add(Subject::new("Pod", name, pod), "spec.subdomain", message);
    }
}
