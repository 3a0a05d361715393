//! Ignored findings: by `--ignore` or by an annotation, each with a reason.

use std::str::FromStr;

use super::{
    finding::{Finding, Ignored, IgnoredBy},
    ignore_annotations::ANNOTATION,
    registry::by_id,
    rule::Rule,
};
use crate::kubernetes::ClusterState;

/// One `--ignore`: a rule to ignore, for one object or everywhere.
#[derive(Clone, Debug)]
pub struct Ignore {
    rule: &'static Rule,
    object: Option<String>,
    reason: String,
}

impl FromStr for Ignore {
    type Err = String;

    /// Parses `BN001=reason` or `BN001:namespace/name=reason`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (what, reason) = text.split_once('=').unwrap_or((text, ""));
        let (id, object) = match what.split_once(':') {
            Some((id, object)) => (id, Some(object)),
            None => (what, None),
        };
        let rule =
            by_id(id).ok_or_else(|| format!("rule {id} does not exist; byname lint --list-rules prints all rules"))?;
        if reason.trim().is_empty() {
            return Err(format!("the reason is missing; write {what}=\"why the finding is acceptable\""));
        }
        if object.is_some_and(str::is_empty) {
            return Err(format!(
                "the object after ':' is missing; write {id}:namespace/name=reason, or {id}=reason for all objects"
            ));
        }
        Ok(Self { rule, object: object.map(str::to_owned), reason: reason.trim().to_owned() })
    }
}

impl Ignore {
    fn is_for(&self, finding: &Finding) -> bool {
        self.rule.id == finding.rule.id && self.object.as_ref().is_none_or(|path| *path == finding.object.path())
    }
}

/// The ignores that match none of `findings`, as the user wrote them.
pub(super) fn unused<'i>(ignores: &'i [Ignore], findings: &'i [Finding]) -> impl Iterator<Item = String> + 'i {
    let unused = ignores.iter().filter(|ignore| !findings.iter().any(|finding| ignore.is_for(finding)));
    unused.map(|Ignore { rule, object, .. }| match object {
        Some(object) => format!("{}:{object}", rule.id),
        None => rule.id.to_owned(),
    })
}

/// The reason why a finding is ignored; `None` if it is not.
pub(super) fn why(finding: &Finding, ignores: &[Ignore], cluster: &ClusterState) -> Option<Ignored> {
    if let Some(ignore) = ignores.iter().find(|ignore| ignore.is_for(finding)) {
        return Some(Ignored { by: IgnoredBy::Flag, reason: ignore.reason.clone() });
    }
    let remarks = cluster.remarks.get(&finding.object)?;
    let remark = remarks.iter().find(|remark| remark.name.strip_prefix(ANNOTATION) == Some(finding.rule.id))?;
    let reason = remark.text.trim();
    (!reason.is_empty()).then(|| Ignored { by: IgnoredBy::Annotation, reason: reason.to_owned() })
}
