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
        let name = match found {
            Found::Port(_, port) => (port.number == number).then_some(port.name),
            _ => service.ports().iter().find(|port| port.port() == number).map(|port| port.name()),
        };
        note(&mut self.trace, || Step::Port { number, origin, matched: name.map(|name| matched_port(service, name)) });
        let Some(port_name) = name else { return self.unknown(Reason::PortNotFound) };
        let (destination, upstream, endpoints) = match found {
            // DNS gives its address, whatever the Service's other endpoints and its traffic policy are.
            Found::Endpoint(FoundEndpoint { label, address, group, .. }) => {
                let port = group.target_port(port_name, Some(number));
                let usable = usize::from(port.is_some());
                let known = EndpointsOutcome::Known { usable, of: 1, choice: Choice::Ready, family: None };
                (Destination::Endpoint(service, label), Upstream::Endpoint(address, port.unwrap_or(number)), known)
            }
            _ => {
                let usable = service.usable_for(port_name);
                let upstream = usable.map_or(Upstream::Unknown, Upstream::Usable);
                (Destination::Service(service), upstream, endpoints_of(service, usable))
            }
        };
        note(&mut self.trace, || Step::Endpoints(endpoints));
        if let EndpointsOutcome::Known { usable: 0, .. } = endpoints {
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
