//! The plan for a request: from its resolution to the upstream cluster, the endpoint and the authority.
//!
//! [`Steering::plan`] says what is done to the request, and in a trace which field of the configuration decided. It may use
//! `resolve`, `balance` and everything below them. It never looks up a name, and never touches a request: the filter does.

use alloc::{boxed::Box, string::String};
use core::net::IpAddr;

use crate::{
    balance::{PickRequest, Picked, SetLocation, Ticket, affinity_key, choose_subset},
    limits::MAX_SHOWN_AUTHORITY_BYTES,
    policy::{LoadBalancer, SteeringOverride},
    resolve::{Destination, Request, Resolution, Route, Scheme, Trace, Upstream, trace::Step},
    table::{Service, Subsets, UpstreamProtocol, Usable, WeightedSubset},
    text::{is_equal, shown, write_number, write_socket_address},
    wire::{RewriteAuthority, SteeringMode},
};

mod plan;
mod settings;
mod template;

pub use plan::{Chooser, Plan};
pub use settings::Steering;

pub(crate) use settings::check_header;

/// One request to be planned, and what its plan depends on besides.
pub(crate) struct PlanRequest<'a, 'c> {
    pub(crate) request: Request<'a>,
    /// The cluster domain.
    pub(crate) zone: &'a str,
    /// The hash that identifies the caller.
    pub(crate) identity: Option<u64>,
    pub(crate) chooser: &'a mut Chooser<'c>,
    pub(crate) trace: Option<&'a mut Trace>,
}

impl Steering {
    /// Writes into `plan` what is done to a request with this resolution.
    pub(crate) fn plan(&self, resolution: &Resolution<'_>, mut request: PlanRequest<'_, '_>, plan: &mut Plan) {
        plan.clear();
        let Request { authority, scheme, .. } = request.request;
        let because =
            match resolution {
                Resolution::Refuse(_) => return,
                Resolution::Pass(pass) => {
                    if let Some(target) = pass.target {
                        rename(target, request.request, plan);
                    }
                    self.pass(plan)
                }
                Resolution::Route(route) => {
                    let because = self.choose_cluster(route, &mut request, plan);
                    if self.rewrites(route) {
                        let upstream_scheme =
                            match (&route.destination, self.mode(route)) {
                                _ if scheme == Scheme::Connect => Scheme::Connect,
                                (Destination::External(_), SteeringMode::Cluster | SteeringMode::Endpoint) => {
                                    if route.tls { Scheme::Https } else { Scheme::Http }
                                }
                                // Envoy's routes match the authority, whatever the scheme: without a port it is that of port 80.
                                (_, SteeringMode::Authority) => Scheme::Http,
                                _ => scheme,
                            };
                        write_authority(route, upstream_scheme, request.zone, &mut plan.authority);
                        plan.has_authority = !is_equal(plan.authority.as_bytes(), authority);
                    }
                    because
                }
            };
        request.note(|| steer_step(plan, authority, because));
    }

