//! One walk from an authority to a resolution: along the search path, then (`alias`, `port`) to where the name leads.

use alloc::{format, string::ToString};
use core::{net::IpAddr, ops::ControlFlow};

use crate::{
    authority::{Spelt, SpeltHost},
    caller::Caller,
    fallback::Fallback,
    label::EndpointLabel,
    limits::{MAX_ALIAS_HOPS, MAX_AUTHORITY_BYTES, MAX_FALLBACK_HOPS},
    path::Path,
    reason::Reason,
    resolve::{Destination, Request, Resolution, Route, Scheme, Upstream},
    search::{Candidate, SearchedName},
    service::Service,
    table::{Found, Lookup, Missing, Table},
    trace::{MaybeTrace, Outcome, PortOrigin, Step, note},
    wire::UnknownNames,
};

pub(crate) struct Walk<'t, 'w> {
    pub(crate) table: &'t Table,
    pub(crate) caller: &'w Caller,
    pub(crate) trace: MaybeTrace<'w>,
    pub(crate) way: Way<'t>,
}

/// What is asked for beside the name. Aliases may change it on the way.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) port: u16,
    pub(crate) origin: PortOrigin,
    pub(crate) tls: bool,
}

impl Asked {
    /// Asks for another port, or for TLS or none, where there is a word about it.
    pub(crate) fn change(&mut self, origin: PortOrigin, port: Option<u16>, tls: Option<bool>) {
        if let Some(port) = port {
            (self.port, self.origin) = (port, origin);
        }
        self.tls = tls.unwrap_or(self.tls);
    }

    /// The route to what belongs to no Service, so that any port will do.
    pub(crate) fn route_to<'t>(self, destination: Destination<'t>, reason: Reason) -> Resolution<'t> {
        Resolution::Route(Route {
            reason,
            destination,
            port: self.port,
            port_name: "",
            tls: self.tls,
            upstream: Upstream::Unknown,
        })
    }
}

