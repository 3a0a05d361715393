//! Routes of the Gateway API and of OpenShift, as far as they route to Services.

use std::{iter, mem};

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString};
use serde::Deserialize;

use super::{ServicePortView, ServiceView, TargetPort};
use crate::input::Field;

/// A route of any kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayRoute {
    /// `HTTPRoute`, `GRPCRoute`, `TLSRoute`, `TCPRoute`, or `Route` of OpenShift.
    pub kind: String,
    /// The route's name, without its namespace.
    pub name: String,
    /// Annotations by name.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// The objects that the route is attached to.
    pub parents: Vec<ParentRef>,
    /// The hostnames that the route matches.
    pub hostnames: Vec<String>,
    /// The backends of the route's rules, each with its field: `spec.rules[0].backendRefs[1]`.
    pub backends: Vec<(Field, BackendRef)>,
}

/// A Gateway, or another object that a route is attached to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ParentRef {
    /// Default `Gateway`.
    pub kind: Option<String>,
    /// The name of the Gateway.
    pub name: String,
    /// Default: the route's namespace.
    pub namespace: Option<String>,
}

/// The backend of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BackendRef {
    /// The API group; empty for the core API.
    pub group: Option<String>,
    /// Default `Service`.
    pub kind: Option<String>,
    /// The backend's name.
    pub name: String,
    /// Default: the route's namespace.
    pub namespace: Option<String>,
    /// A Service's port.
    pub port: Option<i32>,
    /// The backend's weight; with 0 it gets no requests. Default: 1.
    pub weight: Option<i32>,
    /// Filters for the requests to this backend alone.
    pub(super) filters: Vec<RouteFilter>,
    /// The port in a Route of OpenShift.
    #[serde(skip)]
    pub target_port: Option<RouteTargetPort>,
}

/// The port in a Route of OpenShift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTargetPort {
    /// Any port of the Service.
    Any,
    /// The port of the Service with this name, or the port of the pods with this number.
    Named(String),
}

impl RouteTargetPort {
    /// Whether requests go to `port` of `service`. The router compares the name and the number of each port of the endpoints.
    #[must_use]
    pub fn is_for(&self, service: ServiceView<'_>, port: &ServicePortView<'_>) -> bool {
        let Self::Named(name) = self else { return true };
        let Ok(number) = name.parse::<i32>() else { return port.name == name };
        let mut of_pods = service.slices().filter_map(|slice| slice.port_of(port)).peekable();
        match port.target() {
            _ if of_pods.peek().is_some() => of_pods.any(|of_pod| of_pod == number),
            TargetPort::Number(target) => target == number,
            // Only the pods know the number.
            TargetPort::Name(_) => true,
        }
    }
}

impl BackendRef {
    /// Whether the backend is a Service.
    #[must_use]
    pub fn is_service(&self) -> bool {
        let is_core = self.group.as_deref().is_none_or(str::is_empty);
        // OpenShift replaces an empty kind by the default.
        is_core && self.kind.as_deref().is_none_or(|kind| matches!(kind, "" | "Service"))
    }
}

#[derive(Deserialize)]
pub(super) struct RouteObject {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    spec: RouteSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RouteSpec {
    parent_refs: Vec<ParentRef>,
    hostnames: Vec<String>,
    rules: Vec<RouteRule>,
    // The fields of a Route of OpenShift.
    host: Option<String>,
    to: Option<BackendRef>,
    alternate_backends: Vec<BackendRef>,
    port: Option<RoutePort>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RoutePort {
    target_port: Option<IntOrString>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RouteRule {
    backend_refs: Vec<BackendRef>,
    filters: Vec<RouteFilter>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RouteFilter {
    request_mirror: Option<RequestMirror>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestMirror {
    backend_ref: BackendRef,
}

/// The backends that the filters at `field` mirror requests to.
fn mirrors(field: Field, filters: Vec<RouteFilter>) -> impl Iterator<Item = (Field, BackendRef)> {
    filters.into_iter().enumerate().filter_map(move |(index, filter)| {
        let field = field.clone().item(index).field("requestMirror").field("backendRef");
        Some((field, filter.request_mirror?.backend_ref))
    })
}

impl RouteObject {
    pub(super) fn into_route(self, kind: &str) -> GatewayRoute {
        let rules = self.spec.rules.into_iter().enumerate();
        let backends = rules.flat_map(|(rule, RouteRule { backend_refs, filters })| {
            let in_rule = move |list| Field::from(["spec", "rules"]).item(rule).field(list);
            let backends = backend_refs.into_iter().enumerate().flat_map(move |(index, mut backend)| {
                let field = in_rule("backendRefs").item(index);
                let mirrors = mirrors(field.clone().field("filters"), mem::take(&mut backend.filters));
                iter::once((field, backend)).chain(mirrors)
            });
            backends.chain(mirrors(in_rule("filters"), filters)).map(|(field, backend)| {
                let namespace = backend.namespace.filter(|namespace| !namespace.is_empty());
                (field, BackendRef { namespace, ..backend })
            })
        });
        // The API takes null for 0, which like an empty name is no port.
        let target_port = match self.spec.port.and_then(|port| port.target_port) {
            Some(IntOrString::Int(number)) if number != 0 => RouteTargetPort::Named(number.to_string()),
            Some(IntOrString::String(name)) if !name.is_empty() => RouteTargetPort::Named(name),
            _ => RouteTargetPort::Any,
        };
        let alternates = self.spec.alternate_backends.into_iter().enumerate();
        let alternates = alternates.map(|(index, to)| (Field::from(["spec", "alternateBackends"]).item(index), to));
        let of_openshift = self.spec.to.map(|to| (Field::from(["spec", "to"]), to)).into_iter().chain(alternates);
        let of_openshift =
            of_openshift.map(|(field, to)| (field, BackendRef { target_port: Some(target_port.clone()), ..to }));
        GatewayRoute {
            kind: kind.to_owned(),
            name: self.metadata.name.unwrap_or_default(),
            annotations: self.metadata.annotations.unwrap_or_default(),
            parents: self.spec.parent_refs,
            hostnames: self.spec.hostnames.into_iter().chain(self.spec.host).collect(),
            backends: backends.chain(of_openshift).collect(),
        }
    }
}
