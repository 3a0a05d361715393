//! Annotations that are for this program.

use super::name::{DEFAULT_NAMESPACE, ObjectName};
use crate::input::{InputNode, InputValue, RawObject, SourceLocation};

/// What they begin with. A name without dots is a DNS subdomain too, which is what Kubernetes asks of a prefix, and no
/// one's domain.
const PREFIX: &str = "byname/";

/// An annotation that is for this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What comes after `byname/`.
    pub name: String,
    /// Its value.
    pub text: String,
    /// Where its object stands.
    pub place: SourceLocation,
    /// Where it stands itself.
    pub line: u32,
}

/// Those of an object, and what that is called: `None` where it has none.
pub(super) fn of(raw: &RawObject) -> Option<(ObjectName, Vec<Remark>)> {
    let metadata = raw.node.get("metadata")?;
    let InputValue::Map(annotations) = &metadata.get("annotations")?.value else { return None };
    let own = |(key, value): &(Box<str>, InputNode)| {
        Some(Remark {
            name: key.strip_prefix(PREFIX)?.to_owned(),
            text: value.text().unwrap_or_default().to_owned(),
            place: raw.place.clone(),
            line: value.line,
        })
    };
    let remarks: Vec<Remark> = annotations.iter().filter_map(own).collect();
    if remarks.is_empty() {
        return None;
    }
    let namespace = match raw.kind.as_str() {
        "Namespace" | "Node" => "",
        _ => metadata.get("namespace").and_then(InputNode::text).unwrap_or(DEFAULT_NAMESPACE),
    };
    let name = metadata.get("name").and_then(InputNode::text)?;
    Some((ObjectName::new(&raw.kind, namespace, name), remarks))
}
