//! The properties of a Node that decide how names resolve.

use k8s_openapi::api::core::v1;

/// The label of a node that names its zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// The properties of a Node that decide how names resolve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The Node's zone.
    pub zone: Option<String>,
    /// The Node's addresses: type, such as `InternalIP`, and text.
    pub addresses: Vec<(String, String)>,
    /// Whether the kubelet reports the Node as ready.
    pub ready: bool,
}

impl Node {
    /// Reads the API's object.
    #[must_use]
    pub fn of(node: v1::Node) -> Self {
        let status = node.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        Self {
            zone: node.metadata.labels.and_then(|mut labels| labels.remove(ZONE)),
            addresses: status
                .addresses
                .unwrap_or_default()
                .into_iter()
                .map(|address| (address.type_, address.address))
                .collect(),
            ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        }
    }
}
