//! Selectors of Services and subdomains of pods.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{
    context::{Context, LintedService, SelectedPod, is_typo, labels, shown},
    findings::{Findings, Subject},
    patch::Patch,
    rule::{Rule, Severity},
};
use crate::{
    input::Field,
    kubernetes::{ContainerPort, NamespacedName, ServicePortView, TargetPort, Workload},
    output::some,
};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN001",
        name: "selector-matches-no-pod",
        severity: Severity::Error,
        summary: "the selector of a Service matches no pod of its namespace",
        why: "the Service has no endpoint, so every request to it fails",
        fix: "use the labels of the intended pods; if there are none on purpose, ignore the finding with an annotation",
        needs: &["Pod or workload"],
        absence: Some("Pod"),
        check: matches_no_pod,
    },
    Rule {
        id: "BN002",
        name: "selector-spans-workloads",
        severity: Severity::Info,
        summary: "the selector of a Service matches pods of several workloads",
        why: "requests go to every workload in proportion to its pods, as canaries and the filter's subsets require",
        fix: "add a label to the selector that only the right pods have; for versions of one workload, change nothing",
        needs: &["Pod or workload"],
        absence: None,
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
        absence: None,
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
        absence: Some("Service"),
        check: subdomain_without_service,
    },
    Rule {
        id: "BN005",
        name: "selected-pods-without-port",
        severity: Severity::Warning,
        summary: "the selector of a Service matches pods that do not have its targetPort, beside pods that do",
        why: "requests go to every selected pod, so those that reach the pods without the port fail",
        fix: "add a label to the selector that only the pods with the port have, or list the port in the other containers",
        needs: &["Pod or workload"],
        absence: None,
        check: pods_without_port,
    },
];

fn matches_no_pod(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        let Some(selector) = service.view.selector().filter(|_| !service.view.is_external_name()) else { continue };
        // Endpoints prove that there are pods; the input only lacks them.
        if !service.pods.is_empty() || !service.endpoints.is_empty() {
            continue;
        }
        let namespace = &service.name.namespace;
        let mut patch = None;
        let message = if context.has_no_pod(service) {
            let workloads = context.workloads_in(namespace).map(|workload| &workload.object);
            let mut asleep = workloads.filter(|one| one.replicas == Some(0) && one.matches(selector));
            let asleep =
                asleep.next().map_or(String::new(), |one| format!("; {} {} has 0 replicas", one.kind, one.name));
            format!("no pod in namespace {namespace} has {}{asleep}", labels(selector))
        } else if let Some(workload) = intended(context, service, selector) {
            let own = workload.pod.labels.iter().filter(|(key, _)| selector.contains_key(*key));
            let meant: BTreeMap<&String, &String> = own.clone().collect();
            patch =
                (meant.len() == selector.len()).then(|| Patch::Set(Field::from(["spec", "selector"]), json!(meant)));
            let own = labels(own);
            let own = if own.is_empty() { labels(&workload.pod.labels) } else { own };
            format!("no workload has {}; the pods of {} {} have {own}", labels(selector), workload.kind, workload.name)
        } else {
            continue;
        };
        findings.add(service.subject(), ["spec", "selector"], message).patch(patch);
    }
}

/// The workload that a selector seems to be meant for. Manifests may be only some of a namespace, so it takes more than that no
/// workload matches: a workload has the Service's name, or almost the same labels.
fn intended<'c>(
    context: &Context<'c>,
    service: &LintedService<'c>,
    selector: &BTreeMap<String, String>,
) -> Option<&'c Workload> {
    let (namespace, name) = (&service.name.namespace, &service.name.name);
    let is_selected = |workload: &Workload| {
        let mut others = context.services_in(namespace).iter().filter_map(|other| other.view.selector());
        others.any(|selector| workload.matches(selector))
    };
    let is_meant = |workload: &&Workload| {
        let differing: Vec<_> = selector.iter().filter(|(key, value)| !workload.has_label(key, value)).collect();
        let values = differing.iter().filter_map(|(key, value)| Some((value.as_str(), workload.label(key, value)?)));
        let values: Vec<(&str, String)> = values.collect();
        // A label that is only missing may be set while a pod runs, such as the label of a leader.
        let is_named_alike = workload.name == *name && (!values.is_empty() || differing.len() == selector.len());
        let is_typo = differing.len() == 1 && values.first().is_some_and(|(one, other)| is_typo(one, other));
        // A Service may be called like its pods, and beside it another Service has pods with a similar name.
        let fits_its_name = || values.iter().any(|(value, _)| name.contains(*value) || value.contains(&**name));
        !workload.runs_to_end() && (is_named_alike || is_typo) && !(fits_its_name() && is_selected(workload))
    };
    context.workloads_in(namespace).map(|workload| &workload.object).find(is_meant)
}

