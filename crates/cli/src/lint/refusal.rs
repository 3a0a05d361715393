//! A field that an API server refuses.

use super::{
    findings::{Findings, Subject},
    patch::Patch,
};
use crate::input::Field;

/// A field that an API server refuses.
pub(super) struct Refusal {
    field: Field,
    reason: String,
    fix: &'static str,
    patch: Option<Patch>,
}

impl Refusal {
    pub(super) fn new(field: impl Into<Field>, reason: impl Into<String>, fix: &'static str) -> Self {
        Self { field: field.into(), reason: reason.into(), fix, patch: None }
    }

    /// This with the field's removal to paste.
    pub(super) fn removable(self) -> Self {
        Self { patch: Some(Patch::Remove(self.field.clone())), ..self }
    }

    /// This with a value of the field to paste.
    pub(super) fn settable(self, value: Option<serde_json::Value>) -> Self {
        Self { patch: value.map(|value| Patch::Set(self.field.clone(), value)), ..self }
    }

    /// Reports it.
    pub(super) fn report(self, subject: Subject<'_>, findings: &mut Findings) {
        let Self { field, reason, fix, patch } = self;
        findings.add(subject, field, reason).fix(fix).patch(patch);
    }
}
