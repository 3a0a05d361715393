//! Fields of Services and EndpointSlices that the Kubernetes API does not define, such as misspelled ones.
//!
//! An API server takes only the fields that it knows, so an object that was read from it has none of these.

use std::cell::Cell;

use k8s_openapi::{
    api::{
        core::v1::{
            ClientIPConfig, LoadBalancerIngress, LoadBalancerStatus, ObjectReference, Service, ServicePort,
            ServiceSpec, ServiceStatus, SessionAffinityConfig,
        },
        discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor, value::Error},
};

use crate::input::{Field, InputNode, InputValue, RawObject};

/// A field that the API does not define.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownField {
    /// The whole path.
    pub(super) field: Field,
    /// The field's own name.
    pub(super) name: Box<str>,
    /// The names of the fields that the API defines in its place.
    pub(super) known: &'static [&'static str],
}

/// The unknown fields of a Service or an EndpointSlice; none of other objects.
pub(super) fn of(object: &RawObject) -> Vec<UnknownField> {
    let mut unknown = Vec::new();
    match (object.api_version.as_str(), object.kind.as_str()) {
        ("v1", "Service") => add_of_service(&mut unknown, &object.node),
        ("discovery.k8s.io/v1", "EndpointSlice") => add_of_slice(&mut unknown, &object.node),
        _ => return unknown,
    }
    let (metadata, at) = (object.node.get("metadata"), Field::from(["metadata"]));
    add::<ObjectMeta>(&mut unknown, metadata, &at);
    add_items::<OwnerReference>(&mut unknown, metadata, at, "ownerReferences");
    unknown
}

fn add_of_service(unknown: &mut Vec<UnknownField>, root: &InputNode) {
    add::<Service>(unknown, Some(root), &Field::default());
    let (in_spec, spec) = (Field::from(["spec"]), root.get("spec"));
    add::<ServiceSpec>(unknown, spec, &in_spec);
    let below = |name: &str| (spec.and_then(|spec| spec.get(name)), in_spec.clone().field(name));
    add_items::<ServicePort>(unknown, spec, in_spec.clone(), "ports");
    let (config, in_config) = below("sessionAffinityConfig");
    add::<SessionAffinityConfig>(unknown, config, &in_config);
    let client_ip = config.and_then(|config| config.get("clientIP"));
    add::<ClientIPConfig>(unknown, client_ip, &in_config.field("clientIP"));
    let (in_status, status) = (Field::from(["status"]), root.get("status"));
    add::<ServiceStatus>(unknown, status, &in_status);
    let (balancer, in_balancer) =
        (status.and_then(|status| status.get("loadBalancer")), in_status.field("loadBalancer"));
    add::<LoadBalancerStatus>(unknown, balancer, &in_balancer);
    add_items::<LoadBalancerIngress>(unknown, balancer, in_balancer, "ingress");
}

fn add_of_slice(unknown: &mut Vec<UnknownField>, root: &InputNode) {
    add::<EndpointSlice>(unknown, Some(root), &Field::default());
    for (endpoint, at) in items(root.get("endpoints"), &["endpoints"].into()) {
        add::<Endpoint>(unknown, Some(endpoint), &at);
        add::<EndpointConditions>(unknown, endpoint.get("conditions"), &at.clone().field("conditions"));
        add::<ObjectReference>(unknown, endpoint.get("targetRef"), &at.clone().field("targetRef"));
        let (hints, in_hints) = (endpoint.get("hints"), at.field("hints"));
        add::<EndpointHints>(unknown, hints, &in_hints);
        add_items::<ForZone>(unknown, hints, in_hints.clone(), "forZones");
        add_items::<ForNode>(unknown, hints, in_hints, "forNodes");
    }
    add_items::<EndpointPort>(unknown, Some(root), Field::default(), "ports");
}

/// Adds the fields of the items of the list `name` in `node` that `T` does not have.
fn add_items<'de, T: Deserialize<'de>>(
    unknown: &mut Vec<UnknownField>,
    node: Option<&InputNode>,
    at: Field,
    name: &str,
) {
    for (item, at) in items(node.and_then(|node| node.get(name)), &at.field(name)) {
        add::<T>(unknown, Some(item), &at);
    }
}

/// The items of a list, each with its path.
fn items<'n>(list: Option<&'n InputNode>, at: &Field) -> impl Iterator<Item = (&'n InputNode, Field)> {
    let items = list.map(InputNode::items).unwrap_or_default().iter().enumerate();
    items.map(move |(index, item)| (item, at.clone().item(index)))
}

/// Adds the fields of `node` that `T` does not have.
fn add<'de, T: Deserialize<'de>>(unknown: &mut Vec<UnknownField>, node: Option<&InputNode>, at: &Field) {
    let Some(InputNode { value: InputValue::Map(entries), .. }) = node else { return };
    let known = fields_of::<T>();
    // Patches have directives among the fields, such as `$patch`.
    let names = entries.iter().map(|(name, _)| &**name).filter(|name| !name.starts_with('$'));
    let unknown_names = names.filter(|name| !known.contains(name));
    unknown.extend(unknown_names.map(|name| UnknownField { field: at.clone().field(name), name: name.into(), known }));
}

/// The names of the fields of `T`.
fn fields_of<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let names = FieldNames::default();
    // It fails once it has the names.
    let _ = T::deserialize(&names);
    names.0.get()
}

/// Keeps the names of the fields that a struct asks for.
#[derive(Default)]
struct FieldNames(Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for &FieldNames {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("has no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.set(fields);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_the_api_are_known() {
        for known in ["clusterIP", "ports", "selector", "type"] {
            assert!(fields_of::<ServiceSpec>().contains(&known), "{known}");
        }
        assert!(fields_of::<ServicePort>().contains(&"targetPort"));
        assert!(fields_of::<ObjectMeta>().contains(&"annotations"));
        assert_eq!(fields_of::<Service>(), ["apiVersion", "kind", "metadata", "spec", "status"]);
    }
}
