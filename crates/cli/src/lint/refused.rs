//! Services that the filter refuses: the errors with which `byname compile` stops.

use super::{
    context::Context,
    findings::{Findings, Subject},
    rule::{Rule, Severity},
};
use crate::compile::refusals;

pub(super) const RULES: &[Rule] = &[Rule {
    id: REFUSED,
    name: "filter-refuses",
    severity: Severity::Error,
    summary: "the filter refuses a Service, and no other rule says why",
    why: "byname compile stops, and the filter refuses the table or leaves this Service out; an API server refuses most of these mistakes too",
    fix: "correct the field to match the Kubernetes API",
    needs: &[],
    absence: None,
    check: refused,
}];

/// The rule that yields to every other rule with an error in the same field.
pub(super) const REFUSED: &str = "BN080";

fn refused(context: &Context<'_>, findings: &mut Findings) {
    for service in &context.services {
        for error in refusals(context.cluster, service.view) {
            let (kind, namespace, name) = (&error.object.kind, &error.object.namespace, &error.object.name);
            let subject = Subject::unread(kind, namespace, name, &error.place).of_service(service.name);
            findings.add_at(subject, error.field, error.line, error.reason).fix(error.fix);
        }
    }
}
