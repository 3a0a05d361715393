//! A baseline: the findings that a team has today and does not want to hear of again.

use std::{collections::BTreeSet, io, path::Path};

use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::input;

/// The version of the file's form.
const VERSION: u32 = 1;

/// The findings of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    version: u32,
    findings: BTreeSet<BaselineEntry>,
}

/// What stays the same of a finding while lines and counts change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BaselineEntry {
    /// `Service shop/web`.
    object: String,
    rule: String,
    field: String,
}

impl BaselineEntry {
    fn of(finding: &Finding) -> Self {
        let Finding { rule, object, field, .. } = finding;
        Self { object: object.to_string(), rule: rule.id.to_owned(), field: field.clone() }
    }
}

impl Baseline {
    /// Reads a file that [`Baseline::text`] wrote.
    ///
    /// # Errors
    /// If the file cannot be read, or is not a baseline.
    pub fn read(path: &Path) -> io::Result<Self> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        let baseline: Self =
            serde_json::from_str(&input::read_text(path)?).map_err(|error| invalid(error.to_string()))?;
        match baseline.version {
            VERSION => Ok(baseline),
            other => Err(invalid(format!("version {other} is unknown; this version of byname reads {VERSION}"))),
        }
    }

    /// The number of findings.
    #[must_use]
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// The open findings of a report.
    pub(super) fn of<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Self {
        Self { version: VERSION, findings: findings.into_iter().map(BaselineEntry::of).collect() }
    }

    /// The file: one line for each finding, so that a change is easy to review.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = self.findings.iter().filter_map(|entry| serde_json::to_string(entry).ok());
        let lines: Vec<String> = lines.map(|line| format!("    {line}")).collect();
        let lines = if lines.is_empty() { String::new() } else { format!("\n{}\n  ", lines.join(",\n")) };
        format!("{{\n  \"version\": {VERSION},\n  \"findings\": [{lines}]\n}}\n")
    }

    /// Whether the baseline has a finding.
    pub(super) fn has(&self, finding: &Finding) -> bool {
        self.findings.contains(&BaselineEntry::of(finding))
    }

    /// The number of entries that match none of `findings`: they are fixed.
    pub fn stale(&self, findings: &[Finding]) -> usize {
        let there: BTreeSet<BaselineEntry> = findings.iter().map(BaselineEntry::of).collect();
        self.findings.difference(&there).count()
    }
}
