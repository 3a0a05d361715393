//! Finds likely mistakes in the names, ports and endpoints of a cluster.
//!
//! Each file of rules holds one family, and each rule has its check. A rule does not run if the input lacks a kind of object
//! that it needs, and the report says so.

mod backends;
mod context;
mod endpoints;
mod exposure;
mod external_names;
mod finding;
mod findings;
mod ignore;
mod ignore_annotations;
mod names;
mod ports;
mod public_suffixes;
mod registry;
mod report;
mod rule;
mod selectors;
mod topology;

use std::collections::{BTreeMap, BTreeSet};

use self::context::Context;
pub use self::{
    finding::{Finding, Ignored, IgnoredBy},
    ignore::Ignore,
    registry::{by_id, rules},
    report::{LintReport, json, sarif, text},
    rule::{Rule, Severity},
};
use crate::kubernetes::ClusterState;

/// The options of lint.
#[derive(Clone, Debug)]
pub struct LintOptions {
    /// The cluster domain.
    pub domain: String,
    /// The rules to ignore.
    pub ignores: Vec<Ignore>,
}

impl Default for LintOptions {
    fn default() -> Self {
        Self { domain: "cluster.local".into(), ignores: Vec::new() }
    }
}

/// The key in [`LintReport::not_run`] of rules that need objects of other files.
const OTHER_FILES: &str = "other files";

/// Checks a cluster by every rule.
#[must_use]
pub fn lint(cluster: &ClusterState, options: &LintOptions) -> LintReport {
    check(cluster, options, false)
}

/// Checks the objects of one file of several. A rule that needs objects of a certain kind does not run, because other files may
/// have them.
#[must_use]
pub fn lint_file(cluster: &ClusterState, options: &LintOptions) -> LintReport {
    check(cluster, options, true)
}

fn check(cluster: &ClusterState, options: &LintOptions, is_one_of_several: bool) -> LintReport {
    let context = Context::new(cluster, &options.domain, rules().map(|rule| rule.id).collect());
    let mut findings = Vec::new();
    let mut not_run: BTreeMap<&'static str, Vec<&'static Rule>> = BTreeMap::new();
    for rule in rules() {
        let missing: BTreeSet<&str> = match is_one_of_several {
            false => rule.needs.iter().copied().filter(|kind| !cluster.knows(kind)).collect(),
            true => rule.needs.first().map(|_| OTHER_FILES).into_iter().collect(),
        };
        if missing.is_empty() {
            findings.extend(finding::run(rule, &context));
        }
        for kind in missing {
            not_run.entry(kind).or_default().push(rule);
        }
    }
    finding::sort(&mut findings);
    for finding in &mut findings {
        finding.ignored = ignore::why(finding, &options.ignores, cluster);
    }
    let unused = ignore::unused(&options.ignores, &findings).collect();
    LintReport { findings, not_run, unused, services: cluster.services.len() }
}
