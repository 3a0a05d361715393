//! The decision: what a name means to a caller. Pure, total, and the same wherever it is asked.

use alloc::{boxed::Box, string::String};
use core::{
    fmt::Write,
    net::{IpAddr, SocketAddr},
};

use crate::{
    caller::Caller, label::EndpointLabel, reason::Reason, service::Service, table::Table, trace::Trace, usable::Usable,
    walk::Walk,
};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The bytes of `:authority`, as the client sent them.
    pub authority: &'r [u8],
    /// Its scheme, which gives the port where the authority has none.
    pub scheme: Scheme,
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Port 80.
    #[default]
    Http,
    /// Port 443.
    Https,
    /// None: a CONNECT request has no scheme, and its authority always has a port (RFC 9110 section 9.3.6).
    Connect,
}

impl Scheme {
    /// `https` in any case is [`Scheme::Https`], all else [`Scheme::Http`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.eq_ignore_ascii_case(b"https") { Self::Https } else { Self::Http }
    }

    /// The port of an authority that has none, RFC 9110 section 4.2; 0, which is no port, where none may be left out.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Connect => 0,
        }
    }
}

/// What a request means.
#[derive(Clone, Debug)]
pub enum Resolution<'t> {
    /// It goes to what the name means.
    Route(Route<'t>),
    /// The name means nothing that is known here; the request goes on as it came.
    Pass(Reason),
    /// It is answered here.
    Refuse(Reason),
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Route<'t> {
    /// Why.
    pub reason: Reason,
    /// What was meant.
    pub destination: Destination<'t>,
    /// The port: a Service's for what belongs to a Service, else the target's own.
    pub port: u16,
    /// Name of the Service's port; empty where it has none.
    pub port_name: &'t str,
    /// Whether the destination, an external one, is spoken to over TLS.
    pub tls: bool,
    /// What is known of where it runs.
    pub(crate) upstream: Upstream<'t>,
}

/// What is known of where a destination runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upstream<'t> {
    Unknown,
    /// One is chosen of these.
    Usable(&'t Usable),
    /// It is this one.
    Endpoint(IpAddr, u16),
}

/// What a name meant.
#[derive(Clone, Debug)]
pub enum Destination<'t> {
    /// A Service.
    Service(&'t Service),
    /// One endpoint of a Service.
    Endpoint(&'t Service, EndpointLabel<'t>),
    /// A pod, by its whole name.
    Pod(Box<str>),
    /// A host outside the cluster.
    External(&'t str),
}

impl<'t> Destination<'t> {
    /// The Service that it belongs to.
    #[must_use]
    #[inline(always)]
    pub fn service(&self) -> Option<&'t Service> {
        match self {
            Self::Service(service) | Self::Endpoint(service, _) => Some(service),
            Self::Pod(_) | Self::External(_) => None,
        }
    }

    /// Writes the canonical host: an absolute name, lowercase, without a dot at its end.
    pub fn write_host(&self, zone: &str, to: &mut String) {
        match self {
            Self::Service(service) => write_service(service, zone, to),
            Self::Endpoint(service, label) => {
                write_label(label, to);
                to.push('.');
                write_service(service, zone, to);
            }
            Self::Pod(name) => to.push_str(name),
            Self::External(host) => to.push_str(host),
        }
    }
}

/// What every request comes by, so without the machinery of formatting.
fn write_service(service: &Service, zone: &str, to: &mut String) {
    let (namespace, name) = service.key.parts();
    for text in [name, ".", namespace, ".svc.", zone] {
        to.push_str(text);
    }
}

pub(crate) fn write_label(label: &EndpointLabel<'_>, to: &mut String) {
    match label {
        EndpointLabel::Hostname(hostname) => to.push_str(hostname),
        // Into a String: it cannot fail.
        EndpointLabel::Address(_) => drop(write!(to, "{label}")),
    }
}

/// A number as text.
pub(crate) fn write_number(number: u16, to: &mut String) {
    if number >= 10 {
        write_number(number / 10, to);
    }
    to.push(char::from(b'0' + (number % 10) as u8));
}

impl Route<'_> {
    /// Where the one endpoint is that was meant, if one was.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        match self.upstream {
            Upstream::Endpoint(address, port) => Some(SocketAddr::new(address, port)),
            Upstream::Unknown | Upstream::Usable(_) => None,
        }
    }
}

impl Resolution<'_> {
    /// Why it is what it is.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Route(route) => route.reason,
            Self::Pass(reason) | Self::Refuse(reason) => *reason,
        }
    }
}

/// What `request` means to `caller`, going by `table`. It cannot fail: whatever the input, there is a resolution.
#[must_use]
pub fn resolve<'t>(table: &'t Table, caller: &Caller, request: Request<'_>) -> Resolution<'t> {
    Walk::new(table, caller, None).resolve(request)
}

/// [`resolve`], with every step noted in `trace`.
#[must_use]
pub fn resolve_traced<'t>(
    table: &'t Table,
    caller: &Caller,
    request: Request<'_>,
    trace: &mut Trace,
) -> Resolution<'t> {
    Walk::new(table, caller, Some(trace)).resolve(request)
}
