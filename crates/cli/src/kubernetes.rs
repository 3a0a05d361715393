//! The known state of a cluster: the objects that decide how names resolve, by namespace and name, with their places in the input.

mod address_type;
mod endpoint_view;
mod endpoints_object;
mod export_to;
mod lines;
mod mesh_rule;
mod metadata;
mod name;
mod node;
mod object_error;
mod pod;
mod port_view;
mod qualified_name;
mod raw_pod;
mod reference_grant;
mod remark;
mod route;
mod service_view;
mod slice_view;
mod sourced;
mod used_fields;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Service},
        discovery::v1::EndpointSlice,
        networking::v1::Ingress,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::de::DeserializeOwned;

pub(crate) use self::metadata::GENERATED;
use self::metadata::{DEFAULT_NAMESPACE, generate_name, is_raw_of_api, namespace_of};
pub use self::{
    address_type::AddressType,
    endpoint_view::{Conditions, EndpointView},
    endpoints_object::EndpointsObject,
    export_to::{EXPORT_TO, EXPORT_TO_FIX, Visibility},
    lines::Lines,
    mesh_rule::MeshRule,
    metadata::is_of_api,
    name::{NamespacedName, ObjectName},
    node::Node,
    object_error::ObjectError,
    pod::{ContainerPort, DNS_POLICIES, DnsPolicy, LIBC_NDOTS, NdotsOption, Owner, Pod},
    port_view::{AppProtocol, ServicePortView, SlicePortView, TargetPort, TransportProtocol},
    qualified_name::{is_label_value, is_qualified_name, is_subdomain},
    raw_pod::{containers, is_running},
    reference_grant::ReferenceGrant,
    remark::Remark,
    route::{BackendRef, GatewayRoute, ParentRef, RouteTargetPort},
    service_view::{ServiceForm, ServiceView},
    slice_view::SliceView,
    sourced::{Objects, Sourced},
    used_fields::read_used,
    workload::Workload,
};
use crate::input::{self, Excluded, InputError, InputErrors, LeftOut, RawObject, ReadOptions, Source, SourceLocation};

/// The label of an EndpointSlice that names its Service (KEP-752).
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Annotations that are kept of Namespaces that are missing and have no Services.
const KEPT_EXPORTS: usize = 10_000;
/// kubectl's own copy of an object: as large as the object, and of no use here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether byname reads objects of this `apiVersion` and kind. An empty `apiVersion` is unknown.
#[must_use]
pub fn is_read(api_version: &str, kind: &str) -> bool {
    let group = match kind {
        "Namespace" => "",
        "Ingress" => "networking.k8s.io",
        "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute" | "ReferenceGrant" => "gateway.networking.k8s.io",
        "Route" => "route.openshift.io",
        _ => return decides_names(api_version, kind),
    };
    is_of_group(api_version, group)
}

/// Whether objects of this `apiVersion` and kind decide what names resolve to, and which endpoints serve them. Of the kinds that
/// byname reads, the others are ways in from outside. An empty `apiVersion` is unknown.
#[must_use]
pub fn decides_names(api_version: &str, kind: &str) -> bool {
    let group = match kind {
        "Service" | "Endpoints" | "Pod" | "Node" => "",
        "EndpointSlice" => "discovery.k8s.io",
        _ => return false,
    };
    is_of_group(api_version, group)
}

fn is_of_group(api_version: &str, group: &str) -> bool {
    api_version.is_empty() || group == group_and_version(api_version).0
}

fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.rsplit_once('/').unwrap_or(("", api_version))
}

