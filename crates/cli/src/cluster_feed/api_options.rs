//! Options of the API source.

use std::{collections::BTreeSet, path::PathBuf};

use crate::kubernetes::NamespacedName;

/// Options of the API source.
#[derive(Clone, Debug, Default)]
pub struct ApiOptions {
    /// The kubeconfig. Default: the one that kubectl uses, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: the current context.
    pub context: Option<String>,
    /// Namespaces whose Services are watched; empty for all.
    pub namespaces: BTreeSet<String>,
    /// The caller's pod.
    pub pod: Option<NamespacedName>,
    /// Whether Namespaces are watched, for the annotation that says who sees their Services.
    pub has_exports: bool,
    /// Namespaces with subsets by pod labels, whose Pods are watched.
    pub namespaces_of_labels: BTreeSet<String>,
}
