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
    ///
    /// # Errors
    /// If it has no kind.
    pub(super) fn new(object: DocumentObject, file: &Arc<str>) -> Result<Self, InputError> {
        let DocumentObject { document, item, list, repeated, node } = object;
        let own = |field: &str| node.get(field).and_then(InputNode::text).unwrap_or_default().to_owned();
        let (mut api_version, mut kind) = (own("apiVersion"), own("kind"));
        if let (true, Some(list)) = (kind.is_empty(), list) {
            api_version = list.api_version;
            kind = list.kind.strip_suffix("List").unwrap_or_default().to_owned();
        }
        let place = SourceLocation { file: Arc::clone(file), document, item, line: node.line };
        if kind.is_empty() {
            let problem =
                InputError::at(&place, "is missing", "an object needs apiVersion and kind, as kubectl prints them");
            return Err(problem.with_field("kind"));
        }
        Ok(Self { place, api_version, kind, repeated, node })
    }
}
