//! Matching the port that is asked for to a port of the Service, and asking whether anything serves it.
//!
//! It is always the Service's `port` that is matched, by number and over TCP, never a `targetPort`.

use crate::{
    reason::Reason,
    resolve::{Destination, Resolution, Route, Upstream},
    service::Service,
    table::{Found, FoundEndpoint},
    trace::{EndpointsOutcome, MatchedPort, PortOrigin, Step, note},
    usable::{Choice, Usable},
    walk::{Asked, Walk},
};

impl<'t> Walk<'t, '_> {
    /// The route to something that belongs to a Service.
    pub(crate) fn inside(&mut self, found: Found<'t>, asked: Asked, reason: Reason) -> Resolution<'t> {
        let (service, number, origin) = match found {
            Found::Service(service) | Found::Endpoint(FoundEndpoint { service, .. }) => {
                (service, asked.port, asked.origin)
            }
            Found::Port(service, port) => match asked.origin {
                PortOrigin::Scheme => (service, port.number, PortOrigin::Name),
                _ => (service, asked.port, asked.origin),
            },
        };
        // By its place, as nearly always, what is known of it is found without another look at its name.
        let own = match found {
            Found::Port(..) => None,
            _ => service.ports().iter().position(|port| port.port() == number),
        };
        let own = own.and_then(|place| Some((place, service.ports().get(place)?)));
        let name = match found {
            Found::Port(_, port) => (port.number == number).then_some(port.name),
            _ => own.map(|(_, port)| port.name()),
        };
        note(&mut self.trace, || Step::Port { number, origin, matched: name.map(|name| matched_port(service, name)) });
        let Some(port_name) = name else { return self.unknown(Reason::PortNotFound) };
        let (destination, upstream, is_deserted) = match found {
            // DNS gives its address, whatever the Service's other endpoints and its traffic policy are.
            Found::Endpoint(FoundEndpoint { label, address, group, .. }) => {
                let port = group.target_port(port_name, Some(number));
                note(&mut self.trace, || {
                    let usable = usize::from(port.is_some());
                    Step::Endpoints(EndpointsOutcome::Known { usable, of: 1, choice: Choice::Ready, family: None })
                });
                let upstream = Upstream::Endpoint(address, port.unwrap_or(number));
                (Destination::Endpoint(service, label), upstream, port.is_none())
            }
            _ => {
                let (usable, is_deserted) = match own {
                    Some((place, port)) => (service.usable.get(place), port.is_deserted),
                    None => {
                        let usable = service.usable_for(port_name);
                        (usable, service.endpoints.is_some() && usable.is_some_and(|usable| usable.endpoints == 0))
                    }
                };
                note(&mut self.trace, || Step::Endpoints(endpoints_of(service, usable)));
                (Destination::Service(service), usable.map_or(Upstream::Unknown, Upstream::Usable), is_deserted)
            }
        };
        if is_deserted {
            return Resolution::Refuse(Reason::NoEndpoints);
        }
        Resolution::Route(Route { reason, destination, port: number, port_name, tls: asked.tls, upstream })
    }
}

fn endpoints_of(service: &Service, usable: Option<&Usable>) -> EndpointsOutcome {
    let Some(endpoints) = &service.endpoints else { return EndpointsOutcome::Unknown };
    let of = endpoints.len();
    match usable {
        Some(Usable { endpoints, choice, family, .. }) => {
            EndpointsOutcome::Known { usable: *endpoints, of, choice: *choice, family: *family }
        }
        None => EndpointsOutcome::Unknown,
    }
}

fn matched_port(service: &Service, name: &str) -> MatchedPort {
    let own = service.ports().iter().find(|port| port.name() == name);
    MatchedPort { name: name.into(), app_protocol: own.and_then(|port| port.app_protocol()).map(Into::into) }
}
