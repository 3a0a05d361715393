//! The annotation `byname/export-to`, by which `byname serve` narrows who sees a Service.

use super::{
    context::Context,
    findings::Findings,
    rule::{Rule, Severity},
};
use crate::{
    kubernetes::{EXPORT_TO, EXPORT_TO_FIX, ObjectName, Remark, Visibility},
    output::some,
};

/// The rule that needs to know all namespaces.
const NAMES_NOBODY: &str = "BN092";

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "BN091",
        name: "export-to-is-unreadable",
        severity: Severity::Warning,
        summary: "an annotation byname/export-to cannot be read",
        why: "byname serve shows the Services to their own namespace only, whoever the annotation is meant for",
        fix: EXPORT_TO_FIX,
        needs: &[],
        absence: None,
        check: unreadable,
    },
    Rule {
        id: NAMES_NOBODY,
        name: "export-to-names-no-namespace",
        severity: Severity::Info,
        summary: "an annotation byname/export-to names a namespace that does not exist",
        why: "the name shows the Services to nobody until the namespace exists; it may be a typo",
        fix: "correct the name, or create the namespace",
        needs: &[],
        absence: Some("Namespace"),
        check: names_nobody,
    },
];

/// Whether it matters to a rule that the input lacks Namespaces.
pub(super) fn matters(context: &Context<'_>, rule: &Rule, kind: &str) -> bool {
    rule.id != NAMES_NOBODY || kind != "Namespace" || annotations(context).next().is_some()
}

/// The annotations that `byname serve` reads, with their objects.
fn annotations<'c>(context: &Context<'c>) -> impl Iterator<Item = (&'c ObjectName, &'c Remark)> {
    let objects = context.cluster.remarks.iter().filter(|(object, _)| {
        let ObjectName { kind, .. } = object;
        kind == "Service" || kind == "Namespace"
    });
    let name = EXPORT_TO.trim_start_matches("byname/");
    objects
        .flat_map(|(object, remarks)| remarks.iter().map(move |remark| (object, remark)))
        .filter(move |(_, remark)| remark.name == name)
}

/// The namespace that `.` stands for.
fn own(object: &ObjectName) -> &str {
    if object.kind == "Namespace" { &object.name } else { &object.namespace }
}

fn unreadable(context: &Context<'_>, findings: &mut Findings) {
    for (object, remark) in annotations(context) {
        if let Err(why) = Visibility::parse(&remark.text, own(object)) {
            findings.add_annotation(object, remark, why);
        }
    }
}

fn names_nobody(context: &Context<'_>, findings: &mut Findings) {
    if !context.cluster.lists("Namespace", "") {
        return;
    }
    for (object, remark) in annotations(context) {
        let Ok(Visibility::Namespaces(names)) = Visibility::parse(&remark.text, own(object)) else { continue };
        let missing: Vec<&Box<str>> =
            names.iter().filter(|name| !context.cluster.namespaces.contains_key(&***name)).collect();
        if !missing.is_empty() {
            let word = if missing.len() == 1 { "namespace does" } else { "namespaces do" };
            findings.add_annotation(object, remark, format!("{word} not exist: {}", some(missing)));
        }
    }
}
