//! The findings of a rule, with their places in the input.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{
    context::Context,
    findings::{Diagnostic, Findings},
    patch::Patch,
    rule::{Rule, Severity},
};
use crate::kubernetes::{NamespacedName, ObjectName};

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
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub fix: String,
    /// The fix to paste, if the input has what it takes.
    pub patch: Option<Patch>,
    /// Whether the object was read from an API server.
    pub is_of_api: bool,
    /// The Service that the finding is about.
    pub service: Option<NamespacedName>,
    /// Why the finding is ignored; `None` if it is open.
    pub ignored: Option<Ignored>,
}

impl Finding {
    /// The fix as text to paste, if there is one.
    #[must_use]
    pub fn paste(&self) -> Option<String> {
        self.patch.as_ref()?.text(&self.object, self.line, self.is_of_api)
    }
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
    /// The file of `--baseline`.
    Baseline,
}

/// Runs a rule's check and returns its findings.
pub(super) fn run(rule: &'static Rule, context: &Context<'_>) -> impl Iterator<Item = Finding> {
    let mut findings = Findings::default();
    (rule.check)(context, &mut findings);
    findings.into_diagnostics().into_iter().map(move |diagnostic| {
        let Diagnostic { object, field, file, line, message, service, why, fix, patch } = diagnostic;
        let why = why.unwrap_or(rule.why);
        let fix = fix.unwrap_or_else(|| rule.fix.to_owned());
        let is_of_api = context.cluster.has_read_from_api(&object);
        Finding { rule, object, field, file, line, message, why, fix, patch, is_of_api, service, ignored: None }
    })
}

/// Sorts findings: those about one Service stand together, the worst first, and so do the Services.
pub(super) fn sort(findings: &mut [Finding]) {
    let mut worst: BTreeMap<_, (Reverse<Severity>, Arc<str>, u32)> = BTreeMap::new();
    for finding in findings.iter() {
        let rank = (Reverse(finding.rule.severity), Arc::clone(&finding.file), finding.line);
        let group = worst.entry(group(finding)).or_insert_with(|| rank.clone());
        *group = rank.min(group.clone());
    }
    findings.sort_by_cached_key(|finding| {
        let Finding { rule, file, line, field, .. } = finding;
        let group = group(finding);
        let rank = worst.get(&group).cloned();
        (rank, group, Reverse(rule.severity), Arc::clone(file), *line, rule.id, field.clone())
    });
}

/// The Service that a finding is about, or else its object.
fn group(finding: &Finding) -> (String, String) {
    match &finding.service {
        Some(service) => ("Service".to_owned(), service.to_string()),
        None => (finding.object.kind.clone(), finding.object.path()),
    }
}
