//! What a rule found, and where.

use std::sync::Arc;

use super::{context::Context, rule::Rule};
use crate::{
    cluster::{Lines, NamespacedName, ObjectName, Sourced},
    input::Place,
};

/// Something that a rule found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// In which object.
    pub object: ObjectName,
    /// Path of the field: `spec.ports[0].port`.
    pub field: String,
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The field's line, counted from 1.
    pub line: u32,
    /// What is there.
    pub message: String,
    /// Why nobody need hear of it, if so.
    pub ignored: Option<Ignored>,
}

/// That a finding is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Who said so.
    pub by: By,
    /// Why.
    pub reason: String,
}

/// Who says that a finding is to be ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Whoever called the program.
    Flag,
    /// The object.
    Annotation,
}

/// An object in which something may be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'c> {
    kind: &'c str,
    namespace: &'c str,
    name: &'c str,
    place: &'c Place,
    lines: Option<&'c Lines>,
}

impl<'c> Subject<'c> {
    pub(super) fn new<T>(kind: &'c str, name: &'c NamespacedName, object: &'c Sourced<T>) -> Self {
        let NamespacedName { namespace, name } = name;
        Self { kind, namespace, name, place: &object.place, lines: Some(&object.lines) }
    }

    /// The same under another name: that of a route is known with its kind.
    pub(super) fn called(self, name: &'c str) -> Self {
        Self { name, ..self }
    }

    /// One of which only the place is known.
    pub(super) fn unread(kind: &'c str, namespace: &'c str, name: &'c str, place: &'c Place) -> Self {
        Self { kind, namespace, name, place, lines: None }
    }

    pub(super) fn at(self, field: &str) -> u32 {
        self.lines.and_then(|lines| lines.of(field)).unwrap_or(self.place.line)
    }
}

/// What is found, rule by rule.
#[derive(Default)]
pub(super) struct Findings {
    rule: Option<&'static Rule>,
    found: Vec<Finding>,
}

impl Findings {
    pub(super) fn run(&mut self, rule: &'static Rule, context: &Context<'_>) {
        self.rule = Some(rule);
        (rule.check)(context, self);
    }

    /// The rule that is run found something in this field.
    pub(super) fn add(&mut self, subject: Subject<'_>, field: impl Into<String>, message: impl Into<String>) {
        let field = field.into();
        let line = subject.at(&field);
        self.add_at(subject, field, line, message);
    }

    /// [`Findings::add`], where the line is known.
    pub(super) fn add_at(
        &mut self,
        subject: Subject<'_>,
        field: impl Into<String>,
        line: u32,
        message: impl Into<String>,
    ) {
        let Some(rule) = self.rule else { return };
        self.found.push(Finding {
            rule,
            object: ObjectName::new(subject.kind, subject.namespace, subject.name),
            field: field.into(),
            file: Arc::clone(&subject.place.file),
            line,
            message: message.into(),
            ignored: None,
        });
    }

    /// All of it, as it stands in the files.
    pub(super) fn into_sorted(mut self) -> Vec<Finding> {
        self.found.sort_by(|a, b| (&a.file, a.line, a.rule.id, &a.field).cmp(&(&b.file, b.line, b.rule.id, &b.field)));
        self.found
    }
}
