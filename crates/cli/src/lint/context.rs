//! The cluster as the rules read it: Services joined once with their pods and their endpoints.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{findings::Subject, input::LintInput};
use crate::{
    kubernetes::{
        ClusterState, EndpointView, NamespacedName, Pod, ServicePortView, ServiceView, SliceView, Sourced, TargetPort,
        Workload, in_namespace, is_of_api,
    },
    output::some,
};

/// A pod that a selector matches: a pod of the input, or the template of a workload.
#[derive(Clone, Copy)]
pub(super) struct SelectedPod<'c> {
    /// The name of the Pod or of the workload.
    name: &'c str,
    pub(super) pod: &'c Pod,
    /// The workload, if this is its template.
    pub(super) template: Option<&'c Workload>,
}

impl SelectedPod<'_> {
    /// The workload that owns the pod; a pod without an owner is its own workload.
    pub(super) fn workload(&self) -> String {
        /// The label that tells the ReplicaSets of a Rollout apart, as `pod-template-hash` does for a Deployment.
        const ROLLOUT_HASH: &str = "rollouts-pod-template-hash";
        let Some(owner) = &self.pod.owner else { return format!("Pod {}", self.name) };
        let hash = self.pod.labels.get(ROLLOUT_HASH);
        match hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')) {
            Some(rollout) => format!("Rollout {rollout}"),
            // The owner of a static pod is its node.
            None if owner.kind == "Node" => "static pods".to_owned(),
            None => owner.to_string(),
        }
    }

    /// Whether the pod runs to an end, so that it does not serve.
    pub(super) fn runs_to_end(&self) -> bool {
        self.pod.owner.as_ref().is_some_and(|owner| matches!(owner.kind.as_str(), "Job" | "CronJob"))
    }
}

pub(super) struct Context<'c> {
    pub(super) input: &'c LintInput,
    pub(super) cluster: &'c ClusterState,
    /// The mesh's root namespace.
    pub(super) root_namespace: &'c str,
    /// The cluster domain.
    pub(super) domain: &'c str,
    /// The ids of all rules.
    pub(super) rule_ids: BTreeSet<&'static str>,
    /// Sorted by namespace and name.
    pub(super) services: Vec<LintedService<'c>>,
}

/// A Service with its pods and its endpoints.
pub(super) struct LintedService<'c> {
    pub(super) name: &'c NamespacedName,
    pub(super) view: ServiceView<'c>,
    /// The pods and pod templates that its selector matches, without pods that have ended.
    pub(super) pods: Vec<SelectedPod<'c>>,
    pub(super) endpoints: Vec<EndpointView<'c>>,
}

/// The subject of findings in an EndpointSlice.
pub(super) fn slice_subject<'c>(slice: &SliceView<'c>) -> Subject<'c> {
    Subject::new(slice.kind(), slice.name, slice.source)
}

impl<'c> LintedService<'c> {
    pub(super) fn subject(&self) -> Subject<'c> {
        Subject::new("Service", self.name, self.view.source).of_service(self.name)
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&'c str> {
        self.view.source.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// Whether it may be a patch of a Service: a manifest that says neither what it selects nor how it is reached.
    pub(super) fn may_be_patch(&self) -> bool {
        let view = &self.view;
        let is_reached = view.ports().next().is_some() || view.cluster_ips().next().is_some() || view.is_headless();
        !view.is_of_api() && !view.is_external_name() && view.selector().is_none() && !is_reached
    }

    /// The selected pods in words: `the 2 selected pods`, or `Deployment web`.
    pub(super) fn selected(&self) -> String {
        let templates: BTreeSet<String> =
            self.pods.iter().filter(|one| one.template.is_some()).map(SelectedPod::workload).collect();
        match (self.pods.len(), templates.len()) {
            (_, 1..) => some(templates),
            (1, 0) => "the selected pod".to_owned(),
            (count, 0) => format!("the {count} selected pods"),
        }
    }

    /// Whether it has EndpointSlices that an API server refuses for their types, or for those of their addresses.
    pub(super) fn mixes_types(&self) -> bool {
        self.view.all_slices().any(|slice| slice.mixes_types())
    }

    /// Whether any endpoint can get requests.
    pub(super) fn serves(&self) -> bool {
        self.endpoints.iter().any(EndpointView::may_serve)
    }

    /// The nodes with an endpoint that can get requests.
    pub(super) fn serving_nodes(&self) -> BTreeSet<&'c str> {
        self.endpoints.iter().filter(|endpoint| endpoint.may_serve()).filter_map(EndpointView::node).collect()
    }
}

