//! The last stage of a resolution: matching the requested port to a port of the Service, and checking that something serves it.
//!
//! The number is matched to the Service's TCP `port`, never to a `targetPort`. DNS resolves the names of headless Services and of
//! endpoints to pod addresses, at which any port of the pods answers: where the Service is steered by endpoint, a port that is
//! not the Service's is one of the pods.

use alloc::{boxed::Box, string::ToString};

use super::{
    reason::{Reason, Refusal},
    resolution::{Destination, Resolution, Route, Upstream},
    trace::{EndpointsOutcome, Lack, MatchedPort, PortOrigin, Step},
    walk_state::{RequestedPort, Walk},
};
use crate::table::{Choice, LabelledEndpoints, Match, NamedEndpoint, Service, ServiceKind, ServicePort, Usable};

impl<'t> Walk<'t, '_> {
    /// The route to a Service or to a part of one.
    pub(super) fn match_port(
        &mut self,
        matched: Match<'t>,
        requested: RequestedPort,
        reason: Reason,
    ) -> Resolution<'t> {
        let (service, number, origin) = match matched {
            Match::Service(service) | Match::Endpoint(NamedEndpoint { service, .. }) => {
                (service, requested.number, requested.origin)
            }
            Match::Port(service, port) => match requested.origin {
                origin if origin.is_implied() => (service, port.number, PortOrigin::Name),
                _ => (service, requested.number, requested.origin),
            },
            Match::OtherPort(port) => {
                self.note(|| Step::OtherPort { port: port.name.into(), protocol: port.protocol });
                return self.pass_or_refuse(Reason::PortNotFound, Refusal::PortNotFound);
            }
        };
        // Nearly every port is found by its number, and its index then leads to its endpoints without another search.
        let own = match matched {
            Match::Port(..) => None,
            _ => service.ports().iter().enumerate().find(|(_, port)| port.port() == number),
        };
        let name = match matched {
            Match::Port(_, port) => (port.number == number).then_some(port.name),
            _ => own.map(|(_, port)| port.name()),
        };
        self.note(|| match (name, service.spec.protocol_of(number)) {
            (None, Some(protocol)) => Step::OtherPort { port: number.to_string().into(), protocol },
            _ => {
                let matched = name.map(|name| matched_port(service, name)).ok_or_else(|| tcp_ports(service));
                Step::Port { number, origin, matched }
            }
        });
        let Some(port_name) = name else {
            return self.match_pod_port(matched, RequestedPort { number, ..requested }, reason);
        };
        let (destination, upstream, has_no_endpoints) = match matched {
            Match::Endpoint(NamedEndpoint { label, endpoints: LabelledEndpoints::Several(hostname), .. }) => {
                let usable = own.and_then(|(index, _)| service.usable_by_hostname(hostname, Some(index)));
                let has_no_endpoints = usable.is_none_or(|usable| usable.endpoints == 0);
                self.note(|| {
                    let usable = usable.map_or(0, |usable| usable.endpoints);
                    let of = service.endpoints_by_hostname(hostname);
                    let lack = has_no_endpoints.then(|| Lack::Port(port_name.into()));
                    Step::Endpoints(EndpointsOutcome::Known { usable, of, choice: Choice::Ready, family: None, lack })
                });
                let upstream = usable.map_or(Upstream::Unknown, Upstream::Usable);
                (Destination::Endpoint(service, label), upstream, has_no_endpoints)
            }
            // DNS answers with the endpoint's address, whatever the other endpoints and the traffic policy are.
            Match::Endpoint(NamedEndpoint { label, endpoints: LabelledEndpoints::One(address, group), .. }) => {
                let own_port = group.target_port(port_name, Some(number)).map(|port| (address, port));
                let (address, port) = own_port
                    .or_else(|| service.find_with_port(label, port_name, number))
                    .map_or((address, None), |(address, port)| (address, Some(port)));
                self.note(|| {
                    let usable = usize::from(port.is_some());
                    let lack = port.is_none().then(|| Lack::Port(port_name.into()));
                    Step::Endpoints(EndpointsOutcome::Known {
                        usable,
                        of: 1,
                        choice: Choice::Ready,
                        family: None,
                        lack,
                    })
                });
                let upstream = Upstream::Endpoint(address, port.unwrap_or(number));
                (Destination::Endpoint(service, label), upstream, port.is_none())
            }
            _ => {
                let (usable, has_no_endpoints) = match own {
                    Some((index, _)) => (service.usable_at(index), service.has_no_endpoints(index)),
                    None => {
                        let usable = service.usable_for(port_name);
                        let is_known = service.spec.endpoints.is_some();
                        (usable, is_known && usable.is_some_and(|usable| usable.endpoints == 0))
                    }
                };
                self.note(|| Step::Endpoints(endpoints_outcome(service, usable, port_name)));
                (Destination::Service(service), usable.map_or(Upstream::Unknown, Upstream::Usable), has_no_endpoints)
            }
        };
        if has_no_endpoints {
            return Resolution::Refuse(Refusal::NoEndpoints);
        }
        let tls = requested.tls;
        Resolution::Route(Route { reason, destination, port: number, port_name, is_pod_port: false, tls, upstream })
    }

    /// The route to a port that the Service does not have, of a name that DNS resolves to pod addresses.
    #[inline(never)]
    fn match_pod_port(&mut self, matched: Match<'t>, requested: RequestedPort, reason: Reason) -> Resolution<'t> {
        let RequestedPort { number, tls, .. } = requested;
        let (service, destination, upstream) = match matched {
            Match::Service(service) if matches!(service.spec.kind, ServiceKind::Headless) => {
                (service, Destination::Service(service), service.usable_at_any_port().map(Upstream::Usable))
            }
            Match::Endpoint(NamedEndpoint { service, label, endpoints }) => {
                let upstream = match endpoints {
                    LabelledEndpoints::One(address, _) => Some(Upstream::Endpoint(address, number)),
                    LabelledEndpoints::Several(hostname) => {
                        service.usable_by_hostname(hostname, None).map(Upstream::Usable)
                    }
                };
                (service, Destination::Endpoint(service, label), upstream)
            }
            Match::Service(_) | Match::Port(..) | Match::OtherPort(..) => {
                return self.pass_or_refuse(Reason::PortNotFound, Refusal::PortNotFound);
            }
        };
        // A CONNECT without a port has the number 0.
        let upstream = upstream.filter(|_| service.reaches_pod_ports() && number != 0);
        self.note(|| Step::PodPort { number, only: upstream.is_none().then(|| tcp_ports(service)) });
        let Some(upstream) = upstream else {
            return self.pass_or_refuse(Reason::PortNotFound, Refusal::PortNotFound);
        };
        let usable = if let Upstream::Usable(usable) = upstream { usable.endpoints } else { 1 };
        self.note(|| {
            let of = match matched {
                Match::Endpoint(_) => usable,
                _ => service.spec.endpoints.as_ref().map_or(0, |endpoints| endpoints.len()),
            };
            Step::Endpoints(EndpointsOutcome::Known { usable, of, choice: Choice::Ready, family: None, lack: None })
        });
        if usable == 0 {
            return Resolution::Refuse(Refusal::NoEndpoints);
        }
        Resolution::Route(Route { reason, destination, port: number, port_name: "", is_pod_port: true, tls, upstream })
    }
}

fn endpoints_outcome(service: &Service, usable: Option<&Usable>, port_name: &str) -> EndpointsOutcome {
    match (&service.spec.endpoints, usable) {
        (Some(endpoints), Some(usable)) => EndpointsOutcome::Known {
            usable: usable.endpoints,
            of: endpoints.len(),
            choice: usable.choice,
            family: usable.family,
            lack: if usable.endpoints == 0 { lack(service, endpoints.len(), port_name) } else { None },
        },
        _ => EndpointsOutcome::Unknown,
    }
}

fn lack(service: &Service, endpoints: usize, port_name: &str) -> Option<Lack> {
    match endpoints {
        0 => Some(Lack::Endpoints),
        _ if !service.any_endpoint_has(port_name) => Some(Lack::Port(port_name.into())),
        _ => service.missing_family().map(Lack::Family),
    }
}

fn tcp_ports(service: &Service) -> Box<[u16]> {
    service.ports().iter().map(ServicePort::port).collect()
}

fn matched_port(service: &Service, name: &str) -> MatchedPort {
    let own = service.ports().iter().find(|port| port.name() == name);
    MatchedPort { name: name.into(), app_protocol: own.and_then(|port| port.app_protocol()).map(Into::into) }
}
