//! Annotations for byname.

use super::name::ObjectName;
use crate::input::{InputNode, InputValue, RawObject, SourceLocation};

/// The prefix of the annotations. Kubernetes requires a DNS subdomain here. A name without dots is valid, and nobody
/// owns it.
const PREFIX: &str = "byname/";

/// An annotation for byname.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The name after `byname/`.
    pub name: String,
    /// The annotation's value.
    pub text: String,
    /// The object's place in the input.
    pub place: SourceLocation,
    /// The annotation's place in the input.
    pub line: u32,
}

/// The annotations of an object, with the object's name; `None` if it has none.
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
    Some((ObjectName::of_raw(raw)?, remarks))
}
