//! The findings of a rule, with their places in the input.

use std::sync::Arc;

use super::{
    context::Context,
    findings::{Diagnostic, Findings},
    rule::Rule,
};
use crate::kubernetes::ObjectName;

/// A finding of a rule.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// The object that it is in.
    pub object: ObjectName,
    /// Path of the field: `spec.ports[0].port`.
    pub field: String,
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// The field's line, from 1.
    pub line: u32,
    /// What is wrong in this object.
    pub message: String,
    /// Why the finding is ignored; `None` if it is open.
    pub ignored: Option<Ignored>,
}

/// How and why a finding is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The source of the ignore.
    pub by: IgnoredBy,
    /// The reason given there.
    pub reason: String,
}

/// The source of an ignore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoredBy {
    /// The option `--ignore`.
    Flag,
    /// An annotation of the object.
    Annotation,
}

/// Runs a rule's check and returns its findings.
pub(super) fn run(rule: &'static Rule, context: &Context<'_>) -> impl Iterator<Item = Finding> {
    let mut findings = Findings::default();
    (rule.check)(context, &mut findings);
    findings.into_diagnostics().into_iter().map(move |diagnostic| {
        let Diagnostic { object, field, file, line, message } = diagnostic;
        Finding { rule, object, field, file, line, message, ignored: None }
    })
}

/// Sorts findings by file and line.
pub(super) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (&a.file, a.line, a.rule.id, &a.field).cmp(&(&b.file, b.line, b.rule.id, &b.field)));
}
