//! What a rule found, and where.

use std::sync::Arc;

use super::{
    context::Context,
    findings::{Diagnostic, Findings},
    rule::Rule,
};
use crate::kubernetes::ObjectName;

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
    pub by: IgnoredBy,
    /// Why.
    pub reason: String,
}

/// Who says that a finding is to be ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IgnoredBy {
    /// Whoever called the program.
    Flag,
    /// The object.
    Annotation,
}

/// Runs the check of a rule.
pub(super) fn run(rule: &'static Rule, context: &Context<'_>) -> impl Iterator<Item = Finding> {
    let mut findings = Findings::default();
    (rule.check)(context, &mut findings);
    findings.into_diagnostics().into_iter().map(move |diagnostic| {
        let Diagnostic { object, field, file, line, message } = diagnostic;
        Finding { rule, object, field, file, line, message, ignored: None }
    })
}

/// Sorts findings as they stand in the files.
pub(super) fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (&a.file, a.line, a.rule.id, &a.field).cmp(&(&b.file, b.line, b.rule.id, &b.field)));
}
