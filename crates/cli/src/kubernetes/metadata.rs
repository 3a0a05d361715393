//! The namespace of an object, and whether it came from an API server.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::input::RawObject;

/// The namespace of an object that sets none, as in kubectl.
pub(super) const DEFAULT_NAMESPACE: &str = "default";

/// Whether an object with this metadata was read from an API server, which gives each object a `uid` and a `resourceVersion`.
/// Manifests have neither, or empty ones.
#[must_use]
pub fn is_of_api(metadata: &ObjectMeta) -> bool {
    has_text([metadata.uid.as_deref(), metadata.resource_version.as_deref()])
}

/// [`is_of_api`] for an object of any kind.
pub(super) fn is_raw_of_api(raw: &RawObject) -> bool {
    has_text(["uid", "resourceVersion"].map(|field| raw.metadata(field)))
}

fn has_text(fields: [Option<&str>; 2]) -> bool {
    fields.into_iter().flatten().any(|text| !text.is_empty())
}

/// The namespace of an object; empty for kinds without a namespace.
pub(super) fn namespace_of(raw: &RawObject) -> &str {
    match raw.kind.as_str() {
        "Namespace" | "Node" => "",
        _ => raw.metadata("namespace").unwrap_or(DEFAULT_NAMESPACE),
    }
}

/// Ends the name of an object whose name the API server will make, and which `generateName` begins: `web-*`. No name in a cluster has
/// this character.
pub(crate) const GENERATED: char = '*';

/// The beginning of the name that the API server will make for an object without one.
pub(super) fn generate_name(raw: &RawObject) -> Option<&str> {
    let text = |field| raw.metadata(field).filter(|text| !text.is_empty());
    if text("name").is_some() { None } else { text("generateName") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_not_of_an_api_server() {
        let metadata = |uid: &str| ObjectMeta { uid: Some(uid.to_owned()), ..ObjectMeta::default() };
        assert!(is_of_api(&metadata("41d0")));
        assert!(!is_of_api(&metadata("")));
        assert!(!is_of_api(&ObjectMeta::default()));
    }
}
