//! What a client gets that is answered here: a status, a gRPC status, and one line that says what was asked, what was
//! tried and what to do next.

use alloc::string::String;
use core::fmt::Write;

use crate::{
    limits::MAX_SHOWN_AUTHORITY_BYTES,
    reason::Reason,
    resolve::Request,
    trace::{HopOutcome, Outcome, Step, Trace, shown},
};

/// A local answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Why.
    pub reason: Reason,
    /// HTTP status.
    pub status: u16,
    /// gRPC status code, for a request that is gRPC.
    pub grpc_status: u8,
    /// One line of text.
    pub body: String,
}

/// HTTP and gRPC status of a refusal.
fn statuses(reason: Reason) -> (u16, u8) {
    match reason {
        Reason::BadAuthority => (400, 3),
        Reason::AliasDenied => (403, 7),
        Reason::NoEndpoints => (503, 14),
        Reason::AliasLoop => (508, 9),
        // `name_not_found` and `port_not_found`; the others are never refused.
        _ => (404, 5),
    }
}

impl Answer {
    /// The answer to `request` of a caller in `namespace`, refused for `reason` after the steps of `trace`.
    #[must_use]
    pub(crate) fn new(reason: Reason, request: Request<'_>, namespace: &str, trace: &Trace) -> Self {
        let (status, grpc_status) = statuses(reason);
        let asked = shown(request.authority, MAX_SHOWN_AUTHORITY_BYTES);
        let mut body = String::new();
        // Into a String: it cannot fail.
        let _ = write!(body, "byname: {reason}: \"{asked}\" from namespace {namespace}: ");
        write_tried(&mut body, reason, trace);
        let _ = writeln!(body, "; {}", next_step(reason, trace));
        Self { reason, status, grpc_status, body }
    }
}

fn write_tried(body: &mut String, reason: Reason, trace: &Trace) {
    let steps = || trace.steps.iter();
    let is_alias = steps().any(|step| matches!(step, Step::Hop { .. }));
    if reason == Reason::NameNotFound && !is_alias {
        body.push_str("none of these exists:");
        for step in steps() {
            if let Step::Candidate { name, outcome } = step
                && *outcome != Outcome::Exists
            {
                let _ = write!(body, " {name}");
            }
        }
    } else {
        // Behind a fallback the steps are about something else than what was asked.
        let own = || steps().take_while(|step| !matches!(step, Step::Fallback { .. }));
        if let Some(step) = own().filter(|step| !matches!(step, Step::Steer { .. })).last() {
            if let Step::Port { .. } | Step::Endpoints(_) = step
                && let Some(name) = own().filter_map(Step::tried).last()
            {
                let _ = write!(body, "{name}: ");
            }
            let _ = write!(body, "{step}");
        }
    }
    for step in steps().filter(|step| matches!(step, Step::Fallback { .. })) {
        let _ = write!(body, "; {step}");
    }
}

fn next_step(reason: Reason, trace: &Trace) -> &'static str {
    let last_hop = trace.steps.iter().rev().find_map(|step| match step {
        Step::Hop { outcome, .. } => Some(outcome),
        _ => None,
    });
    match (reason, last_hop) {
        (Reason::BadAuthority, _) => "send one Host that is a name or an address, with a port or without",
        (Reason::AliasDenied, Some(HopOutcome::NotGranted { .. })) => {
            "grant it in externalNames.grants, or point the alias into its own namespace"
        }
        (Reason::AliasDenied, Some(HopOutcome::AlwaysRefused)) => {
            "point the alias elsewhere: no list can allow this target"
        }
        (Reason::AliasDenied, _) => "list the host and port in externalNames.allow, or correct the alias",
        (Reason::AliasLoop, _) => "correct the externalName of one Service on the way",
        (Reason::NoEndpoints, _) => "look at the Service's selector and at the readiness of its pods",
        (Reason::PortNotFound, _) => "ask for a port that the Service declares: kubectl get service shows them",
        (Reason::NameNotFound, Some(HopOutcome::Missing(_))) => "correct the externalName, or create its target",
        _ => "check the name and the namespace: kubectl get service --all-namespaces shows them",
    }
}
