//! From a resolution to what is done to the request: the upstream cluster, the endpoint, the authority.

use alloc::{boxed::Box, string::String};
use core::net::IpAddr;

use crate::{
    balance::SetPlace,
    header::{check_header, is_header_value},
    health::Outliers,
    limits::MAX_SHOWN_AUTHORITY_BYTES,
    pick::{Ask, Balancing, Picked},
    plan::{Chooser, Plan, write_endpoint},
    problem::{Fault, Place, Problems},
    resolve::{Destination, Request, Resolution, Route, Scheme, Upstream, write_number},
    service::{Service, Spoken},
    subsets::{Part, Subsets},
    template::Template,
    trace::{MaybeTrace, Step, note},
    usable::Usable,
    wire::{self, By, RewriteAuthority},
};

/// How requests are steered, as configured.
#[derive(Clone, Debug)]
pub struct Steering {
    by: By,
    rewrite: RewriteAuthority,
    forwarded_host: bool,
    control_header: Box<str>,
    cluster: Template,
    endpoint_cluster: Template,
    pass_cluster: Option<Box<str>>,
    external: Template,
    external_tls: Template,
    dynamic_forward_proxy: bool,
    original_dst: OriginalDst,
    balancing: Balancing,
    outliers: Option<Outliers>,
}

/// The clusters of endpoints that are chosen here.
#[derive(Clone, Debug)]
struct OriginalDst {
    clear: Box<str>,
    http2: Option<Box<str>>,
    tls: Box<str>,
}

/// A request that is to be planned.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) request: Request<'a>,
    /// The cluster domain.
    pub(crate) zone: &'a str,
    /// What the caller is known by.
    pub(crate) identity: Option<u64>,
}

/// What one Service changes of it.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    by: Option<By>,
    rewrite: Option<RewriteAuthority>,
    cluster: Option<Template>,
    subset: Box<str>,
    balancing: Option<Balancing>,
    /// `Some(None)`: nothing is ever ejected.
    outliers: Option<Option<Outliers>>,
}

impl Override {
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::ServiceSteering, at: &Place<'_>, problems: &mut Problems) -> Self {
        if !is_header_value(&wire.subset) {
            problems.add(&at.field("subset"), &wire.subset, Fault::HeaderValue);
        }
        let in_cluster = at.field("cluster");
        Self {
            by: wire.by,
            rewrite: wire.rewrite_authority,
            cluster: wire.cluster.as_ref().map(|text| Template::compile(text, &in_cluster, problems)),
            subset: wire.subset.as_str().into(),
            balancing: wire
                .load_balancer
                .as_ref()
                .map(|balancer| Balancing::compile(balancer, &at.field("loadBalancer"), problems)),
            outliers: wire
                .outlier_detection
                .as_ref()
                .map(|outliers| Outliers::compile(outliers, &at.field("outlierDetection"), problems)),
        }
    }

    pub(crate) fn by(&self) -> Option<By> {
        self.by
    }
}

impl OriginalDst {
    #[inline(never)]
    fn compile(wire: &wire::OriginalDst, at: &Place<'_>, problems: &mut Problems) -> Self {
        check_cluster(&wire.cluster, &at.field("cluster"), problems);
        check_cluster(&wire.tls_cluster, &at.field("tlsCluster"), problems);
        if let Some(http2) = &wire.http2_cluster {
            check_cluster(http2, &at.field("http2Cluster"), problems);
        }
        if wire.tls_cluster == wire.cluster || wire.http2_cluster.as_ref() == Some(&wire.tls_cluster) {
            problems.add(&at.field("tlsCluster"), &wire.tls_cluster, Fault::SameCluster);
        }
        Self {
            clear: wire.cluster.as_str().into(),
            http2: wire.http2_cluster.as_deref().map(Into::into),
            tls: wire.tls_cluster.as_str().into(),
        }
    }

    /// The cluster for endpoints that are spoken to so, and the field that names it.
    fn cluster(&self, spoken: Spoken) -> (&str, &'static str) {
        match (spoken, &self.http2) {
            (Spoken::Tls, _) => (&self.tls, "steering.originalDst.tlsCluster"),
            (Spoken::Http2, Some(http2)) => (http2, "steering.originalDst.http2Cluster"),
            (Spoken::Http2, None) | (Spoken::AsClient, _) => (&self.clear, "steering.originalDst.cluster"),
        }
    }
}

