//! Annotations that ignore findings.

use super::{
    context::Context,
    findings::{Findings, Subject},
    rule::{Rule, Severity},
};
use crate::kubernetes::Remark;

/// Annotations of this name, with a rule's id behind it, switch that rule off for their object.
pub(super) const ANNOTATION: &str = "ignore-";

pub(super) const RULES: &[Rule] = &[Rule {
    id: "BN090",
    name: "ignore-has-no-effect",
    severity: Severity::Warning,
    summary: "an annotation byname/ignore-… without a reason, or for a rule that there is not",
    why: "nothing is ignored by it: whoever wrote it believes that a finding is dealt with",
    fix: "write the reason as its value and a rule of byname lint --list-rules in its name, or take it out",
    needs: &[],
    check: without_effect,
}];

fn without_effect(context: &Context<'_>, findings: &mut Findings) {
    for (object, remarks) in &context.cluster.remarks {
        for Remark { name, text, place, line } in remarks {
            let Some(id) = name.strip_prefix(ANNOTATION) else { continue };
            let message = match context.rule_ids.contains(id) {
                false => format!("there is no rule {id}"),
                true if text.trim().is_empty() => format!("it gives no reason, so {id} is not ignored"),
                true => continue,
            };
            let subject = Subject::unread(&object.kind, &object.namespace, &object.name, place);
            findings.add_at(subject, format!("metadata.annotations.byname/{name}"), *line, message);
        }
    }
}