impl<'c> Context<'c> {
    pub(super) fn new(
        input: &'c LintInput,
        domain: &'c str,
        root_namespace: &'c str,
        rule_ids: BTreeSet<&'static str>,
    ) -> Self {
        let cluster = &input.cluster;
        let pods = PodIndex::new(cluster);
        let views = cluster.service_views().filter(|view| view.source.object.spec.is_some());
        let services = views.map(|view| LintedService {
            name: view.name,
            view,
            pods: pods.selected(view),
            endpoints: view.endpoints().collect(),
        });
        Self { input, cluster, root_namespace, domain, rule_ids, services: services.collect() }
    }

    /// The Service with this name.
    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&LintedService<'c>> {
        let key = (namespace, name);
        let order = |service: &LintedService<'_>| (&*service.name.namespace, &*service.name.name).cmp(&key);
        self.services.get(self.services.binary_search_by(order).ok()?)
    }

    /// Whether a Service is missing, and the Service that is meant if it is known. Manifests may lack a Service that exists, so there
    /// its name must differ from the name of another Service as by a typo.
    pub(super) fn missing_service(&self, namespace: &str, name: &str) -> Option<MissingService<'c>> {
        if self.service(namespace, name).is_some() {
            return None;
        }
        if self.knows_services_of(namespace) {
            return Some(MissingService { meant: self.similar_service(namespace, name), is_listed: true });
        }
        // An alias may have almost the name of its target.
        let services = self.services_in(namespace).iter().filter(|service| !service.view.is_external_name());
        let mut names = services.map(|service| &*service.name.name);
        let meant = names.find(|other| is_typo(name, other))?;
        Some(MissingService { meant: Some(meant), is_listed: false })
    }

    /// The Service whose name is most similar to `name`, if one is similar.
    pub(super) fn similar_service(&self, namespace: &str, name: &str) -> Option<&'c str> {
        let names = self.services_in(namespace).iter().map(|service| &*service.name.name);
        most_similar(name, names)
    }

    /// The Services of a namespace.
    pub(super) fn services_in(&self, namespace: &str) -> &[LintedService<'c>] {
        let begin = self.services.partition_point(|service| *service.name.namespace < *namespace);
        let end = self.services.partition_point(|service| *service.name.namespace <= *namespace);
        self.services.get(begin..end).unwrap_or_default()
    }

    /// Whether a Service of `namespace` that is not in the input does not exist. The input may cover only some namespaces, and
    /// manifests may be only some of a namespace.
    pub(super) fn knows_services_of(&self, namespace: &str) -> bool {
        let is_missing = self.cluster.lists("Namespace", "") && !self.cluster.namespaces.contains_key(namespace);
        is_missing || self.cluster.lists("Service", namespace)
    }

    /// Whether the endpoints of a Service are known, even if there are none. Someone may write the EndpointSlice of a manifest later.
    pub(super) fn knows_endpoints_of(&self, service: &LintedService<'_>) -> bool {
        let file = &service.view.source.place.file;
        let lists_slices = || {
            let is_in_list = self.cluster.listed_in.contains(&("EndpointSlice", Arc::clone(file)));
            is_in_list || self.cluster.lists("EndpointSlice", &service.name.namespace)
        };
        let may_have_none = service.view.selector().is_none() && service.view.is_of_api();
        self.cluster.has_endpoints_object(service.name) || (may_have_none && lists_slices())
    }

    /// Whether an API server has no pod for the selector of `service`: the input lists the pods, or the controller of EndpointSlices found
    /// none.
    pub(super) fn has_no_pod(&self, service: &LintedService<'_>) -> bool {
        let lists_pods = || service.view.is_of_api() && self.cluster.lists("Pod", &service.name.namespace);
        let has_empty_slice = || service.view.all_slices().any(|slice| is_of_api(&slice.source.object.metadata));
        service.pods.is_empty() && service.endpoints.is_empty() && (lists_pods() || has_empty_slice())
    }

    /// The workloads of a namespace that no other workload created.
    pub(super) fn workloads_in(&self, namespace: &str) -> impl Iterator<Item = &'c Sourced<Workload>> {
        let workloads = in_namespace(&self.cluster.workloads, namespace).map(|(_, workload)| workload);
        workloads.filter(|workload| !workload.object.has_owner)
    }

    /// Workloads whose pods the input does not list: those of manifests, and those of a dump without pods.
    pub(super) fn templates(&self) -> impl Iterator<Item = (&'c NamespacedName, &'c Sourced<Workload>)> {
        templates(self.cluster)
    }
}

fn templates(cluster: &ClusterState) -> impl Iterator<Item = (&NamespacedName, &Sourced<Workload>)> {
    cluster.workloads.iter().filter(|(name, workload)| {
        let has_pods = workload.object.is_of_api && cluster.lists("Pod", &name.namespace);
        !has_pods && !workload.object.has_owner
    })
}

/// An index of pods by the labels that selectors use.
struct PodIndex<'c> {
    /// Indexes into `pods` by namespace, label and value.
    by_label: HashMap<(&'c str, &'c str, &'c str), Vec<usize>>,
    pods: Vec<SelectedPod<'c>>,
    /// The workloads of each namespace whose pods the input does not list.
    templates: HashMap<&'c str, Vec<&'c Workload>>,
}

