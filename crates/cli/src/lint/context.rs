//! What the rules ask of a cluster, joined once: Services with their pods and their endpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::findings::Subject;
use crate::kubernetes::{ClusterState, NamespacedName, Pod, Sourced};

/// A pod and what it is called.
pub(super) type NamedPod<'c> = (&'c NamespacedName, &'c Sourced<Pod>);

pub(super) struct Context<'c> {
    pub(super) cluster: &'c ClusterState,
    /// The cluster domain.
    pub(super) domain: &'c str,
    /// The ids of all rules.
    pub(super) rule_ids: BTreeSet<&'static str>,
    /// By namespace and name.
    pub(super) services: Vec<View<'c>>,
}

/// A Service and what belongs to it.
pub(super) struct View<'c> {
    pub(super) name: &'c NamespacedName,
    pub(super) service: &'c Sourced<Service>,
    pub(super) spec: &'c ServiceSpec,
    pub(super) form: ServiceForm,
    /// Those that its selector matches and that have not ended.
    pub(super) pods: Vec<NamedPod<'c>>,
    pub(super) endpoints: Vec<EndpointView<'c>>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceForm {
    /// By another name.
    ExternalName,
    /// By the addresses of its pods.
    Headless,
    /// By an address of its own.
    Virtual,
}

/// An endpoint, and what its conditions come to.
pub(super) struct EndpointView<'c> {
    pub(super) slice_name: &'c NamespacedName,
    pub(super) slice: &'c Sourced<EndpointSlice>,
    /// Its place in the slice.
    pub(super) index: usize,
    pub(super) endpoint: &'c Endpoint,
    pub(super) is_ready: bool,
    /// Whether it may serve where none is ready.
    pub(super) serves_still: bool,
}

impl<'c> EndpointView<'c> {
    pub(super) fn subject(&self) -> Subject<'c> {
        Subject::new("EndpointSlice", self.slice_name, self.slice)
    }

    pub(super) fn field(&self) -> String {
        format!("endpoints[{}]", self.index)
    }

    /// The first address: the one that is used.
    pub(super) fn address(&self) -> &'c str {
        self.endpoint.addresses.first().map_or("", String::as_str)
    }

    pub(super) fn node(&self) -> Option<&'c str> {
        self.endpoint.node_name.as_deref().filter(|node| !node.is_empty())
    }
}

impl<'c> View<'c> {
    pub(super) fn subject(&self) -> Subject<'c> {
        Subject::new("Service", self.name, self.service)
    }

    /// Its selector; `None` where it has none, or one that selects nothing.
    pub(super) fn selector(&self) -> Option<&'c BTreeMap<String, String>> {
        self.spec.selector.as_ref().filter(|selector| !selector.is_empty())
    }

    /// Its ports, each with its field.
    pub(super) fn ports(&self) -> impl Iterator<Item = (String, &'c ServicePort)> + use<'c> {
        let ports = self.spec.ports.iter().flatten().enumerate();
        ports.map(|(index, port)| (format!("spec.ports[{index}]"), port))
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&'c str> {
        self.service.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    pub(super) fn type_(&self) -> &'c str {
        self.spec.type_.as_deref().unwrap_or("ClusterIP")
    }

    /// Whether any endpoint would be sent requests.
    pub(super) fn serves(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.is_ready || endpoint.serves_still)
    }

    /// Nodes with an endpoint that would be sent requests.
    pub(super) fn serving_nodes(&self) -> BTreeSet<&'c str> {
        let serving = self.endpoints.iter().filter(|endpoint| endpoint.is_ready || endpoint.serves_still);
        serving.filter_map(EndpointView::node).collect()
    }
}

impl<'c> Context<'c> {
    pub(super) fn new(cluster: &'c ClusterState, domain: &'c str, rule_ids: BTreeSet<&'static str>) -> Self {
        let pods = PodIndex::new(cluster);
        let services = cluster.services.iter().filter_map(|(name, service)| {
            let spec = service.object.spec.as_ref()?;
            Some(View {
                name,
                service,
                spec,
                form: form(spec),
                pods: pods.selected(name, spec),
                endpoints: endpoints(cluster, name, spec),
            })
        });
        Self { cluster, domain, rule_ids, services: services.collect() }
    }

    /// The Service called so.
    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&View<'c>> {
        let key = (namespace, name);
        let order = |view: &View<'_>| (&*view.name.namespace, &*view.name.name).cmp(&key);
        self.services.get(self.services.binary_search_by(order).ok()?)
    }

    /// The Services of a namespace.
    pub(super) fn services_in(&self, namespace: &str) -> &[View<'c>] {
        let begin = self.services.partition_point(|view| *view.name.namespace < *namespace);
        let end = self.services.partition_point(|view| *view.name.namespace <= *namespace);
        self.services.get(begin..end).unwrap_or_default()
    }

    /// Whether that a Service is not here means that it is nowhere. What was read may be one namespace of many.
    pub(super) fn knows_services_of(&self, namespace: &str) -> bool {
        let is_known_missing = self.cluster.knows("Namespace") && !self.cluster.namespaces.contains_key(namespace);
        is_known_missing || !self.services_in(namespace).is_empty()
    }
}

