//! How findings are switched off: by a flag or by an annotation, and never without a reason.

use std::str::FromStr;

use super::{
    context::Context,
    finding::{By, Finding, Findings, Ignored, Subject},
    rule::{Rule, Severity, by_id},
};
use crate::cluster::{Cluster, Remark};

/// Annotations of this name, with a rule's id behind it, switch that rule off for their object.
const ANNOTATION: &str = "ignore-";

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

/// That a rule is to be ignored, in one object or everywhere.
#[derive(Clone, Debug)]
pub struct Ignore {
    rule: &'static Rule,
    object: Option<String>,
    reason: String,
}

impl FromStr for Ignore {
    type Err = String;

    /// `BN001=reason` or `BN001:namespace/name=reason`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (what, reason) = text.split_once('=').unwrap_or((text, ""));
        let (id, object) = match what.split_once(':') {
            Some((id, object)) => (id, Some(object)),
            None => (what, None),
        };
        let rule = by_id(id).ok_or("there is no such rule; byname lint --list-rules has all of them")?;
        if reason.trim().is_empty() {
            return Err(format!("it has no reason; write {what}=\"why it is not wrong here\""));
        }
        if object.is_some_and(str::is_empty) {
            return Err(format!("it names no object; write {id}:namespace/name=reason, or {id}=reason for all"));
        }
        Ok(Self { rule, object: object.map(str::to_owned), reason: reason.trim().to_owned() })
    }
}

impl Ignore {
    fn is_for(&self, finding: &Finding) -> bool {
        self.rule.id == finding.rule.id && self.object.as_ref().is_none_or(|path| *path == finding.object.path())
    }
}

/// Those that are for none of `findings`, as they were written.
pub(super) fn unused<'i>(ignores: &'i [Ignore], findings: &'i [Finding]) -> impl Iterator<Item = String> + 'i {
    let unused = ignores.iter().filter(|ignore| !findings.iter().any(|finding| ignore.is_for(finding)));
    unused.map(|Ignore { rule, object, .. }| match object {
        Some(object) => format!("{}:{object}", rule.id),
        None => rule.id.to_owned(),
    })
}

/// Why a finding is ignored, if it is.
pub(super) fn why(finding: &Finding, ignores: &[Ignore], cluster: &Cluster) -> Option<Ignored> {
    if let Some(ignore) = ignores.iter().find(|ignore| ignore.is_for(finding)) {
        return Some(Ignored { by: By::Flag, reason: ignore.reason.clone() });
    }
    let remarks = cluster.remarks.get(&finding.object)?;
    let remark = remarks.iter().find(|remark| remark.name.strip_prefix(ANNOTATION) == Some(finding.rule.id))?;
    let reason = remark.text.trim();
    (!reason.is_empty()).then(|| Ignored { by: By::Annotation, reason: reason.to_owned() })
}

fn without_effect(context: &Context<'_>, findings: &mut Findings) {
    for (object, remarks) in &context.cluster.remarks {
        for Remark { name, text, place, line } in remarks {
            let Some(id) = name.strip_prefix(ANNOTATION) else { continue };
            let message = match by_id(id) {
                None => format!("there is no rule {id}"),
                Some(_) if text.trim().is_empty() => format!("it gives no reason, so {id} is not ignored"),
                Some(_) => continue,
            };
            let subject = Subject::unread(&object.kind, &object.namespace, &object.name, place);
            findings.add_at(subject, format!("metadata.annotations.byname/{name}"), *line, message);
        }
    }
}
