//! Following ExternalName Services.
//!
//! Each target is an absolute name: no search path applies to it. Aliases are followed one hop at a time, each at most
//! once, [`MAX_ALIAS_HOPS`] in all. The walk ends at the first fault; a resolver might go on with the next candidate, but
//! that would hide a broken alias behind some other Service. Where an alias may lead is told in `policy`, and asked anew
//! at each hop of the alias that is being followed.

use crate::{
    limits::MAX_ALIAS_HOPS,
    name::{Name, labels_from_the_end},
    policy::is_refused_target,
    reason::Reason,
    resolve::{Destination, Resolution, Route},
    service::{Alias, Kind, Service},
    table::{Found, Lookup, Missing},
    trace::{HopOutcome, PortOrigin, Step, note},
    walk::{Asked, Walk},
};

impl<'t> Walk<'t, '_> {
    /// From what was found to the end of its aliases.
    pub(crate) fn follow(&mut self, mut found: Found<'t>, mut asked: Asked) -> Resolution<'t> {
        let mut followed: [Option<&Service>; MAX_ALIAS_HOPS] = [None; MAX_ALIAS_HOPS];
        let mut free = 0..MAX_ALIAS_HOPS;
        while let Found::Service(service) = found
            && let Kind::ExternalName(alias) = &service.kind
        {
            if followed.iter().flatten().any(|before| core::ptr::eq(*before, service)) {
                return self.stop(service, alias, HopOutcome::Circle, Reason::AliasLoop);
            }
            match free.next().and_then(|index| followed.get_mut(index)) {
                Some(place) => *place = Some(service),
                None => return self.stop(service, alias, HopOutcome::TooMany, Reason::AliasLoop),
            }
            if let Some(port) = alias.port {
                asked = Asked { port, origin: PortOrigin::Alias, ..asked };
            }
            asked.tls = alias.tls.unwrap_or(asked.tls);
            match self.hop(service, alias, asked) {
                Ok(next) => found = next,
                Err(resolution) => return resolution,
            }
        }
        let followed_any = followed.first().is_some_and(Option::is_some);
        let reason = match found {
            _ if followed_any => Reason::Alias,
            Found::Service(_) | Found::Port(..) => Reason::Service,
            Found::Endpoint(..) => Reason::Endpoint,
        };
        self.inside(found, asked, reason)
    }

    /// One hop: what is found under the target, or the resolution with which the walk ends.
    fn hop(&mut self, service: &'t Service, alias: &'t Alias, asked: Asked) -> Result<Found<'t>, Resolution<'t>> {
        let policy = self.table.policy();
        // It was a name when the table was compiled; were it none, refusing is what cannot do harm.
        let target = Name::parse(alias.target.as_bytes()).ok().filter(|target| !is_refused_target(target));
        let Some(target) = target else {
            return Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Reason::AliasDenied));
        };
        // `*.ns.svc`, where it is in the cluster.
        let mut labels = target.below(&policy.zone).into_iter().flat_map(labels_from_the_end);
        let (kind, namespace) = (labels.next(), labels.next());
        // An alias never leads to a pod: its namespace is not checked by anyone, its address is any that one likes, and no
        // upstream cluster would change together with the Host.
        if kind == Some("pod") {
            return Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Reason::AliasDenied));
        }
        // Before it is looked up: what the table lacks may exist, and what is there is nobody's to find out.
        if let Some(to) = namespace
            && !policy.grants(service.namespace(), to)
        {
            let outcome = HopOutcome::NotGranted { from: service.namespace().into(), to: to.into() };
            return Err(self.stop(service, alias, outcome, Reason::AliasDenied));
        }
        match self.table.lookup(&target) {
            Lookup::Outside => Err(self.outside(service, alias, asked)),
            Lookup::Missing(Missing::EndpointUnknown) => {
                self.note_hop(service, alias, HopOutcome::Missing(Missing::EndpointUnknown));
                Err(Resolution::Pass(Reason::NameNotFound))
            }
            Lookup::Missing(missing) => {
                Err(self.stop(service, alias, HopOutcome::Missing(missing), Reason::NameNotFound))
            }
            Lookup::Pod(_) => Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Reason::AliasDenied)),
            Lookup::Found(found) => {
                self.note_hop(service, alias, HopOutcome::Inside);
                Ok(found)
            }
        }
    }

    /// An external target, if it is allowed.
    fn outside(&mut self, service: &Service, alias: &'t Alias, asked: Asked) -> Resolution<'t> {
        if !alias.allowed_ports.contains(&asked.port) {
            return self.stop(service, alias, HopOutcome::NotAllowed { port: asked.port }, Reason::AliasDenied);
        }
        self.note_hop(service, alias, HopOutcome::Outside { port: asked.port });
        Resolution::Route(Route {
            reason: Reason::External,
            destination: Destination::External(&alias.target),
            port: asked.port,
            port_name: "",
            tls: asked.tls,
        })
    }

    fn stop(&mut self, service: &Service, alias: &Alias, outcome: HopOutcome, reason: Reason) -> Resolution<'t> {
        self.note_hop(service, alias, outcome);
        match reason {
            Reason::NameNotFound => self.unknown(reason),
            reason => Resolution::Refuse(reason),
        }
    }

    fn note_hop(&mut self, service: &Service, alias: &Alias, outcome: HopOutcome) {
        note(&mut self.trace, || Step::Hop {
            alias: service.key.as_str().into(),
            target: alias.target.clone(),
            outcome,
        });
    }
}
