//! What of a Node decides.

use k8s_openapi::api::core::v1;

/// The label of a node that names its zone.
const ZONE: &str = "topology.kubernetes.io/zone";

/// What of a Node decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its zone.
    pub zone: Option<String>,
    /// Its addresses: kind, such as `InternalIP`, and text.
    pub addresses: Vec<(String, String)>,
    /// Whether its kubelet says that it is ready.
    pub ready: bool,
}

impl Node {
    /// That of the API's object.
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
