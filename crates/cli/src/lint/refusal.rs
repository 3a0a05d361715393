//! A field that an API server refuses.

use std::net::IpAddr;

use super::{
    findings::{Findings, Subject},
    patch::Patch,
};
use crate::input::Field;

/// What to write in place of what is no qualified name.
pub(super) const QUALIFIED_NAME_FIX: &str =
    "use a name of at most 63 letters, digits, '-', '_' and '.', or such a name behind DOMAIN/";

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

/// An IP address as an API server reads it: with zeros in front of a number or not.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    let parts = text.split('.').map(|part| part.parse().map_or_else(|_| part.to_owned(), |part: u8| part.to_string()));
    parts.collect::<Vec<_>>().join(".").parse().ok()
}
