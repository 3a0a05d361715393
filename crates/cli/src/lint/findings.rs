//! Collects what the check of one rule finds.

use std::sync::Arc;

use super::patch::Patch;
use crate::{
    input::{Field, SourceLocation},
    kubernetes::{Lines, NamespacedName, ObjectName, Remark, Sourced, Workload},
};

/// An object that a check may report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'c> {
    kind: &'c str,
    namespace: &'c str,
    name: &'c str,
    place: &'c SourceLocation,
    lines: Option<&'c Lines>,
    /// The Service that findings are about, beside which reports show them.
    service: Option<&'c NamespacedName>,
}

impl<'c> Subject<'c> {
    pub(super) fn new<T>(kind: &'c str, name: &'c NamespacedName, object: &'c Sourced<T>) -> Self {
        let NamespacedName { namespace, name } = name;
        Self { kind, namespace, name, place: &object.place, lines: Some(&object.lines), service: None }
    }

    /// The object of this name, with its kind.
    pub(super) fn of_object<T>(name: &'c ObjectName, object: &'c Sourced<T>) -> Self {
        let ObjectName { kind, namespace, name } = name;
        Self { kind, namespace, name, place: &object.place, lines: Some(&object.lines), service: None }
    }

    /// This subject, for findings about a Service.
    pub(super) fn of_service(self, service: &'c NamespacedName) -> Self {
        Self { service: Some(service), ..self }
    }

    /// A workload, which is keyed by `kind/name`.
    pub(super) fn of_workload(name: &'c NamespacedName, workload: &'c Sourced<Workload>) -> Self {
        Self::new(workload.object.kind, name, workload).called(&workload.object.name)
    }

    /// This subject with another name: routes are keyed by `kind/name`, and findings show the name alone.
    pub(super) fn called(self, name: &'c str) -> Self {
        Self { name, ..self }
    }

    /// A subject whose fields have no known lines.
    pub(super) fn unread(kind: &'c str, namespace: &'c str, name: &'c str, place: &'c SourceLocation) -> Self {
        Self { kind, namespace, name, place, lines: None, service: None }
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
    /// The Service that the finding is about.
    pub(super) service: Option<NamespacedName>,
    /// Why it matters, where the rule's words do not fit.
    pub(super) why: Option<&'static str>,
    /// The fix, where it says more than that of the rule.
    pub(super) fix: Option<String>,
    pub(super) patch: Option<Patch>,
}

impl Diagnostic {
    /// Sets why this finding matters.
    pub(super) fn why(&mut self, why: &'static str) -> &mut Self {
        self.why = Some(why);
        self
    }

    /// Sets the fix of this finding.
    pub(super) fn fix(&mut self, fix: impl Into<String>) -> &mut Self {
        self.fix = Some(fix.into());
        self
    }

    /// Sets the fix to paste.
    pub(super) fn patch(&mut self, patch: impl Into<Option<Patch>>) {
        self.patch = patch.into();
    }
}

impl Findings {
    /// Adds a diagnostic for a field of `subject`.
    pub(super) fn add(
        &mut self,
        subject: Subject<'_>,
        field: impl Into<Field>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let field = field.into();
        let line = subject.at(&field);
        self.add_at(subject, field, line, message)
    }

    /// [`Findings::add`] with a known line.
    pub(super) fn add_at(
        &mut self,
        subject: Subject<'_>,
        field: impl Into<Field>,
        line: u32,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.0.push_mut(Diagnostic {
            object: ObjectName::new(subject.kind, subject.namespace, subject.name),
            field: field.into().to_string(),
            file: Arc::clone(&subject.place.file),
            line,
            message: message.into(),
            service: subject.service.cloned(),
            why: None,
            fix: None,
            patch: None,
        })
    }

    /// Adds a diagnostic for an annotation of byname's.
    pub(super) fn add_annotation(&mut self, object: &ObjectName, remark: &Remark, message: impl Into<String>) {
        let subject = Subject::unread(&object.kind, &object.namespace, &object.name, &remark.place);
        let annotation = format!("byname/{}", remark.name);
        self.add_at(subject, ["metadata", "annotations", &annotation], remark.line, message);
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.0
    }
}
