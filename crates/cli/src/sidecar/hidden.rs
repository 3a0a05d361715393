//! The Services that `byname serve` hides from a sidecar, as far as the sidecar's table and the cluster's annotations tell.

use std::collections::BTreeSet;

use byname_core::wire;

use crate::kubernetes::{ClusterState, NamespacedName, Visibility};

/// The Services of a cluster that are not in the table of a sidecar, because a server hides them or may hide them.
#[derive(Debug, Default)]
pub(super) struct HiddenServices {
    /// Namespaces of which the table has no Service.
    pub(super) namespaces: BTreeSet<String>,
    /// Services that an annotation hides.
    by_annotation: BTreeSet<NamespacedName>,
    /// Services without an annotation: `--default-export` of the server decides, which nothing shows.
    pub(super) perhaps: BTreeSet<NamespacedName>,
}

impl HiddenServices {
    /// What a server hides from the sidecar that holds this configuration.
    pub(super) fn of(held: &wire::Config, cluster: &ClusterState) -> Self {
        let viewer = held.caller.namespace.as_deref();
        let own: BTreeSet<NamespacedName> =
            held.table.services.keys().filter_map(|key| NamespacedName::parse(key)).collect();
        let namespaces: BTreeSet<&str> = own.iter().map(|name| &*name.namespace).collect();
        let is_of_others = |name: &NamespacedName| viewer != Some(&*name.namespace);
        // Without the Namespace, its annotation may decide.
        let is_by_default = |name: &NamespacedName| {
            annotated(cluster, name, viewer).is_none() && cluster.namespaces.contains_key(&name.namespace)
        };
        let default_is_everyone = own.iter().any(|name| is_of_others(name) && is_by_default(name));
        let mut hidden = Self::default();
        for name in cluster.services.keys() {
            let is_held = own.contains(name);
            match annotated(cluster, name, viewer) {
                _ if !is_held && !namespaces.contains(&*name.namespace) => {
                    hidden.namespaces.insert(name.namespace.clone());
                }
                Some(true) => {}
                Some(false) => drop(hidden.by_annotation.insert(name.clone())),
                None if is_held || !is_of_others(name) || (default_is_everyone && is_by_default(name)) => {}
                None => drop(hidden.perhaps.insert(name.clone())),
            }
        }
        hidden
    }

    /// Whether the sidecar's table cannot be expected to have this Service.
    pub(super) fn contains(&self, name: &NamespacedName) -> bool {
        self.namespaces.contains(&name.namespace) || self.by_annotation.contains(name) || self.perhaps.contains(name)
    }
}

/// Whether `viewer` sees the Service by its annotation, or else by that of its Namespace; `None` if neither has one.
fn annotated(cluster: &ClusterState, name: &NamespacedName, viewer: Option<&str>) -> Option<bool> {
    let (text, _) = cluster.export_to(name)?;
    Some(match Visibility::parse(text, &name.namespace) {
        // Without a namespace, a caller sees what everyone sees.
        Ok(visibility) => visibility.includes(viewer.unwrap_or_default()),
        // The server shows it to its own namespace.
        Err(_) => viewer == Some(&*name.namespace),
    })
}
