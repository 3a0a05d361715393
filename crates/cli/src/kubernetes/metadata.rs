//! The namespace of an object, and whether it came from an API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::name::DEFAULT_NAMESPACE;
use crate::input::RawObject;

/// Whether an object with this metadata was read from an API server, which gives each object a `uid` and a `resourceVersion`.
/// Manifests have neither.
#[must_use]
pub fn is_of_api(metadata: &ObjectMeta) -> bool {
    metadata.uid.is_some() || metadata.resource_version.is_some()
}

/// [`is_of_api`] for an object of any kind.
pub(super) fn is_raw_of_api(raw: &RawObject) -> bool {
    ["uid", "resourceVersion"].iter().any(|field| raw.metadata(field).is_some_and(|text| !text.is_empty()))
}

/// The namespace of an object; empty for kinds without a namespace.
pub(super) fn namespace_of(raw: &RawObject) -> &str {
    match raw.kind.as_str() {
        "Namespace" | "Node" => "",
        _ => raw.metadata("namespace").unwrap_or(DEFAULT_NAMESPACE),
    }
}
