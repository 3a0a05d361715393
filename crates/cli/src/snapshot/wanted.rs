//! What a command wants to know of a cluster.

use std::collections::BTreeSet;

use super::kind::ApiKind;
use crate::kubernetes::NamespacedName;

/// Objects of one kind.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The kind.
    pub kind: &'static ApiKind,
    /// Which objects of it.
    pub scope: Scope,
    /// Namespaces to list one by one if the API forbids to list all.
    pub own_namespaces: BTreeSet<String>,
}

/// Which objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of the cluster.
    All,
    /// Those of these namespaces.
    Namespaces(BTreeSet<String>),
    /// The one with this name; the namespace is empty for kinds without namespaces.
    One(NamespacedName),
}

impl Wanted {
    /// All objects of these kinds. `own_namespaces` are listed one by one if the API forbids to list all.
    pub fn all<'k>(
        kinds: impl IntoIterator<Item = &'k &'static ApiKind>,
        own_namespaces: &BTreeSet<String>,
    ) -> Vec<Self> {
        let of = |kind: &&'static ApiKind| Self { kind, scope: Scope::All, own_namespaces: own_namespaces.clone() };
        kinds.into_iter().map(of).collect()
    }

    /// The objects of a kind in `namespaces`; all if there are none.
    #[must_use]
    pub fn of_namespaces(kind: &'static ApiKind, namespaces: &BTreeSet<String>) -> Self {
        let scope = if namespaces.is_empty() { Scope::All } else { Scope::Namespaces(namespaces.clone()) };
        Self { kind, scope, own_namespaces: BTreeSet::new() }
    }

    /// One object.
    #[must_use]
    pub fn one(kind: &'static ApiKind, name: NamespacedName) -> Self {
        Self { kind, scope: Scope::One(name), own_namespaces: BTreeSet::new() }
    }
}
