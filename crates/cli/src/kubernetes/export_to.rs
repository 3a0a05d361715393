//! The annotation `byname/export-to`, in the words of Istio's `exportTo`: which namespaces see a Service.

use std::collections::BTreeSet;

use byname_core::is_label;

/// The annotation of a Service or a Namespace that says which namespaces see the Service, or all Services of the namespace.
pub const EXPORT_TO: &str = "byname/export-to";
/// What to write instead of an annotation that cannot be read.
pub const EXPORT_TO_FIX: &str = "use \".\", \"*\" or names of namespaces, separated by commas";
/// Namespaces that an annotation may name.
const NAMES: usize = 1_000;

/// Who sees a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Every namespace.
    #[default]
    Everyone,
    /// These namespaces. An empty set hides the Service from all.
    Namespaces(BTreeSet<Box<str>>),
}

impl Visibility {
    /// Whether callers of the namespace see the Service.
    #[must_use]
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
    }

    /// Reads the annotation of a Service in the namespace `own`, or of that Namespace.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn parse(text: &str, own: &str) -> Result<Self, String> {
        let (mut names, mut is_for_everyone) = (BTreeSet::new(), false);
        for (index, word) in text.split(',').map(str::trim).enumerate() {
            if index == NAMES {
                return Err(format!("has more than {NAMES} names"));
            }
            match word {
                "*" => is_for_everyone = true,
                "." => _ = names.insert(own.into()),
                name if is_label(name) => _ = names.insert(name.into()),
                "" => return Err("has an empty name".to_owned()),
                other => return Err(format!("{other:?} is not the name of a namespace")),
            }
        }
        Ok(if is_for_everyone { Self::Everyone } else { Self::Namespaces(names) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_only_the_namespaces_that_it_lists() {
        let shop = Visibility::Namespaces(BTreeSet::from(["shop".into()]));
        assert!(shop.includes("shop"));
        assert!(!shop.includes("shop2") && !shop.includes(""));
        assert!(Visibility::Everyone.includes("shop"));
        assert!(!Visibility::Namespaces(BTreeSet::new()).includes(""));
    }

    #[test]
    fn reads_the_words_of_istio() {
        let parse = |text: &str| Visibility::parse(text, "shop");
        let names = |names: &[&str]| Ok(Visibility::Namespaces(names.iter().map(|name| (*name).into()).collect()));
        assert_eq!(parse("*"), Ok(Visibility::Everyone));
        assert_eq!(parse("prod, *"), Ok(Visibility::Everyone));
        assert_eq!(parse("*,prod"), Ok(Visibility::Everyone));
        assert_eq!(parse("."), names(&["shop"]));
        assert_eq!(parse(" . , prod "), names(&["shop", "prod"]));
        assert_eq!(parse("prod"), names(&["prod"]), "as in Istio, not the own namespace too");
        for text in ["", ",", "*,", "Prod", "a/b", "~", "prod test", "./*", "**", "-"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&vec!["a"; NAMES + 1].join(",")).is_err());
    }
}
