//! Matching the port that is asked for to a port of the Service, and asking whether anything serves it.
//!
//! It is always the Service's `port` that is matched, by number and over TCP, never a `targetPort`.

use crate::{
    reason::Reason,
    resolve::{Destination, Resolution, Route},
    service::{Kind, Service},
    table::Found,
    trace::{EndpointsOutcome, MatchedPort, PortOrigin, Step, note},
    walk::{Asked, Walk},
};

impl<'t> Walk<'t, '_> {
    /// The route to something that belongs to a Service.
    pub(crate) fn inside(&mut self, found: Found<'t>, asked: Asked, reason: Reason) -> Resolution<'t> {
        let (service, number, origin) = match found {
            Found::Service(service) | Found::Endpoint(service, ..) => (service, asked.port, asked.origin),
            Found::Port(service, port) => match asked.origin {
                PortOrigin::Scheme => (service, port.number, PortOrigin::Name),
                _ => (service, asked.port, asked.origin),
            },
            Found::Pod(_) => return Resolution::Pass(reason),
        };
        let name = match found {
            Found::Port(_, port) => (port.number == number).then_some(port.name),
            _ => service.ports().iter().find(|port| port.port() == number).map(|port| port.name()),
        };
        note(&mut self.trace, || Step::Port { number, origin, matched: name.map(|name| matched_port(service, name)) });
        let Some(port_name) = name else { return self.unknown(Reason::PortNotFound) };
        let endpoints = match found {
            // DNS gives its address, whatever the Service's other endpoints and its traffic policy are.
            Found::Endpoint(_, _, group) if group.provides(port_name) => EndpointsOutcome::Usable { of: 1 },
            Found::Endpoint(..) => EndpointsOutcome::NoneUsable { of: 1, local: false },
            _ => self.endpoints(service, port_name),
        };
        note(&mut self.trace, || Step::Endpoints(endpoints));
        if let EndpointsOutcome::NoneUsable { .. } = endpoints {
            return Resolution::Refuse(Reason::NoEndpoints);
        }
        let destination = match found {
            Found::Endpoint(service, label, _) => Destination::Endpoint(service, label),
            _ => Destination::Service(service),
        };
        Resolution::Route(Route { reason, destination, port: number, port_name, tls: asked.tls })
    }

    fn endpoints(&self, service: &Service, port_name: &str) -> EndpointsOutcome {
        let Some(endpoints) = &service.endpoints else { return EndpointsOutcome::Unknown };
        // DNS lists every ready endpoint of a headless Service, and no other: KEP-2086 leaves it out of traffic policies.
        let headless = matches!(service.kind, Kind::Headless);
        let local = service.local && !headless;
        let node = self.caller.node();
        let of = endpoints.len();
        match endpoints.any_usable(port_name, node.filter(|_| local), !headless) {
            false => EndpointsOutcome::NoneUsable { of, local },
            true if local && node.is_none() => EndpointsOutcome::NodeUnknown,
            true => EndpointsOutcome::Usable { of },
        }
    }
}

fn matched_port(service: &Service, name: &str) -> MatchedPort {
    let own = service.ports().iter().find(|port| port.name() == name);
    MatchedPort { name: name.into(), app_protocol: own.and_then(|port| port.app_protocol()).map(Into::into) }
}
