//! One walk from an authority to a resolution: along the search path, then (`alias`, `port`) to where the name leads.

use alloc::format;
use core::{net::IpAddr, ops::ControlFlow};

use crate::{
    authority::{Authority, Host},
    caller::Caller,
    fallback::Fallback,
    label::EndpointLabel,
    limits::{MAX_ALIAS_HOPS, MAX_FALLBACK_HOPS},
    name::Name,
    reason::Reason,
    resolve::{Destination, Request, Resolution, Route, Scheme, Upstream},
    search::Candidate,
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
        let authority = match Authority::try_from(request.authority) {
            Ok(authority) => authority,
            Err(error) => {
                note(&mut self.trace, || Step::Unreadable(error));
                return Resolution::Refuse(Reason::BadAuthority);
            }
        };
        let tls = request.scheme == Scheme::Https;
        let asked = match authority.port() {
            Some(port) => Asked { port, origin: PortOrigin::Authority, tls },
            None => Asked { port: request.scheme.default_port(), origin: PortOrigin::Scheme, tls },
        };
        match authority.host() {
            Host::Name { name, absolute } => self.by_name(name, *absolute, asked),
            Host::Ip(address) => {
                let service = self.table.by_cluster_ip(*address);
                note(&mut self.trace, || Step::Address {
                    address: *address,
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
    fn by_name(&mut self, name: &Name, absolute: bool, asked: Asked) -> Resolution<'t> {
        let mut may_exist = false;
        let caller = self.caller;
        let ended =
            caller.search().try_each(name, absolute, |candidate| self.try_candidate(candidate, asked, &mut may_exist));
        match ended {
            ControlFlow::Break(resolution) => resolution,
            ControlFlow::Continue(()) if may_exist => Resolution::Pass(Reason::NameNotFound),
            ControlFlow::Continue(()) => {
                self.by_baseline(name, absolute, asked).unwrap_or_else(|| self.unknown(Reason::NameNotFound))
            }
        }
    }

    fn try_candidate(
        &mut self,
        candidate: Candidate<'_>,
        asked: Asked,
        may_exist: &mut bool,
    ) -> ControlFlow<Resolution<'t>> {
        let lookup = self.table.lookup(candidate.name);
        let outcome = match lookup {
            Lookup::Found(_) | Lookup::Pod(_) => Outcome::Exists,
            Lookup::Missing(missing) => Outcome::Missing(missing),
            Lookup::Outside if candidate.asked_first => Outcome::AskedFirst,
            Lookup::Outside => Outcome::Outside,
        };
        *may_exist |= matches!(lookup, Lookup::Missing(Missing::EndpointUnknown));
        note(&mut self.trace, || Step::Candidate { name: candidate.name.as_str().into(), outcome });
        match (lookup, outcome) {
            (Lookup::Pod(address), _) => ControlFlow::Break(pod(address, candidate.name, asked)),
            (Lookup::Found(found), _) => {
                let reason = match found {
                    Found::Service(_) | Found::Port(..) => Reason::Service,
                    Found::Endpoint(..) => Reason::Endpoint,
                };
                ControlFlow::Break(self.follow(found, asked, reason))
            }
            (_, Outcome::AskedFirst) => ControlFlow::Break(self.unknown(Reason::PublicName)),
            (Lookup::Missing(missing), _) => match self.instead_of(candidate.name, missing, asked) {
                Some(Next::At(found, asked)) => match self.follow(found, asked, Reason::FallbackMissing) {
                    Resolution::Route(route) => ControlFlow::Break(Resolution::Route(route)),
                    // It leads nowhere, and the name is as missing as it was.
                    Resolution::Pass(_) | Resolution::Refuse(_) => self.begin_anew(),
                },
                Some(Next::End(resolution)) => ControlFlow::Break(resolution),
                None => self.begin_anew(),
            },
            (Lookup::Outside, _) => ControlFlow::Continue(()),
        }
    }

    /// Goes on to the next candidate, as if the last one had not been.
    fn begin_anew(&mut self) -> ControlFlow<Resolution<'t>> {
        if self.way.stood_in.is_some() {
            self.way = Way::default();
        }
        ControlFlow::Continue(())
    }

    /// What stands in for the Service that this whole name would be, if it is one's and something does.
    pub(crate) fn instead_of(&mut self, name: &Name, missing: Missing, asked: Asked) -> Option<Next<'t>> {
        let table = self.table;
        if table.policy().fallbacks.is_empty() {
            return None;
        }
        self.stand_in(table.service_called(name)?, missing.trigger()?, asked)
    }

    /// What a name means in the caller's baseline namespace, where it has one: `None` where it means nothing there either.
    fn by_baseline(&mut self, name: &Name, absolute: bool, asked: Asked) -> Option<Resolution<'t>> {
        let baseline = self.caller.baseline.as_deref()?;
        let mut joined = *name;
        if !self.caller.search().has_list(name, absolute) || !joined.join(name.len(), baseline) {
            return None;
        }
        self.way.stood_in = Some(Reason::Baseline);
        let candidate = Candidate { name: &joined, asked_first: false };
        let mut may_exist = false;
        match self.try_candidate(candidate, asked, &mut may_exist) {
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
}

/// The route to the pod that has `address` and was called `name`: by the one canonical form of that.
fn pod<'t>(address: IpAddr, name: &Name, asked: Asked) -> Resolution<'t> {
    let behind = name.as_str().split_once('.').map_or("", |(_, behind)| behind);
    let canonical = format!("{}.{behind}", EndpointLabel::Address(address));
    asked.route_to(Destination::Pod(canonical.into()), Reason::Pod)
}
