//! A rule of lint: what it checks, why that matters and how to fix it.

use std::fmt;

use super::{context::Context, findings::Findings};

/// The severity of a rule's findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing, but perhaps intended.
    Info,
    /// The configuration does not do what it seems to.
    Warning,
    /// The configuration cannot work.
    Error,
}

impl Severity {
    /// The severity's name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// The rule's id, such as `BN001`. It is never reused for another rule.
    pub id: &'static str,
    /// The rule's name, such as `selector-matches-no-pod`.
    pub name: &'static str,
    /// The severity of its findings.
    pub severity: Severity,
    /// What the rule finds, in one line.
    pub summary: &'static str,
    /// Why a finding matters.
    pub why: &'static str,
    /// How to fix a finding.
    pub fix: &'static str,
    /// The kinds of objects that the rule needs. If the input lacks one, the rule does not run.
    pub needs: &'static [&'static str],
    /// The kind that an API server must have listed, for a rule that judges by the absence of an object.
    pub absence: Option<&'static str>,
    pub(super) check: fn(&Context<'_>, &mut Findings),
}
