//! The kinds that the API has, and the discovery documents by which kubectl finds them.

use serde_json::{Value, json};

/// A kind and its path in the API.
pub(super) struct Resource {
    pub(super) group: &'static str,
    /// The versions, newest first.
    versions: &'static [&'static str],
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
    pub(super) is_namespaced: bool,
}

const fn resource(
    group: &'static str,
    versions: &'static [&'static str],
    kind: &'static str,
    plural: &'static str,
) -> Resource {
    Resource { group, versions, kind, plural, is_namespaced: true }
}

const fn of_cluster(resource: Resource) -> Resource {
    Resource { is_namespaced: false, ..resource }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const ISTIO: &[&str] = &["v1", "v1beta1", "v1alpha3"];

const RESOURCES: &[Resource] = &[
    of_cluster(resource("", &["v1"], "Namespace", "namespaces")),
    of_cluster(resource("", &["v1"], "Node", "nodes")),
    resource("", &["v1"], "ConfigMap", "configmaps"),
    resource("", &["v1"], "Pod", "pods"),
    resource("", &["v1"], "Secret", "secrets"),
    resource("", &["v1"], "Service", "services"),
    resource("", &["v1"], "ServiceAccount", "serviceaccounts"),
    resource("apps", &["v1"], "DaemonSet", "daemonsets"),
    resource("apps", &["v1"], "Deployment", "deployments"),
    resource("apps", &["v1"], "ReplicaSet", "replicasets"),
    resource("apps", &["v1"], "StatefulSet", "statefulsets"),
    resource("discovery.k8s.io", &["v1"], "EndpointSlice", "endpointslices"),
    resource("networking.k8s.io", &["v1"], "Ingress", "ingresses"),
    of_cluster(resource(RBAC, &["v1"], "ClusterRole", "clusterroles")),
    of_cluster(resource(RBAC, &["v1"], "ClusterRoleBinding", "clusterrolebindings")),
    resource(RBAC, &["v1"], "Role", "roles"),
    resource(RBAC, &["v1"], "RoleBinding", "rolebindings"),
    resource("extensions.istio.io", &["v1alpha1"], "WasmPlugin", "wasmplugins"),
    resource("networking.istio.io", ISTIO, "DestinationRule", "destinationrules"),
    resource("networking.istio.io", &["v1alpha3"], "EnvoyFilter", "envoyfilters"),
    resource("networking.istio.io", ISTIO, "ServiceEntry", "serviceentries"),
    resource("networking.istio.io", ISTIO, "Sidecar", "sidecars"),
    resource("networking.istio.io", ISTIO, "VirtualService", "virtualservices"),
    resource("telemetry.istio.io", &["v1", "v1alpha1"], "Telemetry", "telemetries"),
];

/// The kind of this name, in any version.
pub(super) fn of_kind(kind: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.kind == kind)
}

/// The kind that `plural` in a path stands for.
pub(super) fn of_path(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|resource| resource.group == group && resource.plural == plural && resource.versions.contains(&version))
}

/// The groups with their versions.
fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for resource in RESOURCES {
        let versions = match groups.iter_mut().find(|(group, _)| *group == resource.group) {
            Some((_, versions)) => versions,
            None => {
                groups.push((resource.group, resource.versions.to_vec()));
                continue;
            }
        };
        let new = resource.versions.iter().filter(|version| !versions.contains(version)).collect::<Vec<_>>();
        versions.extend(new);
    }
    groups
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The discovery document at `path`.
pub(super) fn discovery(path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["version"] => Some(json!({"major": "1", "minor": "35", "gitVersion": "v1.35.0"})),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        ["apis"] => Some(api_groups()),
        ["api", version] => resource_list("", version),
        ["apis", group, version] => resource_list(group, version),
        ["openapi", "v3"] => Some(openapi_paths()),
        ["openapi", "v3", "api", version] => Some(openapi("", version)),
        ["openapi", "v3", "apis", group, version] => Some(openapi(group, version)),
        _ => None,
    }
}

fn api_groups() -> Value {
    let named = groups().into_iter().filter(|(group, _)| !group.is_empty());
    let groups: Vec<Value> = named
        .map(|(group, versions)| {
            let version = |version: &&str| json!({"groupVersion": group_version(group, version), "version": version});
            let versions: Vec<Value> = versions.iter().map(version).collect();
            json!({"name": group, "preferredVersion": versions[0], "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn resource_list(group: &str, version: &str) -> Option<Value> {
    let verbs = ["create", "delete", "get", "list", "patch", "update", "watch"];
    let here = RESOURCES.iter().filter(|resource| resource.group == group && resource.versions.contains(&version));
    let resources: Vec<Value> = here
        .map(|resource| {
            let singular = resource.kind.to_lowercase();
            json!({"name": resource.plural, "singularName": singular, "namespaced": resource.is_namespaced,
                "kind": resource.kind, "verbs": verbs})
        })
        .collect();
    let version = group_version(group, version);
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources});
    (!resources.is_empty()).then_some(list)
}

fn openapi_paths() -> Value {
    let mut paths = serde_json::Map::new();
    for (group, versions) in groups() {
        for version in versions {
            let root = if group.is_empty() { "api" } else { "apis" };
            let path = format!("{root}/{}", group_version(group, version));
            let at = json!({"serverRelativeURL": format!("/openapi/v3/{path}")});
            paths.insert(path, at);
        }
    }
    json!({"paths": paths})
}

/// The part of a schema that lets kubectl leave validation to the server.
fn openapi(group: &str, version: &str) -> Value {
    let mut paths = serde_json::Map::new();
    for resource in RESOURCES.iter().filter(|resource| resource.group == group) {
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let parameters = json!([{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]);
        let patch = json!({"x-kubernetes-group-version-kind": kind, "parameters": parameters, "responses": {}});
        paths.insert(format!("/{}/{{name}}", resource.plural), json!({"patch": patch}));
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.35.0"}, "paths": paths,
        "components": {"schemas": {}}})
}
