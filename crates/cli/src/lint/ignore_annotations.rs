//! Annotations that ignore findings.

use super::{
    context::Context,
    findings::{Findings, Subject},
    rule::{Rule, Severity},
};
use crate::kubernetes::Remark;

/// Prefix of an annotation's name. A rule's id follows, and the annotation disables that rule for its object.
pub(super) const ANNOTATION: &str = "ignore-";

pub(super) const RULES: &[Rule] = &[Rule {
    id: "BN090",
    name: "ignore-has-no-effect",
    severity: Severity::Warning,
    summary: "an annotation byname/ignore-… gives no reason, or names a rule that does not exist",
    why: "the annotation ignores nothing, though its author believes that the finding is handled",
    fix: "name a rule of byname lint --list-rules and write the reason as the value, or remove the annotation",
    needs: &[],
    absence: None,
    check: without_effect,
}];

fn without_effect(context: &Context<'_>, findings: &mut Findings) {
    for (object, remarks) in &context.cluster.remarks {
        for Remark { name, text, place, line } in remarks {
            let Some(id) = name.strip_prefix(ANNOTATION) else { continue };
            let message = match context.rule_ids.contains(id) {
                false => format!("rule {id} does not exist"),
                true if text.trim().is_empty() => format!("the annotation gives no reason, so {id} is not ignored"),
                true => continue,
            };
            let subject = Subject::unread(&object.kind, &object.namespace, &object.name, place);
            let annotation = format!("byname/{name}");
            findings.add_at(subject, ["metadata", "annotations", &annotation], *line, message);
        }
    }
}
