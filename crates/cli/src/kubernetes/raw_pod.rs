//! What an unread Pod says of its containers.

use crate::input::{InputNode, RawObject};

/// The containers of a Pod, then those that run before them or beside them as sidecars.
pub fn containers(pod: &RawObject) -> impl Iterator<Item = &InputNode> {
    let spec = pod.node.get("spec");
    let list = move |name| spec.and_then(|spec| spec.get(name)).map(InputNode::items).unwrap_or_default();
    ["containers", "initContainers"].into_iter().flat_map(list)
}

/// Whether a Pod runs.
#[must_use]
pub fn is_running(pod: &RawObject) -> bool {
    pod.node.get("status").and_then(|status| status.get("phase")?.text()) == Some("Running")
}
