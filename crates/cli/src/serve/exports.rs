//! Which namespaces see a Service, by its annotation, that of its Namespace, and the default.

use crate::kubernetes::{ClusterState, EXPORT_TO, EXPORT_TO_FIX, NamespacedName, Visibility};

/// What sees Services without an annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultExport {
    /// Every namespace, as in DNS.
    #[default]
    Everyone,
    /// Their own namespace.
    OwnNamespace,
}

/// Which namespaces see the Service, and what is wrong with the object that says so.
///
/// The annotation of the Service counts, else that of its Namespace, else the default. One that cannot be read hides the Service from all
/// other namespaces: somebody wanted it narrow. For the same reason the annotation of a Namespace that is missing still counts.
pub(super) fn visibility(
    cluster: &ClusterState,
    name: &NamespacedName,
    default: DefaultExport,
) -> (Visibility, Option<String>) {
    let own = || Visibility::Namespaces([(*name.namespace).into()].into());
    let Some((text, is_own)) = cluster.export_to(name) else {
        return match default {
            DefaultExport::Everyone => (Visibility::Everyone, None),
            DefaultExport::OwnNamespace => (own(), None),
        };
    };
    let (object, hidden) = match is_own {
        true => (format!("Service {name}"), "the Service"),
        false => (format!("Namespace {}", name.namespace), "its Services"),
    };
    let is_missing = !is_own && !cluster.namespaces.contains_key(&name.namespace);
    match Visibility::parse(text, &name.namespace) {
        Ok(visibility) => {
            let problem = is_missing.then(|| {
                format!(
                    "{object}: does not exist, but its Services do; its last annotation {EXPORT_TO} ({text:?}) counts until the Namespace \
                     exists again"
                )
            });
            (visibility, problem)
        }
        Err(why) => {
            let problem = format!(
                "{object}, metadata.annotations[{EXPORT_TO:?}]: {why}; {EXPORT_TO_FIX}; until then no other namespace sees {hidden}"
            );
            (own(), Some(problem))
        }
    }
}