/// The known state of a cluster.
#[derive(Clone, Debug, Default)]
pub struct ClusterState {
    /// Services.
    pub services: Objects<Service>,
    /// EndpointSlices.
    pub slices: Objects<EndpointSlice>,
    /// Whether the EndpointSlices are complete, as from the API. A dump may lack some.
    pub knows_all_slices: bool,
    /// The EndpointSlices of each Service.
    pub slices_of: BTreeMap<NamespacedName, BTreeSet<NamespacedName>>,
    /// Endpoints objects, by the name of their Service.
    pub endpoints: BTreeMap<NamespacedName, EndpointsObject>,
    /// Pods.
    pub pods: Objects<Pod>,
    /// Objects with a pod template, by `kind/name`.
    pub workloads: Objects<Workload>,
    /// Nodes, by name.
    pub nodes: BTreeMap<String, Sourced<Node>>,
    /// Ingresses.
    pub ingresses: Objects<Ingress>,
    /// Routes of the Gateway API and of OpenShift, by `kind/name`.
    pub routes: Objects<GatewayRoute>,
    /// ReferenceGrants.
    pub grants: Objects<ReferenceGrant>,
    /// Rules of a mesh for hosts, by `kind/name`.
    pub mesh_rules: Objects<MeshRule>,
    /// Namespace objects, with their places in the input.
    pub namespaces: BTreeMap<String, SourceLocation>,
    /// The values of [`EXPORT_TO`] of Namespace objects.
    pub namespace_exports: BTreeMap<String, String>,
    /// Annotations for byname, by object.
    pub remarks: BTreeMap<ObjectName, Vec<Remark>>,
    /// The kinds and namespaces of objects that came from an API server, which lists all objects of a kind.
    pub listed: BTreeSet<(&'static str, String)>,
    /// The kinds and files of these objects.
    pub listed_in: BTreeSet<(&'static str, Arc<str>)>,
    /// The number of objects of each kind that byname reads.
    pub read: BTreeMap<&'static str, usize>,
    /// The number of objects of each kind that byname ignores.
    pub skipped: BTreeMap<String, usize>,
    /// The number of objects whose names the API server will make, by kind, namespace and beginning of the name.
    pub(crate) generated: BTreeMap<ObjectName, usize>,
}

impl ClusterState {
    /// Keeps the annotations that Namespaces had in `before` and that are missing now. A Service must not become visible because the object
    /// that hides it is missing; it counts again once it is there.
    pub(crate) fn keep_exports(&mut self, before: &BTreeMap<String, String>) {
        for (namespace, export) in before {
            if !self.namespaces.contains_key(namespace) {
                self.namespace_exports.entry(namespace.clone()).or_insert_with(|| export.clone());
            }
        }
        self.bound_exports();
    }

    /// Forgets annotations of Namespaces that are missing and have no Services, if there are too many.
    pub(crate) fn bound_exports(&mut self) {
        let Self { namespaces, namespace_exports, services, .. } = self;
        if namespace_exports.len() > namespaces.len() + KEPT_EXPORTS {
            let used: BTreeSet<&str> = services.keys().map(|name| &*name.namespace).collect();
            namespace_exports.retain(|name, _| namespaces.contains_key(name) || used.contains(&**name));
        }
    }

    /// Reads a cluster, and reports the bytes read to `progress`. Leaves nothing out.
    ///
    /// # Errors
    /// If the input is invalid: every error in it.
    pub fn read(sources: &[Source], progress: &mut dyn FnMut(u64)) -> Result<Self, InputErrors> {
        let options = ReadOptions { is_needed: is_read, excluded: Excluded::default(), is_strict: true };
        Self::read_with(sources, &options, progress).map(|(cluster, _)| cluster)
    }

    /// Reads a cluster with `options`, and reports the bytes read to `progress`. Returns what was left out as well.
    ///
    /// # Errors
    /// If an object that is needed is invalid: every error in the input.
    pub fn read_with(
        sources: &[Source],
        options: &ReadOptions,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(Self, LeftOut), InputErrors> {
        let mut cluster = Self::default();
        let left_out = input::read(sources, options, progress, &mut |object| cluster.add(object))?;
        Ok((cluster, left_out))
    }

    /// Whether the input has objects of this kind. A dump of Services without Pods does not mean that no Pod exists.
    #[must_use]
    pub fn knows(&self, kind: &str) -> bool {
        self.read.contains_key(kind)
    }

    /// Whether the input has pods, or workloads with templates of pods.
    #[must_use]
    pub fn knows_pods(&self) -> bool {
        self.knows("Pod") || self.knows("Workload")
    }

    /// The annotation that says which namespaces see the Service: its own, or else that of its Namespace; and whether it is its own.
    #[must_use]
    pub fn export_to(&self, name: &NamespacedName) -> Option<(&str, bool)> {
        let annotations = self.services.get(name).and_then(|service| service.object.metadata.annotations.as_ref());
        let own = annotations.and_then(|all| Some((all.get(EXPORT_TO)?.as_str(), true)));
        own.or_else(|| Some((self.namespace_exports.get(&name.namespace)?.as_str(), false)))
    }

    /// Whether a namespace has no other objects of this kind than those in the input. Manifests do not say so: some objects of the
    /// namespace may be elsewhere. Objects from an API server, which have a `uid`, come from a list of all of them.
    #[must_use]
    pub fn lists(&self, kind: &str, namespace: &str) -> bool {
        self.listed.contains(&(kind, namespace.to_owned()))
    }

    /// Whether the input has a list of this kind, of any namespace.
    #[must_use]
    pub fn lists_any(&self, kind: &'static str) -> bool {
        self.listed.range((kind, String::new())..).next().is_some_and(|(listed, _)| *listed == kind)
    }

    /// The ReferenceGrant that permits a route of this kind in the namespace `from` to refer to `service`.
    #[must_use]
    pub fn grant(&self, kind: &str, from: &str, service: &NamespacedName) -> Option<&NamespacedName> {
        let mut grants = in_namespace(&self.grants, &service.namespace);
        grants.find(|(_, grant)| grant.object.permits(kind, from, &service.name)).map(|(name, _)| name)
    }

    /// Whether a ReferenceGrant of `namespace` that is not in the input does not exist.
    #[must_use]
    pub fn lists_grants_of(&self, namespace: &str) -> bool {
        let has_grants = self.lists_any("ReferenceGrant") && self.lists("Service", namespace);
        has_grants || self.lists("ReferenceGrant", namespace)
    }

    /// The pods of a namespace, by name.
    pub fn pods_of<'c>(&'c self, namespace: &str) -> impl Iterator<Item = (&'c NamespacedName, &'c Sourced<Pod>)> {
        in_namespace(&self.pods, namespace)
    }

    /// Whether the endpoints of this Service are known, even if there are none. The control plane keeps an EndpointSlice for every
    /// Service with a selector, so that the input is incomplete if such a Service has none. A Service without a selector has an
    /// EndpointSlice only if someone wrote one.
    #[must_use]
    pub fn knows_endpoints_of(&self, service: &NamespacedName) -> bool {
        let has_selector = || self.service(service).is_some_and(|service| service.selector().is_some());
        self.has_endpoints_object(service) || self.knows_all_slices || (!has_selector() && self.knows("EndpointSlice"))
    }

    /// Whether the input has an EndpointSlice of this Service, or an Endpoints object in its place.
    #[must_use]
    pub fn has_endpoints_object(&self, service: &NamespacedName) -> bool {
        let endpoints = || self.endpoints.get(service).zip(self.service(service));
        self.slices_of.contains_key(service)
            || endpoints().is_some_and(|(endpoints, service)| service.counts(endpoints))
    }

    /// Every namespace that has a Namespace object, a Service or a Pod, in order.
    #[must_use]
    pub fn all_namespaces(&self) -> BTreeSet<&str> {
        let of_services = self.services.keys().map(|name| &*name.namespace);
        let of_pods = self.pods.keys().map(|name| &*name.namespace);
        self.namespaces.keys().map(String::as_str).chain(of_services).chain(of_pods).collect()
    }

    /// Whether an object was read from an API server: it is of a listed kind and namespace.
    #[must_use]
    pub fn has_read_from_api(&self, object: &ObjectName) -> bool {
        let name = NamespacedName::new(&object.namespace, &object.name);
        match object.kind.as_str() {
            "Service" => self.service(&name).is_some_and(|service| service.is_of_api()),
            "EndpointSlice" => self.slices.get(&name).is_some_and(|slice| is_of_api(&slice.object.metadata)),
            kind => {
                let kind = match kind {
                    "Pod" | "Node" | "Namespace" | "Ingress" | "Endpoints" => kind,
                    "WasmPlugin" | "TrafficExtension" | "EnvoyFilter" => kind,
                    kind if kind.ends_with("Route") => "Route",
                    _ => "Workload",
                };
                self.lists(kind, &object.namespace)
            }
        }
    }

    /// The Service of this name.
    #[must_use]
    pub fn service(&self, name: &NamespacedName) -> Option<ServiceView<'_>> {
        let (name, source) = self.services.get_key_value(name)?;
        Some(self.view(name, source))
    }

    /// The Services, by name.
    pub fn service_views(&self) -> impl Iterator<Item = ServiceView<'_>> {
        self.services.iter().map(|(name, source)| self.view(name, source))
    }

