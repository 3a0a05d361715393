//! What Envoy says of its own node.

use byname_core::Defaults;

use crate::host;

/// The properties of the node that a configuration falls back on.
pub(crate) struct Node {
    namespace: Option<String>,
    zone: Option<String>,
    node: Option<String>,
    id: Option<String>,
}

impl Node {
    #[inline(never)]
    pub(crate) fn read() -> Self {
        Self {
            namespace: text_property("xds\0node\0metadata\0NAMESPACE"),
            zone: text_property("xds\0node\0locality\0zone"),
            node: text_property("xds\0node\0metadata\0NODE_NAME"),
            id: text_property("xds\0node\0id"),
        }
    }

    pub(crate) fn defaults(&self) -> Defaults<'_> {
        Defaults {
            namespace: self.namespace.as_deref(),
            zone: self.zone.as_deref(),
            node: self.node.as_deref(),
            id: self.id.as_deref(),
        }
    }
}

/// A property that is text.
#[inline(never)]
fn text_property(path: &str) -> Option<String> {
    let bytes = host::property(path)?;
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}
