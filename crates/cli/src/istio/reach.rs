//! The sidecars that an object of Istio's applies to.

use std::collections::BTreeMap;

use crate::{
    input::{InputNode, InputValue, RawObject},
    kubernetes::ObjectName,
};

/// The label of an object that is for one revision of the control plane.
const REVISION: &str = "istio.io/rev";

/// The sidecars that an object applies to: those of its namespace, or from the root namespace those of the whole mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The namespace of the object.
    pub namespace: String,
    /// The labels of the pods; empty for all pods.
    pub selector: BTreeMap<String, String>,
    /// The revision of the control plane; `None` for every one.
    pub revision: Option<String>,
    /// Whether the object applies to the gateways, waypoints or Services of its `targetRefs`, and to no sidecar.
    pub is_for_targets: bool,
}

impl Reach {
    pub(super) fn of(raw: &RawObject, name: &ObjectName) -> Self {
        let spec = |field: &str| raw.node.get("spec")?.get(field);
        let labels = match raw.kind.as_str() {
            "EnvoyFilter" => spec("workloadSelector").and_then(|selector| selector.get("labels")),
            _ => spec("selector").and_then(|selector| selector.get("matchLabels")),
        };
        let revision = raw.node.get("metadata").and_then(|metadata| metadata.get("labels")?.get(REVISION)?.text());
        let has_items = |node: &InputNode| !matches!(&node.value, InputValue::List(items) if items.is_empty());
        Self {
            namespace: name.namespace.clone(),
            selector: labels.map(texts).unwrap_or_default(),
            revision: revision.map(str::to_owned),
            is_for_targets: spec("targetRef").is_some() || spec("targetRefs").is_some_and(has_items),
        }
    }

    /// Whether there may be a sidecar that both apply to. `root` is the mesh's root namespace.
    #[must_use]
    pub fn may_overlap(&self, other: &Self, root: &str) -> bool {
        let has_namespace = self.namespace == other.namespace || self.namespace == root || other.namespace == root;
        let has_revision = match (&self.revision, &other.revision) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        let differs = |(key, value)| other.selector.get(key).is_some_and(|other| other != value);
        let has_labels = !self.selector.iter().any(differs);
        !self.is_for_targets && !other.is_for_targets && has_namespace && has_revision && has_labels
    }

    /// Whether one of the two selectors matches every pod that the other one matches.
    #[must_use]
    pub fn has_nested_selector(&self, other: &Self) -> bool {
        let is_within =
            |one: &Self, other: &Self| other.selector.iter().all(|(key, value)| one.selector.get(key) == Some(value));
        is_within(self, other) || is_within(other, self)
    }
}

fn texts(labels: &InputNode) -> BTreeMap<String, String> {
    let InputValue::Map(fields) = &labels.value else { return BTreeMap::new() };
    fields.iter().filter_map(|(key, value)| Some((key.to_string(), value.text()?.to_owned()))).collect()
}