    fn pass(&self, plan: &mut Plan) -> &'static str {
        if let (SteeringMode::Cluster | SteeringMode::Endpoint, Some(cluster)) = (self.mode, &self.pass_cluster) {
            plan.set_cluster(cluster);
        }
        "steering.passCluster"
    }

    /// Writes the cluster, where the plan has one, and returns the field of the configuration that decided.
    fn choose_cluster(&self, route: &Route<'_>, request: &mut PlanRequest<'_, '_>, plan: &mut Plan) -> &'static str {
        let mode = self.mode(route);
        if mode == SteeringMode::Authority {
            return "steering.by";
        }
        // A client that opens a tunnel speaks to the upstream itself, with TLS of its own if the upstream wants it.
        let is_tunnel = request.request.scheme == Scheme::Connect;
        match &route.destination {
            // The cluster of a port that speaks TLS would wrap the client's TLS once more, so a tunnel goes to an endpoint.
            Destination::Service(service) | Destination::Endpoint(service, _)
                if mode == SteeringMode::Endpoint
                    || is_tunnel && service.upstream_protocol(route.port_name) == UpstreamProtocol::Tls =>
            {
                self.choose_endpoint(service, route, request, plan)
            }
            Destination::Service(service) => self.choose_service_cluster(service, route, request, plan),
            Destination::Endpoint(..) | Destination::Pod(_) | Destination::External(_) => {
                self.choose_other_cluster(route, request, plan)
            }
        }
    }

    fn choose_service_cluster(
        &self,
        service: &Service,
        route: &Route<'_>,
        request: &mut PlanRequest<'_, '_>,
        plan: &mut Plan,
    ) -> &'static str {
        let own = service.spec.steering.as_deref();
        let mut subset = own.map_or("", |own| &*own.subset);
        if let (Upstream::Usable(usable), Some(subsets)) = (route.upstream, &service.spec.subsets)
            && let Some(chosen) = self.choose_subset(service, Some(subsets), usable, request)
        {
            subset = subsets.name(chosen.subset);
        }
        let (template, because) = match own.and_then(|own| own.cluster.as_ref()) {
            Some(template) => (template, "the Service's steering.cluster"),
            None => (&self.cluster, "steering.cluster"),
        };
        plan.write_cluster(template, route, subset, request.zone);
        because
    }

    /// The `ORIGINAL_DST` cluster for a chosen endpoint.
    #[inline(never)]
    fn choose_endpoint(
        &self,
        service: &Service,
        route: &Route<'_>,
        request: &mut PlanRequest<'_, '_>,
        plan: &mut Plan,
    ) -> &'static str {
        let Some(picked) = self.pick(service, route, request) else {
            // Services without usable endpoints were refused, so this is a port of a headless Service whose endpoints have more
            // than MAX_SERVICE_PORTS different ones. Envoy answers 503 where no such cluster exists.
            let subset = own_steering(route).map_or("", |own| &*own.subset);
            plan.write_cluster(&self.cluster, route, subset, request.zone);
            return "steering.cluster";
        };
        write_socket_address(picked.address, picked.port, &mut plan.endpoint);
        plan.ticket = picked.ticket;
        // The Service says nothing about ports that are not its own.
        let protocol = match request.request.scheme == Scheme::Connect || route.is_pod_port {
            true => UpstreamProtocol::AsClient,
            false => service.upstream_protocol(route.port_name),
        };
        let (cluster, because) = self.original_dst.cluster(protocol);
        plan.set_cluster(cluster);
        because
    }

    /// The cluster for what is no Service as a whole.
    #[inline(never)]
    fn choose_other_cluster(&self, route: &Route<'_>, request: &PlanRequest<'_, '_>, plan: &mut Plan) -> &'static str {
        let own = own_steering(route);
        let (template, because) = match &route.destination {
            Destination::Pod(_) => return self.pass(plan),
            Destination::External(host) => {
                if self.dynamic_forward_proxy {
                    plan.set_dynamic_host(host, route.port);
                }
                match route.tls && request.request.scheme != Scheme::Connect {
                    true => (&self.external_tls, "steering.external.tlsCluster"),
                    false => (&self.external, "steering.external.cluster"),
                }
            }
            Destination::Endpoint(..) | Destination::Service(_) => match own.and_then(|own| own.cluster.as_ref()) {
                Some(template) if template.is_per_endpoint() => (template, "the Service's steering.cluster"),
                _ => (&self.endpoint_cluster, "steering.endpointCluster"),
            },
        };
        plan.write_cluster(template, route, own.map_or("", |own| &*own.subset), request.zone);
        because
    }

    fn load_balancer<'s>(&'s self, service: &'s Service) -> &'s LoadBalancer {
        match &service.spec.steering {
            // The client of a sidecar is its pod.
            _ if service.spec.affinity => &LoadBalancer::Pod,
            Some(own) => own.load_balancer.as_ref().unwrap_or(&self.load_balancer),
            None => &self.load_balancer,
        }
    }

    #[inline(never)]
    fn choose_subset<'t>(
        &self,
        service: &Service,
        subsets: Option<&Subsets>,
        usable: &'t Usable,
        request: &mut PlanRequest<'_, '_>,
    ) -> Option<ChosenSubset<'t>> {
        let key = affinity_key(self.load_balancer(service), request.identity, request.chooser.env);
        let subset_key = key.map(|key| key ^ usable.id);
        let (subset, index) = choose_subset(&usable.subsets, subset_key, &mut || request.chooser.env.random())?;
        if let Some(subsets) = subsets {
            request.note(|| Step::Subset {
                name: subsets.name(subset).into(),
                of: usable.subsets.len(),
                by_key: key.is_some(),
            });
        }
        Some(ChosenSubset { subset, index, key })
    }

    #[inline(never)]
    fn pick(&self, service: &Service, route: &Route<'_>, request: &mut PlanRequest<'_, '_>) -> Option<Picked> {
        let usable = match route.upstream {
            Upstream::Unknown => return None,
            Upstream::Endpoint(address, port) => {
                request.note(|| Step::Endpoint {
                    endpoint: socket_address(address, port),
                    of: 1,
                    policy: None,
                    without_key: false,
                    ejected: 0,
                });
                return Some(Picked { address, port, ticket: None });
            }
            Upstream::Usable(usable) => usable,
        };
        // An endpoint's name is of no subset.
        let subsets = service.spec.subsets.as_deref().filter(|_| matches!(route.destination, Destination::Service(_)));
        let ChosenSubset { subset, index, key } = self.choose_subset(service, subsets, usable, request)?;
        let groups = service.spec.endpoints.as_ref()?.set_groups();
        let load_balancer = self.load_balancer(service);
        let pod_port = if route.is_pod_port { route.port } else { 0 };
        let own = service.spec.steering.as_ref();
        let choice = PickRequest {
            set: &subset.set,
            groups,
            load_balancer,
            outlier_detection: own.and_then(|own| own.outlier_detection).unwrap_or(self.outlier_detection),
            set_hash: usable.set_id(subset, pod_port),
            location: SetLocation { slot: service.slot, usable_index: usable.index, subset_index: index, pod_port },
            key,
        };
        let mut picked = choice.pick(request.chooser.balance, request.chooser.env)?;
        if route.is_pod_port {
            picked.port = route.port;
            picked.ticket = picked.ticket.map(|ticket| Ticket { port: route.port, ..ticket });
        }
        let (balance, env) = (&*request.chooser.balance, &*request.chooser.env);
        if let Some(trace) = &mut request.trace {
            trace.steps.push(Step::Endpoint {
                endpoint: socket_address(picked.address, picked.port),
                of: subset.set.len() as usize,
                policy: Some(load_balancer.name()),
                without_key: load_balancer.needs_key() && key.is_none(),
                ejected: balance.count_ejected(&subset.set, choice.set_hash, groups, env.now()),
            });
        }
        Some(picked)
    }

    #[inline(always)]
    fn mode(&self, route: &Route<'_>) -> SteeringMode {
        own_steering(route).and_then(|own| own.mode).unwrap_or(self.mode)
    }

    fn rewrites(&self, route: &Route<'_>) -> bool {
        // Everything about an external target changes together: the TLS name comes from the Host.
        if self.mode(route) == SteeringMode::Authority || matches!(route.destination, Destination::External(_)) {
            return true;
        }
        match own_steering(route).and_then(|own| own.rewrite).unwrap_or(self.rewrite) {
            RewriteAuthority::Always => true,
            RewriteAuthority::Alias => route.reason.changes_name(),
            RewriteAuthority::Never => false,
        }
    }
}

