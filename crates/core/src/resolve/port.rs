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
        // Nearly every request is for a Service at the number of one of its ports, whose index leads to its endpoints without
        // another search.
        match matched {
            Match::Service(service) if let Some((index, port)) = numbered_port(service, requested.number) => {
                self.note_port(service, requested, Some(port.name()));
                let (usable, has_no_endpoints) = (service.usable_at(index), service.has_no_endpoints(index));
                self.route_to_service(service, port.name(), requested, reason, usable, has_no_endpoints)
            }
            _ => self.match_other_port(matched, requested, reason),
        }
    }

    #[inline(never)]
    fn match_other_port(&mut self, matched: Match<'t>, requested: RequestedPort, reason: Reason) -> Resolution<'t> {
        match matched {
            Match::Service(service) => {
                self.note_port(service, requested, None);
                self.match_pod_port(matched, requested, reason)
            }
            Match::Port(service, port) => {
                let requested = match requested.origin.is_implied() {
                    true => RequestedPort { number: port.number, origin: PortOrigin::Name, ..requested },
                    false => requested,
                };
                let RequestedPort { number, origin, .. } = requested;
                if port.number != number {
                    self.note(|| Step::NamedPort { name: port.name.into(), named: port.number, number, origin });
                    return self.pass_or_refuse(Reason::PortNotFound, Refusal::PortNotFound);
                }
                self.note_port(service, requested, Some(port.name));
                let usable = service.usable_for(port.name);
                let is_known = service.spec.endpoints.is_some();
                let has_no_endpoints = is_known && usable.is_some_and(|usable| usable.endpoints == 0);
                self.route_to_service(service, port.name, requested, reason, usable, has_no_endpoints)
            }
            Match::OtherPort(port) => {
                self.note(|| Step::OtherPort { port: port.name.into(), protocol: port.protocol });
                self.pass_or_refuse(Reason::PortNotFound, Refusal::PortNotFound)
            }
            Match::Endpoint(named) => {
                let port = numbered_port(named.service, requested.number);
                self.note_port(named.service, requested, port.map(|(_, port)| port.name()));
                match port {
                    Some((index, port)) => self.match_endpoint_port(named, index, port.name(), requested, reason),
                    None => self.match_pod_port(matched, requested, reason),
                }
            }
        }
    }

    /// The route to an endpoint by its name, at the port at `index` of its Service.
    fn match_endpoint_port(
        &mut self,
        NamedEndpoint { service, label, endpoints }: NamedEndpoint<'t>,
        index: usize,
        port_name: &'t str,
        requested: RequestedPort,
        reason: Reason,
    ) -> Resolution<'t> {
        let number = requested.number;
        let (upstream, usable, of) = match endpoints {
            LabelledEndpoints::Several(hostname) => {
                let usable = service.usable_by_hostname(hostname, Some(index));
                let of = service.endpoints_by_hostname(hostname);
                (usable.map_or(Upstream::Unknown, Upstream::Usable), usable.map_or(0, |usable| usable.endpoints), of)
            }
            // DNS answers with the endpoint's address, whatever the other endpoints and the traffic policy are.
            LabelledEndpoints::One(address, group) => {
                let own_port = group.target_port(port_name, Some(number)).map(|port| (address, port));
                let found = own_port.or_else(|| service.find_with_port(label, port_name, number));
                let (address, port) = found.unwrap_or((address, number));
                (Upstream::Endpoint(address, port), usize::from(found.is_some()), 1)
            }
        };
        self.note(|| {
            let lack = (usable == 0).then(|| Lack::Port(port_name.into()));
            Step::Endpoints(EndpointsOutcome::Known { usable, of, choice: Choice::Ready, family: None, lack })
        });
        if usable == 0 {
            return Resolution::Refuse(Refusal::NoEndpoints);
        }
        let (destination, tls) = (Destination::Endpoint(service, label), requested.tls);
        Resolution::Route(Route { reason, destination, port: number, port_name, is_pod_port: false, tls, upstream })
    }

    /// The route to a Service at its port of this name.
    fn route_to_service(
        &mut self,
        service: &'t Service,
        port_name: &'t str,
        RequestedPort { number, tls, .. }: RequestedPort,
        reason: Reason,
        usable: Option<&'t Usable>,
        has_no_endpoints: bool,
    ) -> Resolution<'t> {
        self.note(|| Step::Endpoints(endpoints_outcome(service, usable, port_name)));
        if has_no_endpoints {
            return Resolution::Refuse(Refusal::NoEndpoints);
        }
        let (destination, upstream) =
            (Destination::Service(service), usable.map_or(Upstream::Unknown, Upstream::Usable));
        Resolution::Route(Route { reason, destination, port: number, port_name, is_pod_port: false, tls, upstream })
    }

    /// Notes the port that is asked for, and the name of the Service's port that it is.
    fn note_port(&mut self, service: &Service, requested: RequestedPort, name: Option<&str>) {
        self.note(|| port_step(service, requested, name));
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

/// The port of the Service that has this number, and its index.
fn numbered_port(service: &Service, number: u16) -> Option<(usize, &ServicePort)> {
    service.ports().iter().enumerate().find(|(_, port)| port.port() == number)
}

#[cold]
#[inline(never)]
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

#[cold]
#[inline(never)]
fn port_step(service: &Service, RequestedPort { number, origin, .. }: RequestedPort, name: Option<&str>) -> Step {
    match (name, service.spec.protocol_of(number)) {
        (None, Some(protocol)) => Step::OtherPort { port: number.to_string().into(), protocol },
        _ => {
            let matched = name.map(|name| matched_port(service, name)).ok_or_else(|| tcp_ports(service));
            Step::Port { number, origin, matched }
        }
    }
}

fn tcp_ports(service: &Service) -> Box<[u16]> {
    service.ports().iter().map(ServicePort::port).collect()
}

fn matched_port(service: &Service, name: &str) -> MatchedPort {
    let own = service.ports().iter().find(|port| port.name() == name);
    MatchedPort { name: name.into(), app_protocol: own.and_then(|port| port.app_protocol()).map(Into::into) }
}
