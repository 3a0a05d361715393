//! The state of one resolution, shared by its stages: what is asked for, and what was visited on the way.

use alloc::{string::ToString, vec::Vec};

use super::{
    reason::{Reason, Refusal},
    resolution::{Destination, Resolution, Route, Upstream},
    trace::{PortOrigin, Step, Trace},
};
use crate::{
    limits::{MAX_ALIAS_HOPS, MAX_FALLBACK_HOPS, MAX_REQUEST_KEYS},
    names::Caller,
    policy::Fallback,
    table::{AliasTarget, Key, Match, Missing, Service, Table},
    wire::{OnTimeout, UnknownNames},
};

/// One resolution under way.
pub(super) struct Walk<'t, 'w> {
    pub(super) table: &'t Table,
    pub(super) caller: &'w Caller,
    pub(super) visited: Visited<'t>,
    /// The server has not answered for something that comes before what was found.
    is_unanswered: bool,
    /// The server's answer is from before its stream ended.
    is_outdated: bool,
    /// What the server has to answer; `None` where nobody wants to know.
    keys: Option<&'w mut Vec<Key>>,
    trace: Option<&'w mut Trace>,
}

/// The port and TLS that are asked for beside the name. Aliases and fallbacks may change them.
#[derive(Clone, Copy)]
pub(super) struct RequestedPort {
    pub(super) number: u16,
    pub(super) origin: PortOrigin,
    pub(super) tls: bool,
    /// Whether an alias or a fallback replaced the port or TLS: a request that is passed on would lose what replaced it.
    pub(super) is_replaced: bool,
}

/// The aliases and fallbacks that were followed, so that no walk goes in a circle.
#[derive(Default)]
pub(super) struct Visited<'t> {
    aliases: [Option<&'t Service>; MAX_ALIAS_HOPS],
    fallbacks: [Option<&'t Fallback>; MAX_FALLBACK_HOPS],
    /// The reason of the first fallback, or of the baseline namespace.
    pub(super) fallback_reason: Option<Reason>,
    /// Why the first fallback was needed: the request ends with it where no fallback leads anywhere.
    pub(super) fallback_cause: Option<FallbackCause<'t>>,
}

/// Why a fallback is needed.
#[derive(Clone, Copy)]
pub(super) enum FallbackCause<'t> {
    /// The target of this alias does not exist.
    NameNotFound(&'t AliasTarget, RequestedPort),
    NoEndpoints,
}

/// Whether an alias or a fallback may be followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visit {
    First,
    Circle,
    TooMany,
}

/// Where a walk goes on.
pub(super) enum Next<'t> {
    /// To something in the cluster.
    Match(Match<'t>, RequestedPort),
    /// It ended, outside the cluster.
    End(Resolution<'t>),
}

impl RequestedPort {
    /// Replaces the port and TLS, each where there is a replacement.
    pub(super) fn replace(&mut self, origin: PortOrigin, port: Option<u16>, tls: Option<bool>) {
        if let Some(port) = port {
            (self.number, self.origin) = (port, origin);
        }
        self.tls = tls.unwrap_or(self.tls);
        self.is_replaced |= port.is_some() || tls.is_some();
    }

    /// The route to a destination that belongs to no Service, so that any port will do.
    pub(super) fn route_to<'t>(self, destination: Destination<'t>, reason: Reason) -> Resolution<'t> {
        Resolution::Route(Route {
            reason,
            destination,
            port: self.number,
            port_name: "",
            is_pod_port: false,
            tls: self.tls,
            upstream: Upstream::Unknown,
        })
    }
}

impl<'t> Visited<'t> {
    pub(super) fn visit_alias(&mut self, alias: &'t Service) -> Visit {
        visit(&mut self.aliases, alias)
    }

    pub(super) fn visit_fallback(&mut self, fallback: &'t Fallback) -> Visit {
        visit(&mut self.fallbacks, fallback)
    }
}

fn visit<'t, T>(visited: &mut [Option<&'t T>], item: &'t T) -> Visit {
    for slot in visited {
        match slot {
            Some(earlier) if core::ptr::eq(*earlier, item) => return Visit::Circle,
            Some(_) => {}
            None => {
                *slot = Some(item);
                return Visit::First;
            }
        }
    }
    Visit::TooMany
}

impl<'t, 'w> Walk<'t, 'w> {
    pub(super) fn new(table: &'t Table, caller: &'w Caller, trace: Option<&'w mut Trace>) -> Self {
        let visited = Visited::default();
        Self { table, caller, visited, is_unanswered: false, is_outdated: false, keys: None, trace }
    }

    /// Collects in `keys` what the server has to answer.
    pub(super) fn collect(&mut self, keys: &'w mut Vec<Key>) {
        self.keys = Some(keys);
    }

    /// Notes a step, which is made only where a trace was asked for.
    pub(super) fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(trace) = &mut self.trace {
            trace.note(step);
        }
    }

    /// Notes that something is missing, if only the server knows whether it is.
    #[inline]
    pub(super) fn note_missing(&mut self, missing: Missing, key: impl FnOnce() -> Option<Key>) {
        if missing.is_unsure() {
            self.note_unsure(missing, key());
        }
    }

    #[cold]
    #[inline(never)]
    fn note_unsure(&mut self, missing: Missing, key: Option<Key>) {
        self.is_unanswered |= missing == Missing::Unanswered;
        self.is_outdated |= missing == Missing::Outdated;
        let Some(key) = key else { return };
        self.note(|| Step::Unanswered(key.to_string().into()));
        if let Some(keys) = &mut self.keys
            && keys.len() < MAX_REQUEST_KEYS
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    }

    /// Replaces the resolution of a walk where the server may say otherwise. An outdated answer holds for a name that was found after it,
    /// whatever becomes of it: known names resolve while the server is away.
    #[inline(always)]
    pub(super) fn conclude(&self, resolution: &mut Resolution<'t>) {
        if self.is_unanswered || self.is_outdated {
            self.conclude_unsure(resolution);
        }
    }

    #[cold]
    #[inline(never)]
    fn conclude_unsure(&self, resolution: &mut Resolution<'t>) {
        let is_found = !matches!(resolution.reason(), Reason::NameNotFound | Reason::IpLiteral | Reason::PublicName);
        if self.is_unanswered || !is_found {
            *resolution = match self.table.policy().on_timeout {
                OnTimeout::Pass => Resolution::pass(Reason::Unanswered),
                OnTimeout::Refuse => Resolution::Refuse(Refusal::Unanswered),
            };
        }
    }

    /// Whether unknown names are passed on.
    pub(super) fn passes_unknown_names(&self) -> bool {
        self.table.policy().unknown_names == UnknownNames::Pass
    }

    /// What becomes of a name or a port that the table does not know.
    pub(super) fn pass_or_refuse(&self, reason: Reason, refusal: Refusal) -> Resolution<'t> {
        if self.passes_unknown_names() { Resolution::pass(reason) } else { Resolution::Refuse(refusal) }
    }

    /// What becomes of a name that does not exist.
    pub(super) fn name_not_found(&self) -> Resolution<'t> {
        self.pass_or_refuse(Reason::NameNotFound, Refusal::NameNotFound)
    }
}