    fn view<'c>(&'c self, name: &'c NamespacedName, source: &'c Sourced<Service>) -> ServiceView<'c> {
        ServiceView::new(name, source, &self.slices, self.slices_of.get(name), self.endpoints.get(name))
    }

    /// All EndpointSlices of the input, including EndpointSlices that name no Service.
    pub fn slice_views(&self) -> impl Iterator<Item = SliceView<'_>> {
        self.slices.iter().map(|(name, source)| SliceView::new(name, source))
    }

    /// The endpoints of all EndpointSlices, including EndpointSlices that name no Service, and of the Endpoints objects of
    /// Services.
    pub fn endpoint_views(&self) -> impl Iterator<Item = EndpointView<'_>> {
        let services = self.endpoints.keys().filter_map(|name| self.service(name));
        let mirrors = services.flat_map(|service| service.all_slices()).filter(|slice| slice.mirror.is_some());
        self.slice_views().chain(mirrors).filter(SliceView::counts).flat_map(|slice| slice.endpoints())
    }

    /// Inserts an EndpointSlice, and replaces one of the same name.
    pub fn put_slice(&mut self, name: NamespacedName, slice: Sourced<EndpointSlice>) {
        self.remove_slice(&name);
        if let Some(service) = service_of(&name, &slice.object) {
            self.slices_of.entry(service).or_default().insert(name.clone());
        }
        self.slices.insert(name, slice);
    }

    /// Removes an EndpointSlice.
    pub fn remove_slice(&mut self, name: &NamespacedName) {
        let Some(old) = self.slices.remove(name) else { return };
        if let Some(service) = service_of(name, &old.object)
            && let Some(names) = self.slices_of.get_mut(&service)
        {
            names.remove(name);
            if names.is_empty() {
                self.slices_of.remove(&service);
            }
        }
    }

    /// Records that all objects of this kind were read from the API that is called `file`, even if there are none.
    pub fn mark_complete(&mut self, kind: &'static str, file: &Arc<str>) {
        self.read.entry(kind).or_default();
        self.listed_in.insert((kind, Arc::clone(file)));
        self.knows_all_slices |= kind == "EndpointSlice";
        let of_cluster = [String::new()].into_iter();
        let namespaces = self.all_namespaces().into_iter().map(str::to_owned).chain(of_cluster);
        let listed: Vec<_> = namespaces.map(|namespace| (kind, namespace)).collect();
        self.listed.extend(listed);
    }

    /// Adds an object from the input.
    ///
    /// # Errors
    /// If the object does not fit its kind, or differs from an earlier object of the same name.
    pub fn add(&mut self, mut raw: RawObject) -> Result<(), InputError> {
        if let Some(metadata) = raw.node.get_mut("metadata") {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations") {
                annotations.remove(LAST_APPLIED);
            }
        }
        if raw.api_version.is_empty() {
            let problem = InputError::at(&raw.place, "is not set", "write it as kubectl prints it, such as v1");
            return Err(problem.with_object(raw.kind.as_str()).with_field("apiVersion"));
        }
        self.name_generated(&mut raw)?;
        match remark::of(&raw) {
            Some((name, remarks)) => _ = self.remarks.insert(name, remarks),
            // An earlier state of the object may have had some.
            None if !self.remarks.is_empty() && is_read(&raw.api_version, &raw.kind) => {
                ObjectName::of_raw(&raw).and_then(|name| self.remarks.remove(&name));
            }
            None => {}
        }
        let api_version = raw.api_version.clone();
        let (group, version) = group_and_version(&api_version);
        match (group, raw.kind.as_str()) {
            // Every version of the Gateway API has the fields that byname reads.
            (
                "" | "discovery.k8s.io" | "networking.k8s.io",
                kind @ ("Service" | "EndpointSlice" | "Endpoints" | "Pod" | "Node" | "Ingress"),
            ) if version != "v1" => {
                *self.skipped.entry(format!("{kind} of {}", raw.api_version)).or_default() += 1;
                Ok(())
            }
            ("", "Service") => {
                self.count("Service", &raw);
                let (name, object) = namespaced(&raw, |service: &Service| &service.metadata)?;
                add(&mut self.services, "Service", name, object)
            }
            ("discovery.k8s.io", "EndpointSlice") => {
                self.count("EndpointSlice", &raw);
                let (name, object) = namespaced(&raw, |slice: &EndpointSlice| &slice.metadata)?;
                match self.slices.get(&name) {
                    Some(earlier) if object.replaces(earlier) => self.put_slice(name, object),
                    _ => {
                        if let Some(service) = service_of(&name, &object.object) {
                            self.slices_of.entry(service).or_default().insert(name.clone());
                        }
                        add(&mut self.slices, "EndpointSlice", name, object)?;
                    }
                }
                Ok(())
            }
            ("", "Endpoints") => {
                self.count("Endpoints", &raw);
                let (name, object) = namespaced(&raw, |endpoints: &Endpoints| &endpoints.metadata)?;
                let endpoints = EndpointsObject::of(object);
                match self.endpoints.entry(name) {
                    Entry::Vacant(free) => drop(free.insert(endpoints)),
                    Entry::Occupied(other) if other.get().is_same(&endpoints) => {}
                    Entry::Occupied(mut other) if endpoints.source.replaces(&other.get().source) => {
                        other.insert(endpoints);
                    }
                    Entry::Occupied(other) => {
                        return Err(differs("Endpoints", other.key(), &other.get().source, &endpoints.source));
                    }
                }
                Ok(())
            }
            ("", "Pod") => {
                self.count("Pod", &raw);
                let (name, pod) = namespaced(&raw, |pod: &k8s_openapi::api::core::v1::Pod| &pod.metadata)?;
                add(&mut self.pods, "Pod", name, pod.map(Pod::of))
            }
            ("", "Node") => {
                self.count("Node", &raw);
                let node: Sourced<k8s_openapi::api::core::v1::Node> = sourced(&raw)?;
                let name = named(&raw, &node.object.metadata)?;
                add(&mut self.nodes, "Node", name, node.map(Node::of))
            }
            ("networking.k8s.io", "Ingress") => {
                self.count("Ingress", &raw);
                let (name, object) = namespaced(&raw, |ingress: &Ingress| &ingress.metadata)?;
                add(&mut self.ingresses, "Ingress", name, object)
            }
            ("gateway.networking.k8s.io", "ReferenceGrant") => {
                self.count("ReferenceGrant", &raw);
                let grant: Sourced<reference_grant::ReferenceGrantObject> = sourced(&raw)?;
                let name = key("", &raw, &grant.object.metadata)?;
                add(&mut self.grants, "ReferenceGrant", name, grant.map(|grant| grant.into_grant()))
            }
            ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TLSRoute" | "TCPRoute")
            | ("route.openshift.io", "Route") => {
                self.count("Route", &raw);
                let route: Sourced<route::RouteObject> = sourced(&raw)?;
                let name = key(&format!("{}/", raw.kind), &raw, &route.object.metadata)?;
                add(&mut self.routes, "Route", name, route.map(|route| route.into_route(&raw.kind)))
            }
            ("", "Namespace") => {
                self.count("Namespace", &raw);
                let metadata: Sourced<MetadataAlone> = sourced(&raw)?;
                let name = named(&raw, &metadata.object.metadata)?;
                match metadata.object.metadata.annotations.and_then(|mut annotations| annotations.remove(EXPORT_TO)) {
                    Some(export) => _ = self.namespace_exports.insert(name.clone(), export),
                    None => _ = self.namespace_exports.remove(&name),
                }
                self.namespaces.insert(name, raw.place);
                Ok(())
            }
            // Only an empty list of them is an object of its own.
            ("discovery.k8s.io", "EndpointSliceList") => {
                self.read.entry("EndpointSlice").or_default();
                Ok(())
            }
            (group, kind) if mesh_rule::is_mesh_rule(group, kind) => {
                let rule = sourced::<mesh_rule::MeshRuleObject>(&raw)?;
                self.count("MeshRule", &raw);
                let name = key(&format!("{}/", raw.kind), &raw, &rule.object.metadata)?;
                let Some(rule) = rule.filter_map(|rule| rule.into_rule(&raw.kind)) else { return Ok(()) };
                add(&mut self.mesh_rules, "rule", name, rule)
            }
            (group, kind) => {
                if let Some(kind) = proxy_extension(group, kind) {
                    self.count(kind, &raw);
                    return Ok(());
                }
                let Some(kind) = workload::kind(group, kind) else { return self.skip(raw) };
                let workload = sourced::<workload::WorkloadObject>(&raw)?;
                self.count("Workload", &raw);
                let name = key(&format!("{kind}/"), &raw, &workload.object.metadata)?;
                if let Some(workload) = workload.filter_map(|workload| workload.into_workload(kind)) {
                    // Overlays of one workload may all be in a directory. The first one counts.
                    self.workloads.entry(name).or_insert(workload);
                }
                Ok(())
            }
        }
    }

    /// Gives a name to an object whose name the API server will make: `web-*`, the next one `web-*2`.
    fn name_generated(&mut self, raw: &mut RawObject) -> Result<(), InputError> {
        let Some(beginning) = generate_name(raw) else { return Ok(()) };
        let is_needed = matches!(raw.kind.as_str(), "Service" | "Endpoints" | "Node" | "Namespace");
        if is_needed && is_read(&raw.api_version, &raw.kind) {
            let problem = InputError::at(&raw.place, "has no name until it is created", "set metadata.name");
            return Err(problem.with_object(raw.kind.as_str()).with_field("metadata.generateName").skippable());
        }
        let before = self.generated.entry(ObjectName::new(&raw.kind, namespace_of(raw), beginning)).or_default();
        *before += 1;
        let name = match *before {
            1 => format!("{beginning}{GENERATED}"),
            number => format!("{beginning}{GENERATED}{number}"),
        };
        if let Some(metadata) = raw.node.get_mut("metadata") {
            metadata.set_text("name", name);
        }
        Ok(())
    }

    fn skip(&mut self, raw: RawObject) -> Result<(), InputError> {
        // A kind of another group may share its name with one that byname reads.
        let called = if is_read("", &raw.kind) { format!("{} of {}", raw.kind, raw.api_version) } else { raw.kind };
        *self.skipped.entry(called).or_default() += 1;
        Ok(())
    }

    fn count(&mut self, kind: &'static str, raw: &RawObject) {
        *self.read.entry(kind).or_default() += 1;
        if is_raw_of_api(raw) {
            self.listed.insert((kind, namespace_of(raw).to_owned()));
            self.listed_in.insert((kind, Arc::clone(&raw.place.file)));
        }
    }
}

