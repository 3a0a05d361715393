//! An object with its kind and its place.

use std::sync::Arc;

use super::{
    documents::DocumentObject,
    error::{InputError, SourceLocation},
    node::{InputNode, RepeatedField},
};

/// One object of any kind, as it was read.
#[derive(Debug)]
pub struct RawObject {
    /// Its place in the input.
    pub place: SourceLocation,
    /// Its `apiVersion`, or empty.
    pub api_version: String,
    /// Its `kind`, or empty.
    pub kind: String,
    /// The first field that it has twice.
    pub repeated: Option<RepeatedField>,
    /// The whole object.
    pub node: InputNode,
}

impl RawObject {
    /// An object of `file`. An item of a typed list, such as a ServiceList, has the type that the list gives it.
    pub(super) fn new(object: DocumentObject, file: &Arc<str>) -> Self {
        let DocumentObject { document, item, list, repeated, mut node } = object;
        drop_empty_namespace(&mut node);
        let own = |field: &str| node.get(field).and_then(InputNode::text).unwrap_or_default().to_owned();
        let (mut api_version, mut kind) = (own("apiVersion"), own("kind"));
        if let (true, Some(list)) = (kind.is_empty(), list) {
            api_version = list.api_version;
            kind = list.kind.strip_suffix("List").unwrap_or_default().to_owned();
        }
        let place = SourceLocation { file: Arc::clone(file), document, item, line: node.line };
        Self { place, api_version, kind, repeated, node }
    }

    /// An object from the API of the cluster that is called `file`. A list of the API leaves out the type of its items.
    #[must_use]
    pub fn of_api(object: serde_json::Value, api_version: &str, kind: &str, file: &Arc<str>) -> Self {
        let place = SourceLocation { file: Arc::clone(file), document: 0, item: None, line: 0 };
        let mut node = InputNode::of_json(object);
        drop_empty_namespace(&mut node);
        Self { place, api_version: api_version.to_owned(), kind: kind.to_owned(), repeated: None, node }
    }

    /// The text of a field of `metadata`; `None` if there is no such field, or it is no text.
    #[must_use]
    pub fn metadata(&self, field: &str) -> Option<&str> {
        self.node.get("metadata")?.get(field)?.text()
    }

    /// Returns the object if it has a kind.
    ///
    /// # Errors
    /// If it has none.
    pub(super) fn of_a_kind(self) -> Result<Self, InputError> {
        if !self.kind.is_empty() {
            return Ok(self);
        }
        let problem =
            InputError::at(&self.place, "is missing", "an object needs apiVersion and kind, as kubectl prints them");
        Err(problem.with_field("kind"))
    }

    /// Whether it is a Kubernetes object, though perhaps one that lacks its kind: Chart.yaml has an `apiVersion` too.
    pub(super) fn looks_like_kubernetes(&self) -> bool {
        let has_type = !self.api_version.is_empty() && (!self.kind.is_empty() || self.node.get("metadata").is_some());
        has_type || self.place.item.is_some()
    }
}

/// Removes `metadata.namespace` if it is empty: kubectl and the API server fill it in as if it were absent.
fn drop_empty_namespace(node: &mut InputNode) {
    const NAMESPACE: &str = "namespace";
    if let Some(metadata) = node.get_mut("metadata")
        && metadata.get(NAMESPACE).and_then(InputNode::text) == Some("")
    {
        metadata.remove(NAMESPACE);
    }
}
