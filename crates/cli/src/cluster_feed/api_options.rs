//! Options of the API source.

use std::collections::BTreeSet;

use crate::{kube_api::ApiAccess, kubernetes::NamespacedName};

/// Options of the API source.
#[derive(Clone, Debug, Default)]
pub struct ApiOptions {
    /// The cluster and the user.
    pub access: ApiAccess,
    /// Namespaces whose Services are watched; empty for all.
    pub namespaces: BTreeSet<String>,
    /// The caller's pod.
    pub pod: Option<NamespacedName>,
    /// Whether Namespaces are watched, for the annotation that says who sees their Services.
    pub has_exports: bool,
    /// Namespaces with subsets by pod labels, whose Pods are watched.
    pub namespaces_of_labels: BTreeSet<String>,
}
