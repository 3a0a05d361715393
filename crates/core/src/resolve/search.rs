//! The first stage of a resolution: from the bytes of an authority along the search path to the first candidate that exists.

use alloc::{format, string::ToString};
use core::{net::IpAddr, ops::ControlFlow};

use super::{
    reason::{Reason, Refusal},
    resolution::{Destination, Request, Resolution, Scheme},
    trace::{Outcome, PortOrigin, Step},
    walk_state::{Next, RequestedPort, Visited, Walk},
};
use crate::{
    limits::MAX_AUTHORITY_BYTES,
    names::{Candidate, ClusterName, EndpointLabel, NamespacedName, RawAuthority, RawHost, SearchedName, parse_dashed},
    table::{Answer, Key, Lookup, Match, Missing},
};

/// What the candidates of a search were that do not exist.
#[derive(Default)]
struct Seen {
    /// One may exist: the endpoints of its Service are not in the table.
    may_exist: bool,
    /// One is known and has nothing ready.
    lacks_readiness: bool,
}

impl<'t> Walk<'t, '_> {
    pub(super) fn resolve(&mut self, request: Request<'_>) -> Resolution<'t> {
        match RawAuthority::parse(request.authority) {
            Ok(RawAuthority { host: RawHost::Name { name, .. }, .. }) if name.has_uppercase => {
                self.resolve_in_lowercase(request)
            }
            Ok(authority) => self.resolve_authority(authority, request),
            Err(error) => {
                self.note(|| Step::Unreadable(error));
                Resolution::Refuse(Refusal::BadAuthority)
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn resolve_in_lowercase(&mut self, request: Request<'_>) -> Resolution<'t> {
        let mut lowercase = [0; MAX_AUTHORITY_BYTES];
        let buffer = lowercase.get_mut(..request.authority.len());
        debug_assert!(buffer.is_some(), "a valid authority has at most MAX_AUTHORITY_BYTES");
        let Some(buffer) = buffer else {
            return Resolution::Refuse(Refusal::BadAuthority);
        };
        buffer.copy_from_slice(request.authority);
        buffer.make_ascii_lowercase();
        self.resolve(Request { authority: buffer, ..request })
    }

    fn resolve_authority(&mut self, authority: RawAuthority<'_>, request: Request<'_>) -> Resolution<'t> {
        let (number, origin) = match (authority.port, request.destination_port) {
            (Some(port), _) => (port, PortOrigin::Authority),
            (None, Some(port)) => (port, PortOrigin::Connection),
            (None, None) => (request.scheme.default_port(), PortOrigin::Scheme),
        };
        let tls = request.scheme == Scheme::Https;
        let port = RequestedPort { number, origin, tls, is_replaced: false };
        match authority.host {
            RawHost::Name { name, absolute } => {
                self.resolve_name(&SearchedName::with_dots(name.bytes, name.dots, absolute), port)
            }
            RawHost::Ip(address) => self.resolve_address(address, port),
        }
    }

    #[inline(never)]
    fn resolve_address(&mut self, address: IpAddr, port: RequestedPort) -> Resolution<'t> {
        let service = self.table.by_cluster_ip(address);
        self.note(|| Step::Address { address, service: service.map(|service| service.spec.name.clone()) });
        match service {
            Some(service) => self.follow(Match::Service(service), port, Reason::ClusterIp),
            None => {
                self.note_address(address);
                Resolution::pass(Reason::IpLiteral)
            }
        }
    }

    /// Notes what the server has to answer for an address that is no cluster IP in the table.
    fn note_address(&mut self, address: IpAddr) {
        match self.table.address_on_demand(address) {
            Some(Ok(Answer::ClusterIp(name))) => {
                // The Service may have another address by now.
                if let Err(missing) = self.table.existing(name.namespace().as_bytes(), name.name().as_bytes()) {
                    self.note_missing(missing, || Some(Key::Service(name.clone())));
                }
            }
            Some(Err(missing)) => self.note_missing(missing, || Some(Key::Address(address))),
            Some(Ok(_)) | None => {}
        }
    }

    /// The first candidate of the search path that exists or has a fallback; else what the baseline namespace has.
    fn resolve_name(&mut self, name: &SearchedName<'_>, port: RequestedPort) -> Resolution<'t> {
        let mut seen = Seen::default();
        let caller = self.caller;
        let ended = caller.search().try_each(name, |candidate| self.try_candidate(&candidate, port, &mut seen));
        match ended {
            ControlFlow::Break(resolution) => resolution,
            ControlFlow::Continue(()) => self.resolve_missing(name, port, seen),
        }
    }

    /// What becomes of a name of which no candidate exists.
    #[inline(never)]
    fn resolve_missing(&mut self, name: &SearchedName<'_>, port: RequestedPort, mut seen: Seen) -> Resolution<'t> {
        if seen.may_exist {
            return Resolution::pass(Reason::NameNotFound);
        }
        match self.resolve_in_baseline(name, port, &mut seen) {
            Some(resolution) => resolution,
            // It will be there again in a moment: clients retry a 503 and give up on a 404.
            None if seen.lacks_readiness => Resolution::Refuse(Refusal::NoEndpoints),
            None => self.name_not_found(),
        }
    }

    fn try_candidate(
        &mut self,
        candidate: &Candidate<'_>,
        port: RequestedPort,
        seen: &mut Seen,
    ) -> ControlFlow<Resolution<'t>> {
        let mut storage = None;
        let Some(name) = candidate.below(&self.table.policy().zone, &mut storage) else {
            if candidate.asked_first {
                self.note_candidate(candidate, Outcome::AskedFirst);
                return ControlFlow::Break(self.pass_or_refuse(Reason::PublicName, Refusal::NameNotFound));
            }
            self.note_candidate(candidate, Outcome::Outside);
            return ControlFlow::Continue(());
        };
        match self.table.lookup(&name) {
            Lookup::Pod(address) => {
                self.note_candidate(candidate, Outcome::Exists);
                ControlFlow::Break(self.route_to_pod(address, &name, port))
            }
            Lookup::Match(matched) => {
                self.note_candidate(candidate, Outcome::Exists);
                let reason = match matched {
                    Match::Service(_) | Match::Port(..) | Match::OtherPort(..) => Reason::Service,
                    Match::Endpoint(..) => Reason::Endpoint,
                };
                ControlFlow::Break(self.follow(matched, port, reason))
            }
            Lookup::Missing(missing) => {
                self.note_candidate(candidate, Outcome::Missing(missing));
                seen.may_exist |= missing == Missing::EndpointUnknown;
                seen.lacks_readiness |= missing.lacks_readiness();
                self.note_missing(missing, || key_of(&name));
                if self.table.policy().fallbacks.is_empty() {
                    return ControlFlow::Continue(());
                }
                self.try_fallback(&name, missing, port)
            }
        }
    }

    /// The resolution by the fallback of a candidate that does not exist, if it has one that leads somewhere.
    #[inline(never)]
    fn try_fallback(
        &mut self,
        name: &ClusterName<'_>,
        missing: Missing,
        port: RequestedPort,
    ) -> ControlFlow<Resolution<'t>> {
        match self.fallback_of_name(name, missing, port) {
            Some(Next::Match(matched, port)) => match self.follow(matched, port, Reason::FallbackMissing) {
                Resolution::Route(route) => ControlFlow::Break(Resolution::Route(route)),
                // The fallback leads nowhere, so the name is as missing as it was.
                Resolution::Pass(_) | Resolution::Refuse(_) => self.next_candidate(),
            },
            Some(Next::End(resolution)) => ControlFlow::Break(resolution),
            None => self.next_candidate(),
        }
    }

    fn note_candidate(&mut self, candidate: &Candidate<'_>, outcome: Outcome) {
        let zone = &self.table.policy().zone;
        self.note(|| candidate_step(candidate, zone, outcome));
    }

    /// Goes on with the next candidate, and forgets the fallbacks of this one.
    fn next_candidate(&mut self) -> ControlFlow<Resolution<'t>> {
        if self.visited.fallback_reason.is_some() {
            self.visited = Visited::default();
        }
        ControlFlow::Continue(())
    }

    /// What a name resolves to in the caller's baseline namespace; `None` where it does not exist there either.
    fn resolve_in_baseline(
        &mut self,
        name: &SearchedName<'_>,
        port: RequestedPort,
        seen: &mut Seen,
    ) -> Option<Resolution<'t>> {
        let caller = self.caller;
        let baseline = caller.baseline.as_ref().filter(|_| caller.search().has_list(name))?;
        let candidate = Candidate::within(name, baseline)?;
        self.visited.fallback_reason = Some(Reason::Baseline);
        match self.try_candidate(&candidate, port, seen) {
            ControlFlow::Break(resolution) => Some(resolution),
            ControlFlow::Continue(()) => seen.may_exist.then_some(Resolution::pass(Reason::NameNotFound)),
        }
    }

    /// The route to a pod, under the canonical form of its name.
    #[inline(never)]
    fn route_to_pod(&self, address: IpAddr, name: &ClusterName<'_>, port: RequestedPort) -> Resolution<'t> {
        let namespace = name.text(1);
        let zone = &self.table.policy().zone;
        let canonical = format!("{}.{namespace}.pod.{zone}", EndpointLabel::Address(address));
        port.route_to(Destination::Pod(canonical.into()), Reason::Pod)
    }
}

#[cold]
#[inline(never)]
fn candidate_step(candidate: &Candidate<'_>, zone: &str, outcome: Outcome) -> Step {
    let mut storage = None;
    let service = candidate.below(zone, &mut storage).and_then(|name| NamespacedName::new(name.service_above()?));
    Step::Candidate { name: candidate.to_string().into(), service, outcome }
}

/// What the server has to answer for a name that the table does not have.
pub(super) fn key_of(name: &ClusterName<'_>) -> Option<Key> {
    match name.label(0) {
        b"pod" => parse_dashed(name.text(2)).map(Key::Address),
        _ => name.service_above().and_then(NamespacedName::new).map(Key::Service),
    }
}
