//! Which namespaces may see a resource.

use std::collections::BTreeSet;

/// The namespaces whose callers may see a resource.
///
/// A [`ResourceSource`](crate::ResourceSource) keeps one for each resource and asks it about the caller. A resource that the caller may not
/// see is answered as a missing one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Visibility {
    /// Callers of all namespaces.
    #[default]
    Everyone,
    /// Callers of these namespaces. An empty set hides the resource from all.
    Namespaces(BTreeSet<Box<str>>),
}

impl Visibility {
    /// Whether a caller of the namespace may see the resource.
    #[must_use]
    pub fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
        }
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
}