/// The kind of an object that extends the proxies of Istio. Only the folder `istio` reads what it holds.
fn proxy_extension(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("extensions.istio.io", "WasmPlugin") => Some("WasmPlugin"),
        ("extensions.istio.io", "TrafficExtension") => Some("TrafficExtension"),
        ("networking.istio.io", "EnvoyFilter") => Some("EnvoyFilter"),
        _ => None,
    }
}

/// The key of an object beside objects of other kinds, which may have the same name.
fn key(prefix: &str, raw: &RawObject, metadata: &ObjectMeta) -> Result<NamespacedName, InputError> {
    let namespace = metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    Ok(NamespacedName::new(namespace, &format!("{prefix}{}", named(raw, metadata)?)))
}

/// The Service of an EndpointSlice, from its label: the name of the EndpointSlice is arbitrary.
pub(crate) fn service_of(name: &NamespacedName, slice: &EndpointSlice) -> Option<NamespacedName> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(NamespacedName::new(&name.namespace, service))
}

#[derive(serde::Deserialize)]
struct MetadataAlone {
    metadata: ObjectMeta,
}

fn add<K: Ord + std::fmt::Display, T: PartialEq>(
    objects: &mut BTreeMap<K, Sourced<T>>,
    kind: &str,
    name: K,
    object: Sourced<T>,
) -> Result<(), InputError> {
    match objects.entry(name) {
        Entry::Vacant(free) => {
            free.insert(object);
            Ok(())
        }
        // Two dumps of one cluster may both have the object.
        Entry::Occupied(other) if other.get().object == object.object => Ok(()),
        Entry::Occupied(mut other) if object.replaces(other.get()) => {
            other.insert(object);
            Ok(())
        }
        Entry::Occupied(other) => Err(differs(kind, other.key(), other.get(), &object)),
    }
}

