//! Who a stream belongs to, and which callers get the same bytes.

use prost_types::value::Kind;

use super::discovery::Node;

/// The pod behind a stream, by what its Envoy says of itself. Zone and node steer; they reveal nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamCaller {
    /// The id of the Envoy.
    pub(super) id: String,
    pub(super) namespace: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) node: Option<String>,
}

/// Callers that get the same variant of a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CallerClass {
    /// `None` where the zone makes no difference.
    pub(super) zone: Option<String>,
    /// `None` where the node makes no difference.
    pub(super) node: Option<String>,
}

impl StreamCaller {
    /// The caller whose Envoy describes itself as `node`, with the same fields as the filter reads.
    pub(super) fn of(node: Node) -> Self {
        let metadata = node.metadata.unwrap_or_default();
        let text = |name: &str| match metadata.fields.get(name)?.kind.as_ref()? {
            Kind::StringValue(text) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        Self {
            namespace: text("NAMESPACE"),
            node: text("NODE_NAME"),
            zone: node.locality.map(|locality| locality.zone).filter(|zone| !zone.is_empty()),
            id: node.id,
        }
    }

    /// The caller's class for a resource that differs by zone, by node, or by neither.
    pub(super) fn class(&self, by_zone: bool, by_node: bool) -> CallerClass {
        let if_needed = |is_needed: bool, text: &Option<String>| text.clone().filter(|_| is_needed);
        CallerClass { zone: if_needed(by_zone, &self.zone), node: if_needed(by_node, &self.node) }
    }
}
