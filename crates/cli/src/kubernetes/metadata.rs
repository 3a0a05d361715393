//! Whether an object came from an API server. It shows in the metadata.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::input::{InputNode, RawObject};

/// Whether an object with this metadata was read from an API server, which gives each object a `uid` and a `resourceVersion`.
/// Manifests have neither.
#[must_use]
pub fn is_of_api(metadata: &ObjectMeta) -> bool {
    metadata.uid.is_some() || metadata.resource_version.is_some()
}

/// [`is_of_api`] for an object of any kind.
pub(super) fn is_raw_of_api(raw: &RawObject) -> bool {
    ["uid", "resourceVersion"].iter().any(|field| metadata_text(raw, field).is_some_and(|text| !text.is_empty()))
}

/// A text of the metadata.
pub(super) fn metadata_text<'r>(raw: &'r RawObject, field: &str) -> Option<&'r str> {
    raw.node.get("metadata")?.get(field).and_then(InputNode::text)
}
