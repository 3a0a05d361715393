//! Following fallbacks, where a Service is missing or has no usable endpoint.

use alloc::{format, string::ToString};

use super::{
    reason::Reason,
    resolution::Destination,
    trace::{FallbackOutcome, PortOrigin, Step},
    walk_state::{Next, RequestedPort, Visit, Walk},
};
use crate::{
    names::ClusterName,
    policy::{Fallback, FallbackTarget},
    table::{Key, Match, Missing},
    wire::Trigger,
};

impl<'t> Walk<'t, '_> {
    /// Where the walk goes on if `name`, which does not exist, is the whole name of a Service with a fallback.
    pub(super) fn fallback_of_name(
        &mut self,
        name: &ClusterName<'_>,
        missing: Missing,
        port: RequestedPort,
    ) -> Option<Next<'t>> {
        if self.table.policy().fallbacks.is_empty() {
            return None;
        }
        name.service()?;
        self.fallback((name.text(1), name.text(2)), trigger_of(missing)?, port)
    }

    /// Where the walk goes on in the place of a Service; `None` where the Service has no fallback that helps.
    pub(super) fn fallback(
        &mut self,
        (namespace, name): (&str, &str),
        trigger: Trigger,
        mut port: RequestedPort,
    ) -> Option<Next<'t>> {
        let table = self.table;
        let fallback = table.policy().fallbacks.get(&[namespace, "/", name])?;
        let (applies, reason) = match trigger {
            Trigger::Missing => (fallback.when_missing, Reason::FallbackMissing),
            Trigger::NoEndpoints => (fallback.when_no_endpoints, Reason::FallbackNoEndpoints),
        };
        if !applies {
            return None;
        }
        let reason = *self.visited.fallback_reason.get_or_insert(reason);
        port.replace(PortOrigin::Fallback, fallback.port, fallback.tls);
        let (outcome, next) = self.follow_fallback(fallback, port, reason);
        self.note(|| Step::Fallback {
            of: format!("{namespace}/{name}").into(),
            to: fallback.target.to_string().into(),
            trigger,
            outcome,
        });
        match (outcome, &fallback.target) {
            // The recursion is bounded by MAX_FALLBACK_HOPS.
            (FallbackOutcome::Missing(missing), FallbackTarget::Service(target)) => {
                self.fallback(target.parts(), trigger_of(missing)?, port)
            }
            _ => next,
        }
    }

    fn follow_fallback(
        &mut self,
        fallback: &'t Fallback,
        port: RequestedPort,
        reason: Reason,
    ) -> (FallbackOutcome, Option<Next<'t>>) {
        match self.visited.visit_fallback(fallback) {
            Visit::First => {}
            Visit::Circle => return (FallbackOutcome::Circle, None),
            Visit::TooMany => return (FallbackOutcome::TooMany, None),
        }
        match &fallback.target {
            FallbackTarget::Service(target) => {
                match self.table.existing(target.namespace().as_bytes(), target.name().as_bytes()) {
                    Ok(service) => (FallbackOutcome::Inside, Some(Next::Match(Match::Service(service), port))),
                    Err(missing) => {
                        self.note_missing(missing, || Some(Key::Service(target.clone())));
                        (FallbackOutcome::Missing(missing), None)
                    }
                }
            }
            FallbackTarget::Host(host) => {
                let route = port.route_to(Destination::External(host), reason);
                (FallbackOutcome::Outside { port: port.number }, Some(Next::End(route)))
            }
        }
    }
}

/// The trigger of a fallback for a Service that is missing in this way; `None` where it is not a Service that is missing.
fn trigger_of(missing: Missing) -> Option<Trigger> {
    match missing {
        Missing::Service | Missing::Unanswered | Missing::Outdated => Some(Trigger::Missing),
        Missing::NothingReady => Some(Trigger::NoEndpoints),
        _ => None,
    }
}