/// The error of a second object of one name.
fn differs<T>(kind: &str, name: &impl std::fmt::Display, earlier: &Sourced<T>, later: &Sourced<T>) -> InputError {
    let reason = format!("differs from the object of the same name at {}", earlier.place);
    let key = name.to_string();
    // Routes and rules are keyed by `kind/name`.
    let object = match *key.split('/').collect::<Vec<_>>().as_slice() {
        [namespace, kind, name] => format!("{kind} {namespace}/{name}"),
        _ => format!("{kind} {key}"),
    };
    let problem = InputError::at(&later.place, reason, "keep one of the two").with_object(object);
    if earlier.place.file == later.place.file { problem } else { problem.of_two_files() }
}

fn namespaced<T: DeserializeOwned>(
    raw: &RawObject,
    metadata: impl Fn(&T) -> &ObjectMeta,
) -> Result<(NamespacedName, Sourced<T>), InputError> {
    let object: Sourced<T> = sourced(raw)?;
    let meta = metadata(&object.object);
    let namespace = meta.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    Ok((NamespacedName::new(namespace, &named(raw, meta)?), object))
}

fn named(raw: &RawObject, metadata: &ObjectMeta) -> Result<String, InputError> {
    metadata.name.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
        let problem = InputError::at(&raw.place, "is missing", "set a name");
        problem.with_object(raw.kind.as_str()).with_field("metadata.name")
    })
}

