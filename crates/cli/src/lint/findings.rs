//! Collects what the check of one rule finds.

use std::sync::Arc;

use crate::{
    input::{Field, SourceLocation},
    kubernetes::{Lines, NamespacedName, ObjectName, Sourced},
};

/// An object that a check may report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'c> {
    kind: &'c str,
    namespace: &'c str,
    name: &'c str,
    place: &'c SourceLocation,
    lines: Option<&'c Lines>,
}

impl<'c> Subject<'c> {
    pub(super) fn new<T>(kind: &'c str, name: &'c NamespacedName, object: &'c Sourced<T>) -> Self {
        let NamespacedName { namespace, name } = name;
        Self { kind, namespace, name, place: &object.place, lines: Some(&object.lines) }
    }

    /// This subject with another name: routes are keyed by `kind/name`, and findings show the name alone.
    pub(super) fn called(self, name: &'c str) -> Self {
        Self { name, ..self }
    }

    /// A subject whose fields have no known lines.
    pub(super) fn unread(kind: &'c str, namespace: &'c str, name: &'c str, place: &'c SourceLocation) -> Self {
        Self { kind, namespace, name, place, lines: None }
    }

    /// The line of `field`, or of the object.
    pub(super) fn at(self, field: &Field) -> u32 {
        self.lines.and_then(|lines| lines.of(field)).unwrap_or(self.place.line)
    }
}

/// The diagnostics of one check.
#[derive(Default)]
pub(super) struct Findings(Vec<Diagnostic>);

/// A finding before its rule is attached.
pub(super) struct Diagnostic {
    pub(super) object: ObjectName,
    pub(super) field: String,
    pub(super) file: Arc<str>,
    pub(super) line: u32,
    pub(super) message: String,
}

impl Findings {
    /// Adds a diagnostic for a field of `subject`.
    pub(super) fn add(&mut self, subject: Subject<'_>, field: impl Into<Field>, message: impl Into<String>) {
        let field = field.into();
        let line = subject.at(&field);
        self.add_at(subject, field, line, message);
    }

    /// [`Findings::add`] with a known line.
    pub(super) fn add_at(
        &mut self,
        subject: Subject<'_>,
        field: impl Into<Field>,
        line: u32,
        message: impl Into<String>,
    ) {
        self.0.push(Diagnostic {
            object: ObjectName::new(subject.kind, subject.namespace, subject.name),
            field: field.into().to_string(),
            file: Arc::clone(&subject.place.file),
            line,
            message: message.into(),
        });
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.0
    }
}
