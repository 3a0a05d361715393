//! Objects with the place that each was read at.

use std::collections::BTreeMap;

use super::{Lines, NamespacedName};
use crate::input::{InputError, SourceLocation};

/// An object and where it was read.
#[derive(Clone, Debug)]
pub struct Sourced<T> {
    /// The object.
    pub object: T,
    /// Where it stands.
    pub place: SourceLocation,
    /// Where its fields stand.
    pub lines: Lines,
}

impl<T> Sourced<T> {
    /// Line of a field, or of the innermost part of its path that is there: `spec.ports[0].port`.
    #[must_use]
    pub fn line(&self, field: &str) -> u32 {
        self.lines.of(field).unwrap_or(self.place.line)
    }

    /// What is wrong with `field` of it, whose kind and name are `called`.
    #[must_use]
    pub fn problem(&self, called: &str, field: &str, reason: impl Into<String>, fix: impl Into<String>) -> InputError {
        InputError::at(&self.place, reason, fix).at_line(self.line(field)).with_object(called).with_field(field)
    }
}

/// Objects of one kind.
pub type Objects<T> = BTreeMap<NamespacedName, Sourced<T>>;