fn sourced<T: DeserializeOwned>(raw: &RawObject) -> Result<Sourced<T>, InputError> {
    let called = || match (raw.metadata("namespace"), raw.metadata("name")) {
        (Some(namespace), Some(name)) => format!("{} {namespace}/{name}", raw.kind),
        (None, Some(name)) => format!("{} {name}", raw.kind),
        (_, None) => raw.kind.clone(),
    };
    if let Some(field) = &raw.repeated {
        return Err(field.problem(&raw.place).with_object(called()));
    }
    let object = read_used(&raw.kind, &raw.node).map_err(|unreadable| {
        let fix = unreadable.fix().unwrap_or("correct the field to match the Kubernetes API");
        InputError::at(&raw.place, &*unreadable.why, fix)
            .at_line(unreadable.line)
            .with_object(called())
            .with_field(unreadable.field)
    })?;
    Ok(Sourced::new(object, raw))
}

/// The objects of a namespace, by name.
pub fn in_namespace<'c, T>(
    objects: &'c Objects<T>,
    namespace: &str,
) -> impl Iterator<Item = (&'c NamespacedName, &'c Sourced<T>)> + use<'c, T> {
    let namespace = namespace.to_owned();
    let from = objects.range(NamespacedName::new(&namespace, "")..);
    from.take_while(move |(name, _)| name.namespace == namespace)
}

/// The place of objects that come from the Kubernetes API.
#[must_use]
pub fn from_api() -> SourceLocation {
    SourceLocation { file: Arc::from("Kubernetes API"), document: 0, item: None, line: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_of_a_missing_namespace_counts_until_the_namespace_is_back() {
        let place: SourceLocation = from_api();
        let before = [("gone", "."), ("there", ".")].map(|(name, export)| (name.to_owned(), export.to_owned())).into();
        let mut cluster = ClusterState::default();
        cluster.namespaces.insert("there".to_owned(), place);
        cluster.keep_exports(&before);
        assert_eq!(cluster.namespace_exports, [("gone".to_owned(), ".".to_owned())].into());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let before = (0..=KEPT_EXPORTS).map(|number| (format!("gone-{number}"), ".".to_owned())).collect();
        let mut cluster = ClusterState::default();
        cluster.keep_exports(&before);
        assert_eq!(cluster.namespace_exports.len(), 0);
    }
}