impl<'c> PodIndex<'c> {
    fn new(cluster: &'c ClusterState) -> Self {
        let mut by_label: HashMap<_, Vec<usize>> = HashMap::new();
        for service in cluster.service_views() {
            for (key, value) in service.selector().into_iter().flatten() {
                by_label.entry((&*service.name.namespace, &**key, &**value)).or_default();
            }
        }
        let mut pods = Vec::new();
        for (name, pod) in cluster.pods.iter().filter(|(_, pod)| !pod.object.is_over()) {
            for (key, value) in &pod.object.labels {
                if let Some(numbers) = by_label.get_mut(&(&*name.namespace, &**key, &**value)) {
                    numbers.push(pods.len());
                }
            }
            pods.push(SelectedPod { name: &name.name, pod: &pod.object, template: None });
        }
        let mut by_namespace: HashMap<&str, Vec<&Workload>> = HashMap::new();
        for (name, workload) in templates(cluster) {
            by_namespace.entry(&name.namespace).or_default().push(&workload.object);
        }
        Self { by_label, pods, templates: by_namespace }
    }

    /// The pods that the selector of `service` matches. Only pods with the rarest of its labels are compared.
    fn selected(&self, service: ServiceView<'c>) -> Vec<SelectedPod<'c>> {
        let Some(selector) = service.selector() else { return Vec::new() };
        let namespace = &*service.name.namespace;
        let having = |(key, value): (&'c String, &'c String)| self.by_label.get(&(namespace, &**key, &**value));
        let rarest = selector.iter().filter_map(having).min_by_key(|numbers| numbers.len());
        let candidates = rarest.into_iter().flatten().filter_map(|number| self.pods.get(*number));
        let pods = candidates.filter(|one| one.pod.matches(selector)).copied();
        let templates = self.templates.get(namespace).into_iter().flatten().filter(|one| one.matches(selector));
        let templates = templates.map(|one| SelectedPod { name: &one.name, pod: &one.pod, template: Some(*one) });
        pods.chain(templates).collect()
    }
}

/// A Service that does not exist.
pub(super) struct MissingService<'c> {
    /// The Service that seems to be meant.
    pub(super) meant: Option<&'c str>,
    /// Whether an API server listed the Services of the namespace.
    is_listed: bool,
}

impl MissingService<'_> {
    /// What is wrong, for a message.
    pub(super) fn message(&self, namespace: &str, name: &str) -> String {
        match self.meant.filter(|_| !self.is_listed) {
            Some(meant) => format!("the manifests have no Service {namespace}/{name}, but {namespace}/{meant}"),
            None => format!("Service {namespace}/{name} does not exist"),
        }
    }
}

/// Whether two names differ as by a typo, and not as two names of a series, or as a name and its plural.
pub(super) fn is_typo(one: &str, other: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let length = one.len().min(other.len());
    let limit = if length < 6 { 1 } else { 2 };
    let is_part = |one: &str, other: &str| one.starts_with(other) || one.ends_with(other);
    length >= 3
        && letters(one) != letters(other)
        && !is_part(one, other)
        && !is_part(other, one)
        && strsim::osa_distance(one, other) <= limit
}

/// The one of `names` that is most similar to `name`, if one is similar.
pub(super) fn most_similar<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    /// Minimum Jaro-Winkler similarity, from 0 to 1.
    const SIMILAR: f64 = 0.85;
    let similar = names.map(|other| (strsim::jaro_winkler(name, other), other));
    let similar = similar.filter(|(likeness, other)| *likeness >= SIMILAR && *other != name);
    similar.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// A port as text: `80 (http, TCP)`.
pub(super) fn shown(port: &ServicePortView<'_>) -> String {
    match port.name {
        "" => format!("{} ({})", port.number, port.protocol),
        name => format!("{} ({name}, {})", port.number, port.protocol),
    }
}

/// Labels as text: `app=web, tier=front`.
pub(super) fn labels<'l>(labels: impl IntoIterator<Item = (&'l String, &'l String)>) -> String {
    labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// Whether the `targetPort` is a name that no container of the selected pods has.
pub(super) fn names_no_container_port(service: &LintedService<'_>, port: &ServicePortView<'_>) -> bool {
    /// The ports of containers that meshes add to the pods of a template.
    const INJECTED: &[&str] = &["http-envoy-prom", "linkerd-admin", "linkerd-proxy"];
    let TargetPort::Name(name) = port.target() else { return false };
    let mut ports = service.pods.iter().flat_map(|one| &one.pod.container_ports);
    let has_it = ports.any(|listed| listed.name == name && listed.protocol == port.protocol.as_str());
    let is_injected = INJECTED.contains(&name) && service.pods.iter().any(|one| one.template.is_some());
    !service.pods.is_empty() && !has_it && !is_injected
}
