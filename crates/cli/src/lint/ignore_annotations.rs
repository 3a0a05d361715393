//! Annotations that ignore findings.

use super::{
    context::Context,
    findings::Findings,
    rule::{Rule, Severity},
};

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
        for remark in remarks {
            let Some(id) = remark.name.strip_prefix(ANNOTATION) else { continue };
            let message = match context.rule_ids.contains(id) {
                false => format!("rule {id} does not exist"),
                true if remark.text.trim().is_empty() => {
                    format!("the annotation gives no reason, so {id} is not ignored")
                }
                true => continue,
            };
            findings.add_annotation(object, remark, message);
        }
    }
}
