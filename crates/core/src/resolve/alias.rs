//! Following ExternalName Services.
//!
//! A target is an absolute name: no search path applies to it. Aliases are followed one hop at a time, each at most once,
//! [`MAX_ALIAS_HOPS`](crate::limits::MAX_ALIAS_HOPS) in all. The walk ends at the first fault; a resolver might try the next
//! candidate, but that would hide a broken alias behind another Service. Where an alias may lead is checked at every hop, in
//! `policy::external_names`.

use super::{
    reason::{Reason, Refusal},
    resolution::{Destination, Pass, Resolution},
    search::key_of,
    trace::{HopOutcome, PortOrigin, Step},
    walk_state::{FallbackCause, Next, RequestedPort, Visit, Walk},
};
use crate::{
    names::{ClusterName, Labels, NamespacedName, below},
    table::{AliasTarget, Lookup, Match, Missing, Service, ServiceKind},
    wire::Trigger,
};

impl<'t> Walk<'t, '_> {
    /// Follows a match through aliases and fallbacks to a resolution. `reason` holds where there are none.
    pub(super) fn follow(&mut self, matched: Match<'t>, port: RequestedPort, reason: Reason) -> Resolution<'t> {
        let resolution = self.follow_hops(matched, port, reason);
        match self.visited.fallback_cause {
            Some(cause) if !matches!(resolution, Resolution::Route(_)) => self.without_fallback(cause),
            _ => resolution,
        }
    }

    /// What becomes of a request whose fallback leads nowhere, for whatever reason: the same as without a fallback.
    #[inline(never)]
    fn without_fallback(&self, cause: FallbackCause<'t>) -> Resolution<'t> {
        match cause {
            FallbackCause::NoEndpoints => Resolution::Refuse(Refusal::NoEndpoints),
            FallbackCause::NameNotFound(alias, port) => self.missing_target(alias, port),
        }
    }

    fn follow_hops(&mut self, mut matched: Match<'t>, mut port: RequestedPort, mut reason: Reason) -> Resolution<'t> {
        loop {
            while let Match::Service(service) = matched
                && let ServiceKind::ExternalName(alias) = &service.spec.kind
            {
                reason = Reason::Alias;
                match self.hop(service, alias, port) {
                    Ok(next) => (matched, port) = next,
                    Err(resolution) => return resolution,
                }
            }
            let resolution = self.match_port(matched, port, self.visited.fallback_reason.unwrap_or(reason));
            let Resolution::Refuse(Refusal::NoEndpoints) = resolution else { return resolution };
            match self.fallback_without_endpoints(matched, port) {
                Some(Next::Match(next, next_port)) => (matched, port) = (next, next_port),
                Some(Next::End(resolution)) => return resolution,
                None => return resolution,
            }
        }
    }

    /// Where the walk goes on in the place of a Service without endpoints.
    #[inline(never)]
    fn fallback_without_endpoints(&mut self, matched: Match<'t>, mut port: RequestedPort) -> Option<Next<'t>> {
        let service = match matched {
            // Nothing replaces an endpoint that was asked for by its name, and no endpoint serves a port that is not TCP.
            Match::Endpoint(..) | Match::OtherPort(..) => return None,
            Match::Service(service) => service,
            Match::Port(service, named) => {
                if port.origin.is_implied() {
                    port.replace(PortOrigin::Name, Some(named.number), None);
                }
                service
            }
        };
        self.visited.fallback_cause.get_or_insert(FallbackCause::NoEndpoints);
        self.fallback((service.namespace(), service.name()), Trigger::NoEndpoints, port)
    }

    /// One hop: the match of the target or of its fallback, or the resolution with which the walk ends.
    #[inline(never)]
    fn hop(
        &mut self,
        service: &'t Service,
        alias: &'t AliasTarget,
        mut port: RequestedPort,
    ) -> Result<(Match<'t>, RequestedPort), Resolution<'t>> {
        match self.visited.visit_alias(service) {
            Visit::First => {}
            Visit::Circle => return Err(self.stop(service, alias, HopOutcome::Circle, Refusal::AliasLoop)),
            Visit::TooMany => return Err(self.stop(service, alias, HopOutcome::TooMany, Refusal::AliasLoop)),
        }
        port.replace(PortOrigin::Alias, alias.port, alias.tls);
        let policy = self.table.policy();
        if alias.is_refused {
            return Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Refusal::AliasDenied));
        }
        let Some(below) = below(&alias.target, &policy.zone) else {
            return Err(self.leave_cluster(service, alias, port));
        };
        let labels = Labels::split(below.as_bytes());
        let name = ClusterName::new(&labels);
        // No alias leads to a pod: nothing checks the namespace in a pod's name, the address is the author's choice, and there
        // is no upstream cluster that could change together with the Host.
        if name.label(0) == b"pod" {
            return Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Refusal::AliasDenied));
        }
        // Checked before the lookup: otherwise 403 and 404 would tell a client which names exist in the other namespace.
        let to = name.text(1);
        if name.len() > 1 && !policy.external_names.grants(service.namespace(), to) {
            let outcome = HopOutcome::NotGranted { from: service.namespace().into(), to: to.into() };
            return Err(self.stop(service, alias, outcome, Refusal::AliasDenied));
        }
        match self.table.lookup(&name) {
            Lookup::Missing(Missing::EndpointUnknown) => {
                let mut resolution = pass_on(alias, port, Reason::NameNotFound);
                let outcome = match &mut resolution {
                    Resolution::Pass(pass) => {
                        pass.target = pass.target.filter(|_| policy.external_names.follows());
                        HopOutcome::Missing(Missing::EndpointUnknown)
                    }
                    _ => HopOutcome::WouldLosePort,
                };
                self.note_hop(service, alias, outcome);
                Err(resolution)
            }
            Lookup::Missing(missing) => {
                self.note_missing(missing, || key_of(&name));
                self.note_hop(service, alias, HopOutcome::Missing(missing));
                match self.fallback_of_name(&name, missing, port) {
                    Some(Next::Match(matched, next_port)) => {
                        self.visited.fallback_cause.get_or_insert(match missing.lacks_readiness() {
                            true => FallbackCause::NoEndpoints,
                            false => FallbackCause::NameNotFound(alias, port),
                        });
                        Ok((matched, next_port))
                    }
                    Some(Next::End(resolution)) => Err(resolution),
                    None if missing.lacks_readiness() => Err(Resolution::Refuse(Refusal::NoEndpoints)),
                    None => {
                        let resolution = self.missing_target(alias, port);
                        if matches!(resolution, Resolution::Refuse(Refusal::AliasDenied)) {
                            self.note_hop(service, alias, HopOutcome::WouldLosePort);
                        }
                        Err(resolution)
                    }
                }
            }
            Lookup::Pod(_) => Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Refusal::AliasDenied)),
            Lookup::Match(matched) => {
                self.note_hop(service, alias, HopOutcome::Inside);
                Ok((matched, port))
            }
        }
    }

    /// The resolution of an external target.
    fn leave_cluster(&mut self, service: &Service, alias: &'t AliasTarget, port: RequestedPort) -> Resolution<'t> {
        let number = port.number;
        if !service.allows_port(number) {
            if self.follows_unknown_targets() {
                let resolution = pass_on(alias, port, Reason::External);
                let is_passed = matches!(resolution, Resolution::Pass(_));
                let outcome = if is_passed { HopOutcome::PassedOn } else { HopOutcome::WouldLosePort };
                self.note_hop(service, alias, outcome);
                return resolution;
            }
            return self.stop(service, alias, HopOutcome::NotAllowed { port: number }, Refusal::AliasDenied);
        }
        self.note_hop(service, alias, HopOutcome::Outside { port: number });
        let reason = self.visited.fallback_reason.unwrap_or(Reason::External);
        port.route_to(Destination::External(&alias.target), reason)
    }

    /// The resolution of a target in the cluster that does not exist.
    fn missing_target(&self, alias: &'t AliasTarget, port: RequestedPort) -> Resolution<'t> {
        if self.follows_unknown_targets() { pass_on(alias, port, Reason::NameNotFound) } else { self.name_not_found() }
    }

    /// Whether a request goes on to a target that the table does not know, as it would if the client asked for the target.
    fn follows_unknown_targets(&self) -> bool {
        self.passes_unknown_names() && self.table.policy().external_names.follows()
    }

    fn stop(
        &mut self,
        service: &Service,
        alias: &AliasTarget,
        outcome: HopOutcome,
        refusal: Refusal,
    ) -> Resolution<'t> {
        self.note_hop(service, alias, outcome);
        Resolution::Refuse(refusal)
    }

    fn note_hop(&mut self, service: &Service, alias: &AliasTarget, outcome: HopOutcome) {
        let zone = &self.table.policy().zone;
        self.note(|| hop_step(service, alias, zone, outcome));
    }
}

/// The request goes on under the target's name, unless it would lose a port or TLS that an alias set: it would go to another
/// port, or in plaintext.
fn pass_on(alias: &AliasTarget, port: RequestedPort, reason: Reason) -> Resolution<'_> {
    if port.is_replaced {
        return Resolution::Refuse(Refusal::AliasDenied);
    }
    Resolution::Pass(Pass { reason, target: Some((&alias.target, port.number)) })
}

#[cold]
#[inline(never)]
fn hop_step(service: &Service, alias: &AliasTarget, zone: &str, outcome: HopOutcome) -> Step {
    let below = below(&alias.target, zone);
    let to = below
        .and_then(|below| NamespacedName::new(ClusterName::new(&Labels::split(below.as_bytes())).service_above()?));
    Step::Hop { alias: service.key().into(), target: alias.target.clone(), service: to, outcome }
}