fn form(spec: &ServiceSpec) -> ServiceForm {
    if spec.type_.as_deref() == Some("ExternalName") {
        ServiceForm::ExternalName
    } else if spec.cluster_ip.as_deref() == Some("None") {
        ServiceForm::Headless
    } else {
        ServiceForm::Virtual
    }
}

fn endpoints<'c>(cluster: &'c ClusterState, name: &NamespacedName, spec: &ServiceSpec) -> Vec<EndpointView<'c>> {
    let counts_all = spec.publish_not_ready_addresses == Some(true);
    let slices = cluster.slices_of(name);
    let endpoints = slices.flat_map(|(slice_name, slice)| {
        let endpoints = slice.object.endpoints.iter().flatten().enumerate();
        endpoints.map(move |(index, endpoint)| {
            let conditions = endpoint.conditions.as_ref();
            // What is not said: ready, serving, not terminating, as kube-proxy reads it.
            let is = |condition: fn(&k8s_openapi::api::discovery::v1::EndpointConditions) -> Option<bool>| {
                conditions.and_then(condition)
            };
            EndpointView {
                slice_name,
                slice,
                index,
                endpoint,
                is_ready: counts_all || is(|c| c.ready).unwrap_or(true),
                serves_still: is(|c| c.terminating).unwrap_or(false) && is(|c| c.serving).unwrap_or(true),
            }
        })
    });
    endpoints.collect()
}

/// Pods by the labels that selectors ask for.
struct PodIndex<'c> {
    /// Numbers of pods by namespace, label and value.
    by_label: HashMap<(&'c str, &'c str, &'c str), Vec<usize>>,
    pods: Vec<NamedPod<'c>>,
}

impl<'c> PodIndex<'c> {
    fn new(cluster: &'c ClusterState) -> Self {
        let mut by_label: HashMap<_, Vec<usize>> = HashMap::new();
        for (name, service) in &cluster.services {
            let selector = service.object.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            for (key, value) in selector.into_iter().flatten() {
                by_label.entry((&*name.namespace, &**key, &**value)).or_default();
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

    /// By the rarest of the labels first.
    fn selected(&self, name: &'c NamespacedName, spec: &'c ServiceSpec) -> Vec<NamedPod<'c>> {
        let Some(selector) = spec.selector.as_ref() else { return Vec::new() };
        let having = |(key, value): (&'c String, &'c String)| self.by_label.get(&(&*name.namespace, &**key, &**value));
        let rarest = selector.iter().filter_map(having).min_by_key(|numbers| numbers.len());
        let candidates = rarest.into_iter().flatten().filter_map(|number| self.pods.get(*number));
        candidates.filter(|(_, pod)| pod.object.matches(selector)).copied().collect()
    }
}

/// `TCP` where a port says nothing.
pub(super) fn protocol(protocol: Option<&String>) -> &str {
    protocol.map_or("TCP", String::as_str)
}

/// The slice's port of a Service's port: they are joined by name and protocol, and one without a number is none.
pub(super) fn joined(slice: &EndpointSlice, port: &ServicePort) -> Option<i32> {
    let is_it = |one: &&EndpointPort| {
        one.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
            && protocol(one.protocol.as_ref()) == protocol(port.protocol.as_ref())
    };
    let port = slice.ports.iter().flatten().find(is_it)?;
    port.port.filter(|number| *number != 0)
}

/// `80 (http, TCP)`.
pub(super) fn shown(port: &ServicePort) -> String {
    let protocol = protocol(port.protocol.as_ref());
    match port.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => format!("{} ({name}, {protocol})", port.port),
        None => format!("{} ({protocol})", port.port),
    }
}

/// A target port as it is written; `None` where there is none, which means the port's own number.
pub(super) fn target(port: &ServicePort) -> Option<String> {
    port.target_port.as_ref().map(|target| match target {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    })
}

/// The first few of `items`, and how many more there are: `a, b, c and 4 more`.
pub(super) fn some<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 3;
    let mut items = items.into_iter();
    let shown: Vec<String> = items.by_ref().take(SHOWN).map(|item| item.to_string()).collect();
    match items.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// `app=web, tier=front`.
pub(super) fn labels<'l>(labels: impl IntoIterator<Item = (&'l String, &'l String)>) -> String {
    labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

/// Whether a port leads to a name that no container of the selected pods has.
pub(super) fn names_no_container_port(view: &View<'_>, port: &ServicePort) -> bool {
    let Some(IntOrString::String(name)) = &port.target_port else { return false };
    let has_it = |view: &View<'_>| {
        let mut ports = view.pods.iter().flat_map(|(_, pod)| &pod.object.container_ports);
        ports.any(|listed| listed.name == *name && listed.protocol == protocol(port.protocol.as_ref()))
    };
    !view.pods.is_empty() && !has_it(view)
}
