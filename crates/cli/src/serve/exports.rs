//! Which namespaces see a Service: the annotation `byname/export-to`, in the words of Istio's `exportTo`.

use byname_core::is_label;
use byname_xds::Visibility;

use crate::kubernetes::{ClusterState, EXPORT_TO, NamespacedName};

/// Namespaces that an annotation may name.
const NAMES: usize = 1_000;

/// What sees Services without an annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultExport {
    /// Every namespace, as in DNS.
    #[default]
    Everyone,
    /// Their own namespace.
    OwnNamespace,
}

/// Which namespaces see the Service, and what is wrong with the annotation that says so.
///
/// The annotation of the Service counts, else that of its Namespace, else the default. One that cannot be read hides the Service from all
/// other namespaces: somebody wanted it narrow.
pub(super) fn visibility(
    cluster: &ClusterState,
    name: &NamespacedName,
    default: DefaultExport,
) -> (Visibility, Option<String>) {
    let own = || Visibility::Namespaces([(*name.namespace).into()].into());
    let of_service =
        cluster.services.get(name).and_then(|service| service.object.metadata.annotations.as_ref()?.get(EXPORT_TO));
    let of_namespace = || cluster.namespace_exports.get(&name.namespace);
    let (text, object) = match (of_service, of_namespace()) {
        (Some(text), _) => (text, format!("Service {name}")),
        (None, Some(text)) => (text, format!("Namespace {}", name.namespace)),
        (None, None) => {
            return match default {
                DefaultExport::Everyone => (Visibility::Everyone, None),
                DefaultExport::OwnNamespace => (own(), None),
            };
        }
    };
    match parse(text, &name.namespace) {
        Ok(visibility) => (visibility, None),
        Err(why) => {
            let problem = format!(
                "{object}, metadata.annotations[{EXPORT_TO:?}]: {why}; use \".\", \"*\" or names of namespaces, separated by commas; until \
                 then no other namespace sees it"
            );
            (own(), Some(problem))
        }
    }
}

fn parse(text: &str, own: &str) -> Result<Visibility, String> {
    let mut visibility = Visibility::Namespaces([].into());
    for (index, word) in text.split(',').map(str::trim).enumerate() {
        if index == NAMES {
            return Err(format!("has more than {NAMES} names"));
        }
        let name = match word {
            "*" => {
                visibility = Visibility::Everyone;
                continue;
            }
            "." => own,
            name if is_label(name) => name,
            "" => return Err("has an empty name".to_owned()),
            other => return Err(format!("{other:?} is not the name of a namespace")),
        };
        if let Visibility::Namespaces(namespaces) = &mut visibility {
            namespaces.insert(name.into());
        }
    }
    Ok(visibility)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_words_of_istio() {
        let names = |names: &[&str]| Ok(Visibility::Namespaces(names.iter().map(|name| (*name).into()).collect()));
        assert_eq!(parse("*", "shop"), Ok(Visibility::Everyone));
        assert_eq!(parse("prod, *", "shop"), Ok(Visibility::Everyone));
        assert_eq!(parse("*,prod", "shop"), Ok(Visibility::Everyone));
        assert_eq!(parse(".", "shop"), names(&["shop"]));
        assert_eq!(parse(" . , prod ", "shop"), names(&["shop", "prod"]));
        assert_eq!(parse("prod", "shop"), names(&["prod"]), "as in Istio, not the own namespace too");
        for text in ["", ",", "*,", "Prod", "a/b", "~", "prod test", "./*", "**", "-"] {
            assert!(parse(text, "shop").is_err(), "{text}");
        }
        assert!(parse(&vec!["a"; NAMES + 1].join(","), "shop").is_err());
    }
}
