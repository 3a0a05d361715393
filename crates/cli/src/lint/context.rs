//! The cluster as the rules read it: Services joined once with their pods and their endpoints.

use std::collections::{BTreeSet, HashMap};

use super::findings::Subject;
use crate::kubernetes::{
    ClusterState, EndpointView, NamespacedName, Pod, ServicePortView, ServiceView, SliceView, Sourced, TargetPort,
};

/// A pod with its name.
pub(super) type NamedPod<'c> = (&'c NamespacedName, &'c Sourced<Pod>);

pub(super) struct Context<'c> {
    pub(super) cluster: &'c ClusterState,
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
    /// The pods that its selector matches, without pods that have ended.
    pub(super) pods: Vec<NamedPod<'c>>,
    pub(super) endpoints: Vec<EndpointView<'c>>,
}

/// The subject of findings in an EndpointSlice.
pub(super) fn slice_subject<'c>(slice: &SliceView<'c>) -> Subject<'c> {
    Subject::new("EndpointSlice", slice.name, slice.source)
}

impl<'c> LintedService<'c> {
    pub(super) fn subject(&self) -> Subject<'c> {
        Subject::new("Service", self.name, self.view.source)
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&'c str> {
        self.view.source.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
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
    pub(super) fn new(cluster: &'c ClusterState, domain: &'c str, rule_ids: BTreeSet<&'static str>) -> Self {
        let pods = PodIndex::new(cluster);
        let views = cluster.service_views().filter(|view| view.source.object.spec.is_some());
        let services = views.map(|view| LintedService {
            name: view.name,
            view,
            pods: pods.selected(view),
            endpoints: view.endpoints().collect(),
        });
        Self { cluster, domain, rule_ids, services: services.collect() }
    }

    /// The Service with this name.
    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&LintedService<'c>> {
        let key = (namespace, name);
        let order = |service: &LintedService<'_>| (&*service.name.namespace, &*service.name.name).cmp(&key);
        self.services.get(self.services.binary_search_by(order).ok()?)
    }

    /// The Services of a namespace.
    pub(super) fn services_in(&self, namespace: &str) -> &[LintedService<'c>] {
        let begin = self.services.partition_point(|service| *service.name.namespace < *namespace);
        let end = self.services.partition_point(|service| *service.name.namespace <= *namespace);
        self.services.get(begin..end).unwrap_or_default()
    }

    /// Whether a Service of `namespace` that is not in the input does not exist. The input may cover only some namespaces.
    pub(super) fn knows_services_of(&self, namespace: &str) -> bool {
        let is_known_missing = self.cluster.knows("Namespace") && !self.cluster.namespaces.contains_key(namespace);
        is_known_missing || !self.services_in(namespace).is_empty()
    }
}

/// An index of pods by the labels that selectors use.
struct PodIndex<'c> {
    /// Indexes into `pods` by namespace, label and value.
    by_label: HashMap<(&'c str, &'c str, &'c str), Vec<usize>>,
    pods: Vec<NamedPod<'c>>,
}

impl<'c> PodIndex<'c> {
    fn new(cluster: &'c ClusterState) -> Self {
        let mut by_label: HashMap<_, Vec<usize>> = HashMap::new();
        for service in cluster.service_views() {
            for (key, value) in service.selector().into_iter().flatten() {
                by_label.entry((&*service.name.namespace, &**key, &**value)).or_default();
            }
        }
        let pods: Vec<NamedPod<'c>> = cluster.pods.iter().filter(|(_, pod)| !pod.object.is_over()).collect();
        for (number, (name, pod)) in pods.iter().enumerate() {
            for (key, value) in &pod.object.labels {
                if let Some(numbers) = by_label.get_mut(&(&*name.namespace, &**key, &**value)) {
                    numbers.push(number);
                }
            }
        }
        Self { by_label, pods }
    }

    /// The pods that the selector of `service` matches. Only pods with the rarest of its labels are compared.
    fn selected(&self, service: ServiceView<'c>) -> Vec<NamedPod<'c>> {
        let Some(selector) = service.selector() else { return Vec::new() };
        let namespace = &*service.name.namespace;
        let having = |(key, value): (&'c String, &'c String)| self.by_label.get(&(namespace, &**key, &**value));
        let rarest = selector.iter().filter_map(having).min_by_key(|numbers| numbers.len());
        let candidates = rarest.into_iter().flatten().filter_map(|number| self.pods.get(*number));
        candidates.filter(|(_, pod)| pod.object.matches(selector)).copied().collect()
    }
}

/// A port as text: `80 (http, TCP)`.
pub(super) fn shown(port: &ServicePortView<'_>) -> String {
    match port.name {
        "" => format!("{} ({})", port.number, port.protocol),
        name => format!("{} ({name}, {})", port.number, port.protocol),
    }
}

/// The first few items and the number of the others: `a, b, c and 4 more`.
pub(super) fn some<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 3;
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(SHOWN).map(|item| item.to_string()).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Labels as text: `app=web, tier=front`.
pub(super) fn labels<'l>(labels: impl IntoIterator<Item = (&'l String, &'l String)>) -> String {
    labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// Whether the `targetPort` is a name that no container of the selected pods has.
pub(super) fn names_no_container_port(service: &LintedService<'_>, port: &ServicePortView<'_>) -> bool {
    let TargetPort::Name(name) = port.target() else { return false };
    let mut ports = service.pods.iter().flat_map(|(_, pod)| &pod.object.container_ports);
    let has_it = ports.any(|listed| listed.name == name && listed.protocol == port.protocol.as_str());
    !service.pods.is_empty() && !has_it
}
