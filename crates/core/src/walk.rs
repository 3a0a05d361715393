//! One walk from an authority to a resolution: along the search path, then (`alias`, `port`) to where the name leads.

use alloc::format;
use core::{net::IpAddr, ops::ControlFlow};

use crate::{
    authority::{Authority, Host},
    caller::Caller,
    endpoints::EndpointLabel,
    name::Name,
    reason::Reason,
    resolve::{Destination, Request, Resolution, Route, Scheme},
    table::{Found, Lookup, Missing, Table},
    trace::{MaybeTrace, Outcome, PortOrigin, Step, note},
    wire::UnknownNames,
};

pub(crate) struct Walk<'t, 'w> {
    pub(crate) table: &'t Table,
    pub(crate) caller: &'w Caller,
    pub(crate) trace: MaybeTrace<'w>,
}

/// What is asked for beside the name. Aliases may change it on the way.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) port: u16,
    pub(crate) origin: PortOrigin,
    pub(crate) tls: bool,
}

impl<'t, 'w> Walk<'t, 'w> {
    pub(crate) fn new(table: &'t Table, caller: &'w Caller, trace: MaybeTrace<'w>) -> Self {
        Self { table, caller, trace }
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
                    Some(service) => self.inside(Found::Service(service), asked, Reason::ClusterIp),
                    None => Resolution::Pass(Reason::IpLiteral),
                }
            }
        }
    }

    /// The first candidate of the search path that exists.
    fn by_name(&mut self, name: &Name, absolute: bool, asked: Asked) -> Resolution<'t> {
        let mut may_exist = false;
        let caller = self.caller;
        let ended = caller.search().try_each(name, absolute, |candidate| {
            let lookup = self.table.lookup(candidate.name);
            let outcome = match lookup {
                Lookup::Found(_) | Lookup::Pod(_) => Outcome::Exists,
                Lookup::Missing(missing) => Outcome::Missing(missing),
                Lookup::Outside if candidate.asked_first => Outcome::AskedFirst,
                Lookup::Outside => Outcome::Outside,
            };
            may_exist |= matches!(lookup, Lookup::Missing(Missing::EndpointUnknown));
            note(&mut self.trace, || Step::Candidate { name: candidate.name.as_str().into(), outcome });
            match (lookup, outcome) {
                (Lookup::Pod(address), _) => ControlFlow::Break(pod(address, candidate.name, asked)),
                (Lookup::Found(found), _) => ControlFlow::Break(self.follow(found, asked)),
                (_, Outcome::AskedFirst) => ControlFlow::Break(self.unknown(Reason::PublicName)),
                _ => ControlFlow::Continue(()),
            }
        });
        match ended {
            ControlFlow::Break(resolution) => resolution,
            ControlFlow::Continue(()) if may_exist => Resolution::Pass(Reason::NameNotFound),
            ControlFlow::Continue(()) => self.unknown(Reason::NameNotFound),
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

/// The route to the pod that has `address` and was called `name`: by the one canonical form of that. It belongs to no
/// Service, so that any port will do.
fn pod<'t>(address: IpAddr, name: &Name, asked: Asked) -> Resolution<'t> {
    let behind = name.as_str().split_once('.').map_or("", |(_, behind)| behind);
    Resolution::Route(Route {
        reason: Reason::Pod,
        destination: Destination::Pod(format!("{}.{behind}", EndpointLabel::Address(address)).into()),
        port: asked.port,
        port_name: "",
        tls: asked.tls,
    })
}