/// Sends a request on under the name and port of an alias's target.
#[inline(never)]
fn rename((host, port): (&str, u16), request: Request<'_>, plan: &mut Plan) {
    plan.authority.push_str(host);
    write_port(port, request.scheme, &mut plan.authority);
    plan.has_authority = !is_equal(plan.authority.as_bytes(), request.authority);
}

#[cold]
#[inline(never)]
fn steer_step(plan: &Plan, authority: &[u8], because: &'static str) -> Step {
    let sent = plan.authority().map_or_else(|| shown(authority, MAX_SHOWN_AUTHORITY_BYTES), String::from);
    Step::Steer { cluster: plan.cluster().map(Into::into), authority: sent.into(), because }
}

/// The subset that a request goes to, its index, and the request's affinity key.
struct ChosenSubset<'t> {
    subset: &'t WeightedSubset,
    index: u16,
    key: Option<u64>,
}

impl PlanRequest<'_, '_> {
    /// Notes a step, which is made only where a trace was asked for.
    fn note(&mut self, step: impl FnOnce() -> Step) {
        if let Some(trace) = &mut self.trace {
            trace.note(step);
        }
    }
}

fn socket_address(address: IpAddr, port: u16) -> Box<str> {
    let mut text = String::new();
    write_socket_address(address, port, &mut text);
    text.into()
}

#[inline(always)]
fn own_steering<'t>(route: &Route<'t>) -> Option<&'t SteeringOverride> {
    route.destination.service()?.spec.steering.as_deref()
}

/// Appends the canonical authority, without the port where it is the default of `scheme`.
fn write_authority(route: &Route<'_>, scheme: Scheme, zone: &str, to: &mut String) {
    route.destination.write_host(zone, to);
    write_port(route.port, scheme, to);
}

fn write_port(port: u16, scheme: Scheme, to: &mut String) {
    if port != scheme.default_port() {
        to.push(':');
        write_number(port, to);
    }
}
