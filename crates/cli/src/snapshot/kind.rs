//! The kinds of objects that byname reads, as the API calls them, and what an answer lacks without them.

/// A kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiKind {
    /// The kind, such as `EndpointSlice`.
    pub kind: &'static str,
    /// The kind's resource, such as `endpointslices`.
    pub plural: &'static str,
    /// The kind's group; empty for the core group.
    pub group: &'static str,
    /// The versions that byname reads, the preferred one first.
    pub versions: &'static [&'static str],
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
    /// Whether no answer is possible without it.
    pub is_required: bool,
    /// What an answer lacks without it, as in `so …`.
    pub cost: &'static str,
}

const fn kind(group: &'static str, kind: &'static str, plural: &'static str, cost: &'static str) -> ApiKind {
    ApiKind { kind, plural, group, versions: &["v1"], is_namespaced: true, is_required: false, cost }
}

/// A kind of a group that a cluster may lack.
const fn extension(
    group: &'static str,
    versions: &'static [&'static str],
    name: &'static str,
    plural: &'static str,
    cost: &'static str,
) -> ApiKind {
    ApiKind { versions, ..kind(group, name, plural, cost) }
}

const OUTSIDE: &str = "ways in from outside through them are unknown";
const RULES: &str = "their effect on a name is unknown";
const TEMPLATES: &str = "their pod templates are not checked";
const DEPLOYED: &str = "their configuration of byname is unknown";
const GATEWAY: &str = "gateway.networking.k8s.io";
const ISTIO: &str = "networking.istio.io";
const ISTIO_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];

impl ApiKind {
    /// Services, without which there is no answer.
    pub const SERVICE: Self = Self { is_required: true, ..kind("", "Service", "services", "no name is known") };
    /// EndpointSlices.
    pub const ENDPOINT_SLICE: Self =
        kind("discovery.k8s.io", "EndpointSlice", "endpointslices", "endpoints are unknown");
    /// Endpoints objects, which lint checks.
    pub const ENDPOINTS: Self = kind("", "Endpoints", "endpoints", "Endpoints without an EndpointSlice are unknown");
    /// Pods.
    pub const POD: Self = kind("", "Pod", "pods", "the labels, ports and DNS settings of pods are unknown");
    /// Nodes.
    pub const NODE: Self =
        Self { is_namespaced: false, ..kind("", "Node", "nodes", "the zones of callers are unknown") };
    /// Namespaces.
    pub const NAMESPACE: Self = Self {
        is_namespaced: false,
        ..kind("", "Namespace", "namespaces", "namespaces without a Service or a Pod are unknown")
    };
    /// Ingresses.
    pub const INGRESS: Self = kind("networking.k8s.io", "Ingress", "ingresses", OUTSIDE);
    /// Routes of the Gateway API, what permits them, and routes of OpenShift.
    pub const ROUTES: [Self; 6] = [
        extension(GATEWAY, &["v1", "v1beta1"], "HTTPRoute", "httproutes", OUTSIDE),
        extension(GATEWAY, &["v1", "v1alpha2"], "GRPCRoute", "grpcroutes", OUTSIDE),
        extension(GATEWAY, &["v1", "v1alpha3", "v1alpha2"], "TLSRoute", "tlsroutes", OUTSIDE),
        extension(GATEWAY, &["v1", "v1alpha2"], "TCPRoute", "tcproutes", OUTSIDE),
        extension(GATEWAY, &["v1", "v1beta1"], "ReferenceGrant", "referencegrants", OUTSIDE),
        extension("route.openshift.io", &["v1"], "Route", "routes", OUTSIDE),
    ];
    /// Rules of a mesh for hosts.
    pub const MESH_RULES: [Self; 5] = [
        extension(ISTIO, ISTIO_VERSIONS, "VirtualService", "virtualservices", RULES),
        extension(ISTIO, ISTIO_VERSIONS, "ServiceEntry", "serviceentries", RULES),
        extension(ISTIO, ISTIO_VERSIONS, "DestinationRule", "destinationrules", RULES),
        extension("split.smi-spec.io", &["v1alpha4", "v1alpha2", "v1alpha1"], "TrafficSplit", "trafficsplits", RULES),
        extension("linkerd.io", &["v1alpha2", "v1alpha1"], "ServiceProfile", "serviceprofiles", RULES),
    ];
    /// Objects with a pod template.
    pub const WORKLOADS: [Self; 8] = [
        kind("apps", "Deployment", "deployments", TEMPLATES),
        kind("apps", "StatefulSet", "statefulsets", TEMPLATES),
        kind("apps", "DaemonSet", "daemonsets", TEMPLATES),
        kind("apps", "ReplicaSet", "replicasets", TEMPLATES),
        kind("", "ReplicationController", "replicationcontrollers", TEMPLATES),
        kind("batch", "Job", "jobs", TEMPLATES),
        kind("batch", "CronJob", "cronjobs", TEMPLATES),
        extension("argoproj.io", &["v1alpha1"], "Rollout", "rollouts", TEMPLATES),
    ];
    /// Objects of Istio's that deploy byname.
    pub const DEPLOYED: [Self; 3] = [
        extension("extensions.istio.io", &["v1alpha1"], "WasmPlugin", "wasmplugins", DEPLOYED),
        extension("extensions.istio.io", &["v1alpha1"], "TrafficExtension", "trafficextensions", DEPLOYED),
        extension(ISTIO, &["v1alpha3"], "EnvoyFilter", "envoyfilters", DEPLOYED),
    ];

    /// Objects of Istio's that limit what sidecars know.
    pub const SIDECAR: Self =
        extension(ISTIO, ISTIO_VERSIONS, "Sidecar", "sidecars", "Sidecar objects that hide Services are unknown");

    /// Whether the API may lack the kind's group.
    pub(super) fn is_extension(&self) -> bool {
        !matches!(self.group, "" | "apps" | "batch" | "discovery.k8s.io" | "networking.k8s.io")
    }

    /// Whether its objects decide what names resolve to.
    pub(super) fn decides_names(&self) -> bool {
        crate::kubernetes::decides_names("", self.kind)
    }

    /// `apiVersion` of its objects in this version of the group.
    pub(super) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// The path of its list in the API.
    pub(super) fn path(&self, version: &str, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        format!("{root}/{}{namespace}/{}", self.api_version(version), self.plural)
    }

    /// The resource's name and group, as in `endpointslices.discovery.k8s.io`.
    pub(super) fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}
