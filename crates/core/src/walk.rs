//! One walk from an authority to a resolution: along the search path, then (`alias`, `port`) to where the name leads.

use crate::{
    authority::{Authority, Host},
    caller::Caller,
    name::Name,
    reason::Reason,
    resolve::{Request, Resolution, Scheme},
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
        let search = self.caller.search();
        let itself_first = search.asks_itself_first(name, absolute);
        let mut may_exist = false;
        let mut candidates = search.candidates(name, absolute).peekable();
        while let Some(candidate) = candidates.next() {
            let lookup = self.table.lookup(&candidate.name);
            let outcome = match lookup {
                Lookup::Found(_) => Outcome::Exists,
                Lookup::Missing(missing) => Outcome::Missing(missing),
                // Before other candidates, as `.` in the search list puts it too.
                Lookup::Outside if candidate.as_asked && (itself_first || candidates.peek().is_some()) => {
                    Outcome::AskedFirst
                }
                Lookup::Outside => Outcome::Outside,
            };
            may_exist |= matches!(lookup, Lookup::Missing(Missing::EndpointUnknown));
            note(&mut self.trace, || Step::Candidate { name: candidate.name.as_str().into(), outcome });
            match (lookup, outcome) {
                (Lookup::Found(found), _) => return self.follow(found, candidate.name, asked),
                (_, Outcome::AskedFirst) => return self.unknown(Reason::PublicName),
                _ => {}
            }
        }
        match may_exist {
            true => Resolution::Pass(Reason::NameNotFound),
            false => self.unknown(Reason::NameNotFound),
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
