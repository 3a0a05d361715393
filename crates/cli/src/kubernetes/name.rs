//! The names of objects.

use std::fmt;

use super::metadata::namespace_of;
use crate::input::RawObject;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl NamespacedName {
    /// The object `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Parses `namespace/name`. Returns `None` for any other form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let is_one = |label: &str| !label.is_empty() && !label.contains('/');
        (is_one(namespace) && is_one(name)).then(|| Self::new(namespace, name))
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Kind, namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The object's kind.
    pub kind: String,
    /// The object's namespace; empty for kinds without a namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl ObjectName {
    /// The object of this kind and name.
    #[must_use]
    pub fn of(kind: &str, name: &NamespacedName) -> Self {
        Self::new(kind, &name.namespace, &name.name)
    }

    /// The object of this kind, `name` in `namespace`.
    #[must_use]
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The name of an object as it was read; `None` if it has none.
    #[must_use]
    pub fn of_raw(raw: &RawObject) -> Option<Self> {
        Some(Self::new(&raw.kind, namespace_of(raw), raw.metadata("name")?))
    }

    /// `namespace/name`, or only the name for kinds without a namespace.
    #[must_use]
    pub fn path(&self) -> String {
        if self.namespace.is_empty() { self.name.clone() } else { format!("{}/{}", self.namespace, self.name) }
    }
}

impl fmt::Display for ObjectName {
    /// Writes `Service shop/web`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path())
    }
}