impl Steering {
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::Steering, problems: &mut Problems) -> Self {
        let at = Place::root("steering");
        let header = at.field("controlHeader");
        check_header(&wire.control_header, &header, problems);
        let cluster = Template::compile(&wire.cluster, &at.field("cluster"), problems);
        let endpoint_cluster = match &wire.endpoint_cluster {
            Some(text) => Template::compile(text, &at.field("endpointCluster"), problems),
            None if cluster.tells_endpoints_apart() => cluster.clone(),
            None => Template::compile(&wire::Steering::default().cluster, &at, problems),
        };
        if let Some(cluster) = &wire.pass_cluster {
            check_cluster(cluster, &at.field("passCluster"), problems);
        }
        let external = at.field("external");
        if wire.external.cluster == wire.external.tls_cluster {
            problems.add(&external.field("tlsCluster"), &wire.external.tls_cluster, Fault::SameCluster);
        }
        Self {
            by: wire.by,
            rewrite: wire.rewrite_authority,
            forwarded_host: wire.forwarded_host,
            control_header: wire.control_header.as_str().into(),
            cluster,
            endpoint_cluster,
            pass_cluster: wire.pass_cluster.as_deref().map(Into::into),
            external: Template::compile(&wire.external.cluster, &external.field("cluster"), problems),
            external_tls: Template::compile(&wire.external.tls_cluster, &external.field("tlsCluster"), problems),
            dynamic_forward_proxy: wire.external.dynamic_forward_proxy,
            original_dst: OriginalDst::compile(&wire.original_dst, &at.field("originalDst"), problems),
            balancing: Balancing::compile(&wire.load_balancer, &at.field("loadBalancer"), problems),
            outliers: wire
                .outlier_detection
                .as_ref()
                .and_then(|outliers| Outliers::compile(outliers, &at.field("outlierDetection"), problems)),
        }
    }

    /// The header that holds the upstream cluster's name.
    #[must_use]
    pub fn control_header(&self) -> &str {
        &self.control_header
    }

    /// Whether a rewritten authority is kept in `x-forwarded-host`.
    #[must_use]
    pub fn forwarded_host(&self) -> bool {
        self.forwarded_host
    }

    /// Works out into `plan` what is done to a request with this `resolution`.
    pub(crate) fn plan(
        &self,
        resolution: &Resolution<'_>,
        asked: Asked<'_>,
        chooser: &mut Chooser<'_>,
        plan: &mut Plan,
        mut trace: MaybeTrace<'_>,
    ) {
        plan.clear();
        let Asked { request: Request { authority, scheme }, zone, .. } = asked;
        let because = match resolution {
            Resolution::Refuse(_) => return,
            Resolution::Pass(_) => self.pass(plan),
            Resolution::Route(route) => {
                let because = self.choose_cluster(route, asked, chooser, plan, &mut trace);
                if self.rewrites(route) {
                    let spoken = match (&route.destination, self.by(route)) {
                        _ if scheme == Scheme::Connect => Scheme::Connect,
                        (Destination::External(_), By::Cluster | By::Endpoint) if route.tls => Scheme::Https,
                        (Destination::External(_), By::Cluster | By::Endpoint) => Scheme::Http,
                        // The routes that match again know the request by the scheme it came with.
                        _ => scheme,
                    };
                    write_authority(route, spoken, zone, &mut plan.authority);
                    plan.has_authority = plan.authority.as_bytes() != authority;
                }
                because
            }
        };
        note(&mut trace, || {
            let sent = plan
                .authority()
                .map_or_else(|| crate::trace::shown(authority, MAX_SHOWN_AUTHORITY_BYTES), String::from);
            Step::Steer { cluster: plan.cluster().map(Into::into), authority: sent.into(), because }
        });
    }

    fn pass(&self, plan: &mut Plan) -> &'static str {
        if let (By::Cluster | By::Endpoint, Some(cluster)) = (self.by, &self.pass_cluster) {
            plan.set_cluster(cluster);
        }
        "steering.passCluster"
    }

    /// Writes the cluster, where it is chosen here, and says which field of the configuration made it so.
    fn choose_cluster(
        &self,
        route: &Route<'_>,
        asked: Asked<'_>,
        chooser: &mut Chooser<'_>,
        plan: &mut Plan,
        trace: &mut MaybeTrace<'_>,
    ) -> &'static str {
        let by = self.by(route);
        if by == By::Authority {
            return "steering.by";
        }
        let own = own_steering(route);
        let mut subset = own.map_or("", |own| &*own.subset);
        let (template, because) = match &route.destination {
            Destination::Pod(_) => return self.pass(plan),
            Destination::External(host) => {
                if self.dynamic_forward_proxy {
                    plan.set_dynamic_host(host, route.port);
                }
                match route.tls {
                    true => (&self.external_tls, "steering.external.tlsCluster"),
                    false => (&self.external, "steering.external.cluster"),
                }
            }
            Destination::Service(service) | Destination::Endpoint(service, _) if by == By::Endpoint => {
                if let Some(picked) = self.pick(service, route.upstream, asked, chooser, trace) {
                    write_endpoint(picked.address, picked.port, &mut plan.endpoint);
                    plan.ticket = picked.ticket;
                    let (cluster, because) = self.original_dst.cluster(service.spoken(route.port_name));
                    plan.set_cluster(cluster);
                    return because;
                }
                // There is an endpoint, or the request were refused; were there none, no such cluster is a 503.
                (&self.cluster, "steering.cluster")
            }
            Destination::Endpoint(..) => match own.and_then(|own| own.cluster.as_ref()) {
                Some(template) if template.tells_endpoints_apart() => (template, "the Service's steering.cluster"),
                _ => (&self.endpoint_cluster, "steering.endpointCluster"),
            },
            Destination::Service(service) => {
                if let (Upstream::Usable(usable), Some(subsets)) = (route.upstream, &service.subsets)
                    && let Some((part, ..)) = self.choose_part(service, usable, asked, chooser, trace)
                {
                    subset = subsets.name(part);
                }
                match own.and_then(|own| own.cluster.as_ref()) {
                    Some(template) => (template, "the Service's steering.cluster"),
                    None => (&self.cluster, "steering.cluster"),
                }
            }
        };
        template.write(route, subset, asked.zone, &mut plan.cluster);
        plan.has_cluster = true;
        because
    }

    fn balancing<'s>(&'s self, service: &'s Service) -> &'s Balancing {
        match &service.steering {
            // In a sidecar the client is the pod.
            _ if service.affinity => &Balancing::Pod,
            Some(own) => own.balancing.as_ref().unwrap_or(&self.balancing),
            None => &self.balancing,
        }
    }

    /// The part of a Service's endpoints that a request goes to, its place, and the affinity key that the request has.
    fn choose_part<'t>(
        &self,
        service: &Service,
        usable: &'t Usable,
        asked: Asked<'_>,
        chooser: &mut Chooser<'_>,
        trace: &mut MaybeTrace<'_>,
    ) -> Option<(&'t Part, u16, Option<u64>)> {
        let key = self.balancing(service).key(asked.identity, chooser.ambient);
        let (part, place) =
            Subsets::choose(&usable.parts, key.map(|key| key ^ usable.id), &mut || chooser.ambient.random())?;
        if let Some(subsets) = &service.subsets {
            note(trace, || Step::Subset {
                name: subsets.name(part).into(),
                of: usable.parts.len(),
                by_key: key.is_some(),
            });
        }
        Some((part, place, key))
    }

    #[inline(never)]
    fn pick(
        &self,
        service: &Service,
        upstream: Upstream<'_>,
        asked: Asked<'_>,
        chooser: &mut Chooser<'_>,
        trace: &mut MaybeTrace<'_>,
    ) -> Option<Picked> {
        let usable = match upstream {
            Upstream::Unknown => return None,
            Upstream::Endpoint(address, port) => {
                note(trace, || endpoint_step((address, port), 1, None));
                return Some(Picked { address, port, ticket: None });
            }
            Upstream::Usable(usable) => usable,
        };
        let (part, place, key) = self.choose_part(service, usable, asked, chooser, trace)?;
        let groups = service.endpoints.as_ref()?.groups();
        let balancing = self.balancing(service);
        let ask = Ask {
            set: &part.set,
            groups,
            balancing,
            outliers: service.steering.as_ref().and_then(|own| own.outliers).unwrap_or(self.outliers),
            id: usable.set_id(part),
            place: SetPlace { service: service.index, port: usable.place, part: place },
            key,
        };
        let picked = ask.pick(chooser.balance, chooser.ambient)?;
        note(trace, || {
            let ejected = part.set.ejected(groups, ask.id, chooser.balance, chooser.ambient.now());
            let policy = (balancing.name(), balancing.needs_key() && key.is_none(), ejected);
            endpoint_step((picked.address, picked.port), part.set.len(), Some(policy))
        });
        Some(picked)
    }

    #[inline(always)]
    fn by(&self, route: &Route<'_>) -> By {
        own_steering(route).and_then(|own| own.by).unwrap_or(self.by)
    }

    fn rewrites(&self, route: &Route<'_>) -> bool {
        // An external target changes as a whole: its Host gives the TLS name too.
        if self.by(route) == By::Authority || matches!(route.destination, Destination::External(_)) {
            return true;
        }
        match own_steering(route).and_then(|own| own.rewrite).unwrap_or(self.rewrite) {
            RewriteAuthority::Always => true,
            RewriteAuthority::Alias => route.reason.leads_elsewhere(),
            RewriteAuthority::Never => false,
        }
    }
}

fn endpoint_step((address, port): (IpAddr, u16), of: usize, policy: Option<(&'static str, bool, u32)>) -> Step {
    let mut endpoint = String::new();
    write_endpoint(address, port, &mut endpoint);
    let (policy, without_key, ejected) =
        policy.map_or((None, false, 0), |(policy, without_key, ejected)| (Some(policy), without_key, ejected));
    Step::Endpoint { endpoint: endpoint.into(), of, policy, without_key, ejected }
}

#[inline(always)]
fn own_steering<'t>(route: &Route<'t>) -> Option<&'t Override> {
    route.destination.service()?.steering.as_deref()
}

/// The canonical authority: the port is left out where it is the default of the scheme that is spoken.
fn write_authority(route: &Route<'_>, spoken: Scheme, zone: &str, to: &mut String) {
    route.destination.write_host(zone, to);
    if route.port != spoken.default_port() {
        to.push(':');
        write_number(route.port, to);
    }
}

fn check_cluster(name: &str, at: &Place<'_>, problems: &mut Problems) {
    if name.is_empty() {
        problems.add(at, "", Fault::Empty);
    } else if !is_header_value(name) {
        problems.add(at, name, Fault::HeaderValue);
    }
}
