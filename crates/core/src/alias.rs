//! Following ExternalName Services.
//!
//! Each target is an absolute name: no search path applies to it. Aliases are followed one hop at a time, each at most
//! once, [`MAX_ALIAS_HOPS`](crate::limits::MAX_ALIAS_HOPS) in all. The walk ends at the first fault; a resolver might go
//! on with the next candidate, but that would hide a broken alias behind some other Service. Where an alias may lead is
//! told in `policy`, and asked anew at each hop of the alias that is being followed.

use crate::{
    name::below,
    path::{Labels, Path},
    reason::Reason,
    resolve::{Destination, Resolution},
    service::{Alias, Kind, Service},
    table::{Found, Lookup, Missing},
    trace::{HopOutcome, PortOrigin, Step, note},
    walk::{Asked, Next, Walk},
    wire::Trigger,
};

impl<'t> Walk<'t, '_> {
    /// From what was found to the end of its aliases and fallbacks; `reason` holds where there are none.
    pub(crate) fn follow(&mut self, found: Found<'t>, asked: Asked, reason: Reason) -> Resolution<'t> {
        let resolution = self.follow_on(found, asked, reason);
        match self.way.fault {
            Some(fault) if !matches!(resolution, Resolution::Route(_)) => match fault {
                // A fallback that leads nowhere, for whatever reason, is as good as none.
                Reason::NoEndpoints => Resolution::Refuse(Reason::NoEndpoints),
                fault => self.unknown(fault),
            },
            _ => resolution,
        }
    }

    fn follow_on(&mut self, mut found: Found<'t>, mut asked: Asked, mut reason: Reason) -> Resolution<'t> {
        loop {
            while let Found::Service(service) = found
                && let Kind::ExternalName(alias) = &service.kind
            {
                if self.way.aliases.iter().flatten().any(|before| core::ptr::eq(*before, service)) {
                    return self.stop(service, alias, HopOutcome::Circle, Reason::AliasLoop);
                }
                match self.way.aliases.iter_mut().find(|place| place.is_none()) {
                    Some(place) => *place = Some(service),
                    None => return self.stop(service, alias, HopOutcome::TooMany, Reason::AliasLoop),
                }
                asked.change(PortOrigin::Alias, alias.port, alias.tls);
                reason = Reason::Alias;
                match self.hop(service, alias, asked) {
                    Ok(next) => (found, asked) = next,
                    Err(resolution) => return resolution,
                }
            }
            let resolution = self.inside(found, asked, self.way.stood_in.unwrap_or(reason));
            let Resolution::Refuse(Reason::NoEndpoints) = resolution else { return resolution };
            // One endpoint that was asked for by its name has nothing that could stand in for it.
            let service = match found {
                Found::Endpoint(..) => return resolution,
                Found::Service(service) => service,
                Found::Port(service, port) => {
                    if asked.origin == PortOrigin::Scheme {
                        asked.change(PortOrigin::Name, Some(port.number), None);
                    }
                    service
                }
            };
            self.way.fault.get_or_insert(Reason::NoEndpoints);
            let name = (service.namespace(), service.name());
            match self.stand_in(name, Trigger::NoEndpoints, asked) {
                Some(Next::At(next, now_asked)) => (found, asked) = (next, now_asked),
                Some(Next::End(resolution)) => return resolution,
                None => return resolution,
            }
        }
    }

    /// One hop: what is found under the target, or stands in for it, or the resolution with which the walk ends.
    #[inline(never)]
    fn hop(
        &mut self,
        service: &'t Service,
        alias: &'t Alias,
        asked: Asked,
    ) -> Result<(Found<'t>, Asked), Resolution<'t>> {
        let policy = self.table.policy();
        if alias.is_refused {
            return Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Reason::AliasDenied));
        }
        let Some(below) = below(&alias.target, &policy.zone) else {
            return Err(self.outside(service, alias, asked));
        };
        let labels = Labels::split(below);
        let path = Path::of(&labels);
        // `*.ns.svc`. An alias never leads to a pod: its namespace is not checked by anyone, its address is any that one
        // likes, and no upstream cluster would change together with the Host.
        if path.label(0) == "pod" {
            return Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Reason::AliasDenied));
        }
        // Before it is looked up: what the table lacks may exist, and what is there is nobody's to find out.
        let to = path.label(1);
        if path.len() > 1 && !policy.grants(service.namespace(), to) {
            let outcome = HopOutcome::NotGranted { from: service.namespace().into(), to: to.into() };
            return Err(self.stop(service, alias, outcome, Reason::AliasDenied));
        }
        match self.table.lookup(&path) {
            Lookup::Missing(Missing::EndpointUnknown) => {
                self.note_hop(service, alias, HopOutcome::Missing(Missing::EndpointUnknown));
                Err(Resolution::Pass(Reason::NameNotFound))
            }
            Lookup::Missing(missing) => {
                self.note_hop(service, alias, HopOutcome::Missing(missing));
                self.way.fault.get_or_insert(Reason::NameNotFound);
                match self.instead_of(&path, missing, asked) {
                    Some(Next::At(found, asked)) => Ok((found, asked)),
                    Some(Next::End(resolution)) => Err(resolution),
                    None => Err(self.unknown(Reason::NameNotFound)),
                }
            }
            Lookup::Pod(_) => Err(self.stop(service, alias, HopOutcome::AlwaysRefused, Reason::AliasDenied)),
            Lookup::Found(found) => {
                self.note_hop(service, alias, HopOutcome::Inside);
                Ok((found, asked))
            }
        }
    }

    /// An external target, if it is allowed.
    fn outside(&mut self, service: &Service, alias: &'t Alias, asked: Asked) -> Resolution<'t> {
        if !alias.allowed_ports.contains(&asked.port) {
            return self.stop(service, alias, HopOutcome::NotAllowed { port: asked.port }, Reason::AliasDenied);
        }
        self.note_hop(service, alias, HopOutcome::Outside { port: asked.port });
        asked.route_to(Destination::External(&alias.target), self.way.stood_in.unwrap_or(Reason::External))
    }

    fn stop(&mut self, service: &Service, alias: &Alias, outcome: HopOutcome, reason: Reason) -> Resolution<'t> {
        self.note_hop(service, alias, outcome);
        Resolution::Refuse(reason)
    }

    fn note_hop(&mut self, service: &Service, alias: &Alias, outcome: HopOutcome) {
        note(&mut self.trace, || Step::Hop {
            alias: service.key.as_str().into(),
            target: alias.target.clone(),
            outcome,
        });
    }
}
