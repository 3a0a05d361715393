//! What a rule is.

use std::fmt;

use super::{context::Context, findings::Findings};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know; nothing need be wrong.
    Info,
    /// It does something else than it seems to.
    Warning,
    /// It cannot work.
    Error,
}

impl Severity {
    /// Its word.
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

/// One thing that is looked for.
#[derive(Debug)]
pub struct Rule {
    /// Never given to another rule: `BN001`.
    pub id: &'static str,
    /// What people call it: `selector-matches-no-pod`.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What it sees, in one line.
    pub summary: &'static str,
    /// Why that hurts.
    pub why: &'static str,
    /// How to mend it.
    pub fix: &'static str,
    /// Kinds without which nothing can be said.
    pub needs: &'static [&'static str],
    pub(super) check: fn(&Context<'_>, &mut Findings),
}
