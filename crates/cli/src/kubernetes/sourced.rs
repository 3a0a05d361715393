//! Objects with their places in the input.

use std::collections::BTreeMap;

use super::{Lines, NamespacedName, ObjectError, ObjectName};
use crate::input::{Field, RawObject, SourceLocation};

/// An object and its place in the input.
#[derive(Clone, Debug)]
pub struct Sourced<T> {
    /// The object.
    pub object: T,
    /// The object's place in the input.
    pub place: SourceLocation,
    /// The lines of the object's fields.
    pub lines: Lines,
    /// Its `metadata.resourceVersion`; 0 if it has none.
    pub version: u64,
}

impl<T> Sourced<T> {
    /// `object`, which was read from `raw`.
    #[must_use]
    pub fn new(object: T, raw: &RawObject) -> Self {
        let version = raw.metadata("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default();
        Self { object, place: raw.place.clone(), lines: Lines::new(&raw.node), version }
    }

    /// This with another form of the object.
    #[must_use]
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Sourced<U> {
        let Self { object, place, lines, version } = self;
        Sourced { object: form(object), place, lines, version }
    }

    /// This with another form of the object, if it has one.
    #[must_use]
    pub fn filter_map<U>(self, form: impl FnOnce(T) -> Option<U>) -> Option<Sourced<U>> {
        let Self { object, place, lines, version } = self;
        Some(Sourced { object: form(object)?, place, lines, version })
    }

    /// Whether it is a newer state of `earlier`, which is an object of the same name: `kubectl get --watch` prints all of its states.
    #[must_use]
    pub fn replaces(&self, earlier: &Self) -> bool {
        self.place.file == earlier.place.file && earlier.version > 0 && self.version > earlier.version
    }

    /// The line of `field`, or of the innermost field around it that exists.
    #[must_use]
    pub fn line(&self, field: &Field) -> u32 {
        self.lines.of(field).unwrap_or(self.place.line)
    }

    /// An error in `field` of this object, which is called `object`.
    #[must_use]
    pub fn problem(
        &self,
        object: ObjectName,
        field: impl Into<Field>,
        reason: impl Into<String>,
        fix: impl Into<String>,
    ) -> ObjectError {
        let field = field.into();
        let line = self.line(&field);
        ObjectError { object, place: self.place.clone(), line, field, reason: reason.into(), fix: fix.into() }
    }
}

/// Objects of one kind.
pub type Objects<T> = BTreeMap<NamespacedName, Sourced<T>>;
