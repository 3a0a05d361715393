//! Finds likely mistakes in the names, ports and endpoints of a cluster.
//!
//! Each file of rules holds one family, and each rule has its check. A rule does not run if the input lacks a kind of object
//! that it needs, and the report says so.

mod api;
mod api_pods;
mod api_slices;
mod backends;
mod baseline;
mod context;
mod deployed;
mod endpoints;
mod exports;
mod exposure;
mod external_names;
mod finding;
mod findings;
mod ignore;
mod ignore_annotations;
mod input;
mod names;
mod patch;
mod ports;
mod public_suffixes;
mod refusal;
mod refused;
mod registry;
mod report;
mod rule;
mod selectors;
mod strict_addresses;
mod topology;
mod unknown_fields;

use std::collections::{BTreeMap, BTreeSet};

use self::context::Context;
pub use self::{
    baseline::Baseline,
    finding::{Finding, Ignored, IgnoredBy},
    ignore::Ignore,
    input::LintInput,
    patch::Patch,
    registry::{by_id, rules},
    report::{LintReport, json, sarif, text},
    rule::{Rule, Severity},
};
use crate::kubernetes::{self, ClusterState, GatewayRoute, NamespacedName, ObjectName, Sourced};

/// The options of lint.
#[derive(Clone, Debug)]
pub struct LintOptions {
    /// The cluster domain.
    pub domain: String,
    /// The mesh's root namespace, whose objects are for every namespace.
    pub root_namespace: String,
    /// The rules to ignore.
    pub ignores: Vec<Ignore>,
    /// The findings to ignore because a team has them already.
    pub baseline: Option<Baseline>,
}

impl Default for LintOptions {
    fn default() -> Self {
        Self {
            domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            ignores: Vec::new(),
            baseline: None,
        }
    }
}

/// Checks objects by every rule.
#[must_use]
pub fn lint(input: &LintInput, options: &LintOptions) -> LintReport {
    check(input, options, false)
}

/// Checks the objects of one file of several. A rule that needs objects of a certain kind does not run, because other files may
/// have them.
#[must_use]
pub fn lint_file(input: &LintInput, options: &LintOptions) -> LintReport {
    check(input, options, true)
}

fn check(input: &LintInput, options: &LintOptions, is_one_of_several: bool) -> LintReport {
    let cluster = &input.cluster;
    let LintOptions { domain, root_namespace, .. } = options;
    let context = Context::new(input, domain, root_namespace, rules().map(|rule| rule.id).collect());
    let mut findings = Vec::new();
    let mut not_run: BTreeMap<&'static str, Vec<&'static Rule>> = BTreeMap::new();
    let mut in_part: BTreeMap<&'static str, Vec<&'static Rule>> = BTreeMap::new();
    for rule in rules() {
        let lacks = |kind: &&str| !is_read(cluster, kind) && matters(&context, rule, kind);
        let missing: BTreeSet<&str> = match is_one_of_several {
            false => rule.needs.iter().copied().filter(lacks).collect(),
            true => rule.needs.first().map(|_| report::OTHER_FILES).into_iter().collect(),
        };
        if missing.is_empty() {
            findings.extend(finding::run(rule, &context));
            if let Some(kind) = rule.absence.filter(|kind| matters(&context, rule, kind) && !cluster.lists_any(kind)) {
                in_part.entry(kind).or_default().push(rule);
            }
        }
        for kind in missing {
            not_run.entry(kind).or_default().push(rule);
        }
    }
    drop_refused_twice(&mut findings);
    for finding in findings.iter_mut().filter(|finding| finding.service.is_none()) {
        finding.service = service_of(finding, cluster);
    }
    finding::sort(&mut findings);
    for finding in &mut findings {
        let in_baseline = options.baseline.as_ref().is_some_and(|baseline| baseline.has(finding));
        let in_baseline = in_baseline.then(|| Ignored { by: IgnoredBy::Baseline, reason: "in the baseline".into() });
        finding.ignored = ignore::why(finding, &options.ignores, cluster).or(in_baseline);
    }
    let stale = options.baseline.as_ref().map_or(0, |baseline| baseline.stale(&findings));
    let unused = ignore::unused(&options.ignores, &findings).collect();
    LintReport { findings, not_run, in_part, unused, stale, services: cluster.services.len() }
}

/// Removes what the filter or an API server refuses where another rule says why.
fn drop_refused_twice(findings: &mut Vec<Finding>) {
    let is_refused = |finding: &Finding| [refused::REFUSED, api::API_REFUSES].contains(&finding.rule.id);
    let (refused, mut others): (Vec<_>, Vec<_>) = findings.drain(..).partition(is_refused);
    let mut errors: BTreeMap<&ObjectName, Vec<&str>> = BTreeMap::new();
    for other in others.iter().filter(|other| other.rule.severity == Severity::Error) {
        errors.entry(&other.object).or_default().push(&other.field);
    }
    let is_new = |Finding { rule, object, field, .. }: &Finding| {
        let says_why = |other: &&str| match rule.id {
            // An error in a port does not say what is wrong with each of its fields.
            api::API_REFUSES => **other == **field,
            _ => other.starts_with(field) || field.starts_with(*other) || field == "metadata.name",
        };
        !errors.get(object).into_iter().flatten().any(says_why)
    };
    let refused: Vec<Finding> = refused.into_iter().filter(is_new).collect();
    others.extend(refused);
    *findings = others;
}

/// The Service that a finding in another object is about.
fn service_of(finding: &Finding, cluster: &ClusterState) -> Option<NamespacedName> {
    let name = NamespacedName::new(&finding.object.namespace, &finding.object.name);
    match finding.object.kind.as_str() {
        "EndpointSlice" => kubernetes::service_of(&name, &cluster.slices.get(&name)?.object),
        "Endpoints" => Some(name),
        _ => None,
    }
}

/// Whether it matters to a rule that the input lacks a kind: ReferenceGrants only for routes into other namespaces, Namespaces only
/// for annotations that name some, and others only for a deployed object.
fn matters(context: &Context<'_>, rule: &Rule, kind: &str) -> bool {
    let leaves = |(name, route): (&NamespacedName, &Sourced<GatewayRoute>)| {
        route.object.backends.iter().any(|(_, to)| to.namespace.as_ref().is_some_and(|to| *to != name.namespace))
    };
    match kind {
        "ReferenceGrant" => context.cluster.routes.iter().any(leaves),
        kind => deployed::matters(context, rule, kind) && exports::matters(context, rule, kind),
    }
}

/// Whether the input has objects of a kind that a rule needs.
fn is_read(cluster: &ClusterState, kind: &str) -> bool {
    match kind {
        "Pod or workload" => cluster.knows_pods(),
        "EndpointSlice" => cluster.knows("EndpointSlice") || cluster.knows("Endpoints"),
        kind => cluster.knows(kind),
    }
}
