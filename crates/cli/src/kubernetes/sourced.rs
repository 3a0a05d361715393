//! Objects with their places in the input.

use std::collections::BTreeMap;

use super::{Lines, NamespacedName};
use crate::input::{InputError, SourceLocation};

/// An object and its place in the input.
#[derive(Clone, Debug)]
pub struct Sourced<T> {
    /// The object.
    pub object: T,
    /// The object's place in the input.
    pub place: SourceLocation,
    /// The lines of the object's fields.
    pub lines: Lines,
}

impl<T> Sourced<T> {
    /// The line of a field such as `spec.ports[0].port`, or of the innermost part of its path that exists.
    #[must_use]
    pub fn line(&self, field: &str) -> u32 {
        self.lines.of(field).unwrap_or(self.place.line)
    }

    /// An error in `field` of this object. `called` is the object's kind and name.
    #[must_use]
    pub fn problem(&self, called: &str, field: &str, reason: impl Into<String>, fix: impl Into<String>) -> InputError {
        InputError::at(&self.place, reason, fix).at_line(self.line(field)).with_object(called).with_field(field)
    }
}

/// Objects of one kind.
pub type Objects<T> = BTreeMap<NamespacedName, Sourced<T>>;