/// What a walk has come by, so that it goes in no circle.
#[derive(Default)]
pub(crate) struct Way<'t> {
    pub(crate) aliases: [Option<&'t Service>; MAX_ALIAS_HOPS],
    pub(crate) fallbacks: [Option<&'t Fallback>; MAX_FALLBACK_HOPS],
    /// The reason of the first fallback, or of the baseline namespace.
    pub(crate) stood_in: Option<Reason>,
    /// What a request ends with, where what stands in leads nowhere.
    pub(crate) fault: Option<Reason>,
}

/// Where a walk goes on.
pub(crate) enum Next<'t> {
    /// To another Service.
    At(Found<'t>, Asked),
    /// Nowhere: it has ended outside the cluster.
    End(Resolution<'t>),
}

impl<'t, 'w> Walk<'t, 'w> {
    pub(crate) fn new(table: &'t Table, caller: &'w Caller, trace: MaybeTrace<'w>) -> Self {
        Self { table, caller, trace, way: Way::default() }
    }

    pub(crate) fn resolve(&mut self, request: Request<'_>) -> Resolution<'t> {
        match Spelt::read(request.authority) {
            Ok(Spelt { host: SpeltHost::Name { name, .. }, .. }) if name.has_uppercase => {
                self.resolve_in_lowercase(request)
            }
            Ok(authority) => self.resolve_spelt(authority, request.scheme),
            Err(error) => {
                note(&mut self.trace, || Step::Unreadable(error));
                Resolution::Refuse(Reason::BadAuthority)
            }
        }
    }

    #[cold]
    fn resolve_in_lowercase(&mut self, request: Request<'_>) -> Resolution<'t> {
        let mut lowercase = [0; MAX_AUTHORITY_BYTES];
        // It was read, so that it fits.
        let Some(room) = lowercase.get_mut(..request.authority.len()) else {
            return Resolution::Refuse(Reason::BadAuthority);
        };
        room.copy_from_slice(request.authority);
        room.make_ascii_lowercase();
        self.resolve(Request { authority: room, ..request })
    }

    fn resolve_spelt(&mut self, authority: Spelt<'_>, scheme: Scheme) -> Resolution<'t> {
        let tls = scheme == Scheme::Https;
        let asked = match authority.port {
            Some(port) => Asked { port, origin: PortOrigin::Authority, tls },
            None => Asked { port: scheme.default_port(), origin: PortOrigin::Scheme, tls },
        };
        match authority.host {
            SpeltHost::Name { name, absolute } => {
                self.by_name(&SearchedName::with_dots(name.text, name.dots, absolute), asked)
            }
            SpeltHost::Ip(address) => {
                let service = self.table.by_cluster_ip(address);
                note(&mut self.trace, || Step::Address {
                    address,
                    service: service.map(|service| service.key.as_str().into()),
                });
                match service {
                    Some(service) => self.follow(Found::Service(service), asked, Reason::ClusterIp),
                    None => Resolution::Pass(Reason::IpLiteral),
                }
            }
        }
    }

    /// The first candidate of the search path that exists, or for which another stands in.
    fn by_name(&mut self, name: &SearchedName<'_>, asked: Asked) -> Resolution<'t> {
        let mut may_exist = false;
        let caller = self.caller;
        let ended = caller.search().try_each(name, |candidate| self.try_candidate(&candidate, asked, &mut may_exist));
        match ended {
            ControlFlow::Break(resolution) => resolution,
            ControlFlow::Continue(()) if may_exist => Resolution::Pass(Reason::NameNotFound),
            ControlFlow::Continue(()) => {
                self.by_baseline(name, asked).unwrap_or_else(|| self.unknown(Reason::NameNotFound))
            }
        }
    }

    fn try_candidate(
        &mut self,
        candidate: &Candidate<'_>,
        asked: Asked,
        may_exist: &mut bool,
    ) -> ControlFlow<Resolution<'t>> {
        let mut others = None;
        let Some(path) = candidate.path(&self.table.policy().zone, &mut others) else {
            let outcome = if candidate.asked_first { Outcome::AskedFirst } else { Outcome::Outside };
            self.note_candidate(candidate, outcome);
            return match outcome {
                Outcome::AskedFirst => ControlFlow::Break(self.unknown(Reason::PublicName)),
                _ => ControlFlow::Continue(()),
            };
        };
        match self.table.lookup(&path) {
            Lookup::Pod(address) => {
                self.note_candidate(candidate, Outcome::Exists);
                ControlFlow::Break(self.pod(address, &path, asked))
            }
            Lookup::Found(found) => {
                self.note_candidate(candidate, Outcome::Exists);
                let reason = match found {
                    Found::Service(_) | Found::Port(..) => Reason::Service,
                    Found::Endpoint(..) => Reason::Endpoint,
                };
                ControlFlow::Break(self.follow(found, asked, reason))
            }
            Lookup::Missing(missing) => {
                self.note_candidate(candidate, Outcome::Missing(missing));
                *may_exist |= missing == Missing::EndpointUnknown;
                match self.instead_of(&path, missing, asked) {
                    Some(Next::At(found, asked)) => match self.follow(found, asked, Reason::FallbackMissing) {
                        Resolution::Route(route) => ControlFlow::Break(Resolution::Route(route)),
                        // It leads nowhere, and the name is as missing as it was.
                        Resolution::Pass(_) | Resolution::Refuse(_) => self.begin_anew(),
                    },
                    Some(Next::End(resolution)) => ControlFlow::Break(resolution),
                    None => self.begin_anew(),
                }
            }
        }
    }

    fn note_candidate(&mut self, candidate: &Candidate<'_>, outcome: Outcome) {
        note(&mut self.trace, || Step::Candidate { name: candidate.to_string().into(), outcome });
    }

    /// Goes on to the next candidate, as if the last one had not been.
    fn begin_anew(&mut self) -> ControlFlow<Resolution<'t>> {
        if self.way.stood_in.is_some() {
            self.way = Way::default();
        }
        ControlFlow::Continue(())
    }

    /// What stands in for the Service whose whole name this would be, if it is one's and something does.
    pub(crate) fn instead_of(&mut self, path: &Path<'_>, missing: Missing, asked: Asked) -> Option<Next<'t>> {
        let table = self.table;
        if table.policy().fallbacks.is_empty() {
            return None;
        }
        self.stand_in(path.service()?, missing.trigger()?, asked)
    }

    /// What a name means in the caller's baseline namespace, where it has one: `None` where it means nothing there either.
    fn by_baseline(&mut self, name: &SearchedName<'_>, asked: Asked) -> Option<Resolution<'t>> {
        let caller = self.caller;
        let baseline = caller.baseline.as_ref().filter(|_| caller.search().has_list(name))?;
        let candidate = Candidate::within(name, baseline)?;
        self.way.stood_in = Some(Reason::Baseline);
        let mut may_exist = false;
        match self.try_candidate(&candidate, asked, &mut may_exist) {
            ControlFlow::Break(resolution) => Some(resolution),
            ControlFlow::Continue(()) => may_exist.then_some(Resolution::Pass(Reason::NameNotFound)),
        }
    }

    /// What becomes of a name, or a port, that means nothing here.
    pub(crate) fn unknown(&self, reason: Reason) -> Resolution<'t> {
        match (self.table.policy().unknown_names, reason) {
            (UnknownNames::Pass, reason) => Resolution::Pass(reason),
            (UnknownNames::Refuse, Reason::PublicName) => Resolution::Refuse(Reason::NameNotFound),
            (UnknownNames::Refuse, reason) => Resolution::Refuse(reason),
        }
    }

    /// The route to the pod that has `address` and was called so: by the one canonical form of that.
    fn pod(&self, address: IpAddr, path: &Path<'_>, asked: Asked) -> Resolution<'t> {
        let namespace = path.label(1);
        let zone = &self.table.policy().zone;
        let canonical = format!("{}.{namespace}.pod.{zone}", EndpointLabel::Address(address));
        asked.route_to(Destination::Pod(canonical.into()), Reason::Pod)
    }
}
