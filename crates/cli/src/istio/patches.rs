//! What an EnvoyFilter changes in Envoy's configuration, as far as byname's steering depends on it.

use std::collections::BTreeSet;

use crate::input::{InputNode, InputValue, RawObject};

/// The changes of an EnvoyFilter.
#[derive(Clone, Debug, Default)]
pub struct Patches {
    /// Whether it adds byname's filter.
    pub add_filter: bool,
    /// The headers by which its routes choose the cluster.
    pub cluster_headers: BTreeSet<String>,
    /// The same of the route that byname writes.
    pub own_cluster_headers: BTreeSet<String>,
    /// The names of the clusters that it adds.
    pub clusters: BTreeSet<String>,
}

impl Patches {
    pub(super) fn of(raw: &RawObject) -> Self {
        let mut patches = Self::default();
        let all = raw.node.get("spec").and_then(|spec| spec.get("configPatches"));
        let Some(InputNode { value: InputValue::List(all), .. }) = all else { return patches };
        for patch in all {
            let Some(value) = patch.get("patch").and_then(|patch| patch.get("value")) else { continue };
            let name = value.get("name").and_then(InputNode::text);
            // A route may be anywhere in a listener, a virtual host or a route configuration.
            texts(value, &["cluster_header", "clusterHeader"], &mut patches.cluster_headers);
            match (patch.get("applyTo").and_then(InputNode::text), name) {
                (Some("HTTP_FILTER"), Some("byname")) => patches.add_filter = true,
                (Some("HTTP_ROUTE"), Some("byname")) => {
                    texts(value, &["cluster_header", "clusterHeader"], &mut patches.own_cluster_headers);
                }
                (Some("CLUSTER"), Some(name)) => drop(patches.clusters.insert(name.to_owned())),
                _ => {}
            }
        }
        patches
    }
}

/// Adds the texts of all fields below `node` that have one of these names.
fn texts(node: &InputNode, names: &[&str], found: &mut BTreeSet<String>) {
    match &node.value {
        InputValue::List(items) => items.iter().for_each(|item| texts(item, names, found)),
        InputValue::Map(fields) => {
            for (name, value) in fields {
                match value.text() {
                    Some(text) if names.contains(&&**name) => drop(found.insert(text.to_owned())),
                    _ => texts(value, names, found),
                }
            }
        }
        _ => {}
    }
}
