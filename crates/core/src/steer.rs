//! From a resolution to what is done to the request: the upstream cluster, the authority, and where an external host is.

use alloc::{boxed::Box, string::String};

use crate::{
    limits::{MAX_HEADER_NAME_BYTES, MAX_SHOWN_AUTHORITY_BYTES},
    problem::{Fault, Place, Problems},
    reason::Reason,
    resolve::{Destination, Resolution, Route, Scheme, write_number},
    template::{Template, is_header_value},
    trace::{Step, Trace},
    wire::{self, By, RewriteAuthority},
};

/// Headers that mean something to others and so cannot carry a cluster's name or ask for a trace.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-request-id",
];

/// With every header that begins so.
const RESERVED_PREFIXES: &[&str] = &["x-forwarded-", "x-envoy-", "x-b3-", "sec-"];

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
}

/// What one Service changes of it.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    by: Option<By>,
    rewrite: Option<RewriteAuthority>,
    cluster: Option<Template>,
    subset: Box<str>,
}

/// What is done to one request. Made once and used again, so that steering allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct Plan {
    cluster: String,
    has_cluster: bool,
    authority: String,
    has_authority: bool,
    host: String,
    dynamic_port: Option<u16>,
}

impl Plan {
    /// The value of the control header; `None`: the header is removed, whoever sent it.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.has_cluster.then_some(&*self.cluster)
    }

    /// The new `:authority`; `None`: it stays as it came.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.has_authority.then_some(&*self.authority)
    }

    /// Host and port for a dynamic forward proxy cluster, where one was chosen.
    #[must_use]
    pub fn dynamic_host(&self) -> Option<(&str, u16)> {
        self.dynamic_port.map(|port| (&*self.host, port))
    }

    fn clear(&mut self) {
        self.cluster.clear();
        self.authority.clear();
        self.host.clear();
        (self.has_cluster, self.has_authority, self.dynamic_port) = (false, false, None);
    }
}

impl Override {
    pub(crate) fn compile(wire: &wire::ServiceSteering, at: &Place<'_>, problems: &mut Problems) -> Self {
        if !is_header_value(&wire.subset) {
            problems.push(at.field("subset").problem(&wire.subset, Fault::HeaderValue));
        }
        let in_cluster = at.field("cluster");
        Self {
            by: wire.by,
            rewrite: wire.rewrite_authority,
            cluster: wire.cluster.as_ref().map(|text| Template::compile(text, &in_cluster, problems)),
            subset: wire.subset.as_str().into(),
        }
    }
}

impl Steering {
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
            let at = at.field("passCluster");
            if cluster.is_empty() {
                problems.push(at.problem("", Fault::Empty));
            } else if !is_header_value(cluster) {
                problems.push(at.problem(cluster, Fault::HeaderValue));
            }
        }
        let external = at.field("external");
        if wire.external.cluster == wire.external.tls_cluster {
            problems.push(external.field("tlsCluster").problem(&wire.external.tls_cluster, Fault::SameCluster));
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

    /// Works out into `plan` what is done to a request with this `resolution` that came with the authority `asked`.
    pub(crate) fn plan(
        &self,
        resolution: &Resolution<'_>,
        asked: &[u8],
        scheme: Scheme,
        zone: &str,
        plan: &mut Plan,
        trace: Option<&mut Trace>,
    ) {
        plan.clear();
        let because = match resolution {
            Resolution::Refuse(_) => return,
            Resolution::Pass(_) => self.pass(plan),
            Resolution::Route(route) => {
                let because = self.choose_cluster(route, zone, plan);
                if self.rewrites(route) {
                    let spoken = match (&route.destination, self.by(route)) {
                        _ if scheme == Scheme::Connect => Scheme::Connect,
                        (Destination::External(_), By::Cluster) if route.tls => Scheme::Https,
                        (Destination::External(_), By::Cluster) => Scheme::Http,
                        // The routes that match again know the request by the scheme it came with.
                        _ => scheme,
                    };
                    write_authority(route, spoken, zone, &mut plan.authority);
                    plan.has_authority = plan.authority.as_bytes() != asked;
                }
                because
            }
        };
        if let Some(trace) = trace {
            let authority =
                plan.authority().map_or_else(|| crate::trace::shown(asked, MAX_SHOWN_AUTHORITY_BYTES), String::from);
            trace.steps.push(Step::Steer {
                cluster: plan.cluster().map(Into::into),
                authority: authority.into(),
                because,
            });
        }
    }

    fn pass(&self, plan: &mut Plan) -> &'static str {
        if let (By::Cluster, Some(cluster)) = (self.by, &self.pass_cluster) {
            plan.cluster.push_str(cluster);
            plan.has_cluster = true;
        }
        "steering.passCluster"
    }

    /// Writes the cluster, where it is chosen here, and says which field of the configuration made it so.
    fn choose_cluster(&self, route: &Route<'_>, zone: &str, plan: &mut Plan) -> &'static str {
        if self.by(route) == By::Authority {
            return "steering.by";
        }
        let own = own_steering(route);
        let (template, because) = match &route.destination {
            Destination::Pod(_) => return self.pass(plan),
            Destination::External(host) => {
                if self.dynamic_forward_proxy {
                    plan.host.push_str(host);
                    plan.dynamic_port = Some(route.port);
                }
                match route.tls {
                    true => (&self.external_tls, "steering.external.tlsCluster"),
                    false => (&self.external, "steering.external.cluster"),
                }
            }
            Destination::Endpoint(..) => match own.and_then(|own| own.cluster.as_ref()) {
                Some(template) if template.tells_endpoints_apart() => (template, "the Service's steering.cluster"),
                _ => (&self.endpoint_cluster, "steering.endpointCluster"),
            },
            Destination::Service(_) => match own.and_then(|own| own.cluster.as_ref()) {
                Some(template) => (template, "the Service's steering.cluster"),
                None => (&self.cluster, "steering.cluster"),
            },
        };
        let subset = own.map_or("", |own| &own.subset);
        template.write(route, subset, zone, &mut plan.cluster);
        plan.has_cluster = true;
        because
    }

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
            RewriteAuthority::Alias => route.reason == Reason::Alias,
            RewriteAuthority::Never => false,
        }
    }
}

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

/// Checks the name of a header that the filter may set or look for.
pub(crate) fn check_header(name: &str, at: &Place<'_>, problems: &mut Problems) {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=MAX_HEADER_NAME_BYTES).contains(&name.len());
    let reserved = RESERVED_HEADERS.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if !fits || !name.bytes().all(known) || reserved {
        problems.push(at.problem(name, Fault::HeaderName));
    }
}