fn spans_workloads(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let Some(selector) = service.view.selector() else { continue };
        // BN005 reports this case.
        if service.view.ports().any(|port| lacking_port(service, &port).is_some()) {
            continue;
        }
        let reached = service.pods.iter().filter(|one| is_reached(service, one));
        let workloads: BTreeSet<String> = reached.map(SelectedPod::workload).collect();
        if workloads.len() > 1 {
            let count = workloads.len();
            let message = format!("{} matches pods of {count} workloads: {}", labels(selector), some(workloads));
            findings.add(service.subject(), ["spec", "selector"], message);
        }
    }
}

/// Whether a port of `service` may lead to this pod. One that lists no port has no endpoint for a port's name.
fn is_reached(service: &LintedService<'_>, one: &SelectedPod<'_>) -> bool {
    let mut ports = service.view.ports();
    !one.pod.container_ports.is_empty()
        || service.view.ports().next().is_none()
        || ports.any(|port| matches!(port.target(), TargetPort::Number(_)))
}

fn pods_without_port(context: &Context<'_>, findings: &mut Findings) {
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        for port in service.view.ports() {
            let Some(without) = lacking_port(service, &port) else { continue };
            let list = if without.len() == 1 { "does not list" } else { "do not list" };
            let message = format!(
                "port {} routes to port {} of {} too, which {list} it",
                shown(&port),
                port.target(),
                some(&without)
            );
            findings.add(service.subject(), ["spec", "selector"], message);
        }
    }
}

/// The selected workloads without the target of `port`, if other selected workloads have it.
fn lacking_port(service: &LintedService<'_>, port: &ServicePortView<'_>) -> Option<BTreeSet<String>> {
    // Pods without a container port of a name have no endpoint for it, so they get no requests.
    let TargetPort::Number(number) = port.target() else { return None };
    let is_it = |one: &ContainerPort| one.port == number && one.protocol == port.protocol.as_str();
    let lists = |one: &&SelectedPod<'_>| one.pod.container_ports.iter().any(is_it);
    // A pod that lists no port at all may listen on any, unless it runs to an end.
    let lacks = |one: &&SelectedPod<'_>| !lists(one) && (one.runs_to_end() || !one.pod.container_ports.is_empty());
    let with: BTreeSet<String> = service.pods.iter().filter(lists).map(SelectedPod::workload).collect();
    let mut without: BTreeSet<String> = service.pods.iter().filter(lacks).map(SelectedPod::workload).collect();
    without.retain(|workload| !with.contains(workload));
    (!with.is_empty() && !without.is_empty()).then_some(without)
}

fn twins(context: &Context<'_>, findings: &mut Findings) {
    let mut first: BTreeMap<_, &NamespacedName> = BTreeMap::new();
    for service in context.services.iter().filter(|service| !service.view.is_external_name()) {
        let Some(selector) = service.view.selector() else { continue };
        // A Rollout adds a label to the selectors of its stable and its canary Service while it runs.
        if service.pods.iter().any(|one| one.workload().starts_with("Rollout ")) {
            continue;
        }
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

/// Whether a controller adds this label, whose value differs between pods or versions of one workload.
fn is_set_by_controller(label: &str) -> bool {
    label.ends_with("-hash") || label.ends_with("/pod-name") || label.ends_with("/pod-index")
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
        let labels: BTreeMap<_, _> = pod.object.labels.iter().filter(|(key, _)| !is_set_by_controller(key)).collect();
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": subdomain, "namespace": namespace},
            "spec": {"clusterIP": "None", "selector": labels},
        });
        let is_free = context.service(namespace, subdomain).is_none();
        let patch = (is_free && !labels.is_empty()).then_some(Patch::Create(manifest));
        findings.add(Subject::new("Pod", name, pod), ["spec", "subdomain"], message).patch(patch);
    }
}
