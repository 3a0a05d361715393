//! The local reply to a refused request: a status, a gRPC status code, and one line that says what was asked, what was tried
//! and what to do.

use alloc::string::String;
use core::fmt::Write;

use crate::{
    limits::MAX_SHOWN_AUTHORITY_BYTES,
    resolve::{
        Reason, Refusal, Request, Trace,
        trace::{HopOutcome, Lack, Outcome, Step},
    },
    text::shown,
};

/// A local reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The reason of the refusal.
    pub reason: Reason,
    /// The HTTP status.
    pub status: u16,
    /// The gRPC status code, for a gRPC request.
    pub grpc_status: u8,
    /// One line of text.
    pub body: String,
}

/// The HTTP status (RFC 9110 section 15) and the gRPC status code of a refusal.
fn statuses(refusal: Refusal) -> (u16, u8) {
    match refusal {
        Refusal::BadAuthority => (400, 3),
        Refusal::AliasDenied => (403, 7),
        Refusal::NameNotFound | Refusal::PortNotFound => (404, 5),
        Refusal::NoEndpoints | Refusal::Unanswered => (503, 14),
        Refusal::AliasLoop => (508, 9),
    }
}

impl LocalReply {
    /// The reply to `request` of a caller in `namespace`, refused after the steps of `trace`.
    #[must_use]
    pub(crate) fn new(refusal: Refusal, request: Request<'_>, namespace: &str, trace: &Trace) -> Self {
        let (status, grpc_status) = statuses(refusal);
        let reason = refusal.reason();
        let asked = shown(request.authority, MAX_SHOWN_AUTHORITY_BYTES);
        let mut body = String::new();
        // Writing to a String cannot fail.
        let _ = write!(body, "byname: {reason}: \"{asked}\" from namespace {namespace}: ");
        write_tried(&mut body, refusal, trace);
        let _ = writeln!(body, "; {}", next_step(refusal, trace));
        Self { reason, status, grpc_status, body }
    }
}

/// Writes what was tried before the request was refused.
fn write_tried(body: &mut String, refusal: Refusal, trace: &Trace) {
    let steps = || trace.steps.iter();
    let is_alias = steps().any(|step| matches!(step, Step::Hop { .. }));
    if refusal == Refusal::Unanswered {
        body.push_str("the server has not answered for");
        for name in steps().filter_map(Step::unanswered) {
            let _ = write!(body, " {name}");
        }
    } else if refusal == Refusal::NameNotFound && !is_alias {
        body.push_str("none of these names exists:");
        for step in steps() {
            if let Step::Candidate { name, outcome, .. } = step
                && *outcome != Outcome::Exists
            {
                let _ = write!(body, " {name}");
            }
        }
    } else {
        // What is known and not ready ends a search that found nothing else.
        let lacks_readiness = |step: &&Step| matches!(step, Step::Candidate { outcome: Outcome::Missing(missing), .. } if missing.lacks_readiness());
        let reached_endpoints = steps().any(|step| matches!(step, Step::Endpoints(_) | Step::Hop { .. }));
        // The steps after a fallback are about the fallback, not about the requested name.
        let own = || steps().take_while(|step| !matches!(step, Step::Fallback { .. }));
        if let (Refusal::NoEndpoints, false, Some(step)) = (refusal, reached_endpoints, steps().find(lacks_readiness)) {
            let _ = write!(body, "{step}");
        } else if let Some(step) = own().filter(|step| !matches!(step, Step::Steer { .. })).last() {
            if let Step::Port { .. }
            | Step::PodPort { .. }
            | Step::NamedPort { .. }
            | Step::OtherPort { .. }
            | Step::Endpoints(_) = step
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

/// What to do about a refusal.
fn next_step(refusal: Refusal, trace: &Trace) -> &'static str {
    let last_hop = trace.steps.iter().rev().find_map(|step| match step {
        Step::Hop { outcome, .. } => Some(outcome),
        _ => None,
    });
    match (refusal, last_hop) {
        (Refusal::BadAuthority, _) => "send a single Host header: a name or an address, with an optional port",
        (Refusal::AliasDenied, Some(HopOutcome::NotGranted { .. })) => {
            "add a grant to externalNames.grants, or point the alias to a Service of its own namespace"
        }
        (Refusal::AliasDenied, Some(HopOutcome::AlwaysRefused)) => {
            "point the alias to another target: no configuration can allow this one"
        }
        (Refusal::AliasDenied, _) => "add the host and port to externalNames.allow, or correct the alias",
        (Refusal::Unanswered, _) => {
            "retry; if it stays, check that byname serve runs and that this sidecar can reach it"
        }
        (Refusal::AliasLoop, _) => "correct the externalName of one of these Services",
        (Refusal::NoEndpoints, _) if trace.steps.iter().any(Step::lacks_node) => {
            "set NODE_NAME in the node's metadata, or caller.node in the configuration, as byname watch --pod does"
        }
        (Refusal::NoEndpoints, _) => match trace.steps.iter().rev().find_map(Step::lack) {
            Some(Lack::Port(_)) => "check the Service's targetPort: it must be the name or number of a container port",
            Some(Lack::Family(_)) => "check the Service's ipFamilies",
            Some(Lack::Endpoints) | None => "check the Service's selector and the readiness of its pods",
        },
        (Refusal::PortNotFound, _) if trace.steps.iter().any(|step| matches!(step, Step::PodPort { .. })) => {
            "steer the Service by endpoint, or list the port in the Service"
        }
        (Refusal::PortNotFound, _) if trace.steps.iter().any(|step| matches!(step, Step::NamedPort { .. })) => {
            "leave the port out, or use the port of the name"
        }
        (Refusal::PortNotFound, _) if trace.steps.iter().any(|step| matches!(step, Step::OtherPort { .. })) => {
            "use a TCP port of the Service: kubectl get service lists them"
        }
        (Refusal::PortNotFound, _) => "use a port that the Service declares: kubectl get service lists them",
        (Refusal::NameNotFound, Some(HopOutcome::Missing(_))) => "correct the externalName, or create its target",
        (Refusal::NameNotFound, _) => {
            "check the name and the namespace: kubectl get service --all-namespaces lists them"
        }
    }
}
