//! The types of a resolution: the request, and where it goes.

use alloc::{boxed::Box, string::String, vec, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use super::reason::{Reason, Refusal};
use crate::{
    names::EndpointLabel,
    table::{Service, Usable},
};

/// The request, as far as a resolution depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// The bytes of `:authority`, as the client sent them.
    pub authority: &'r [u8],
    /// The scheme. Its default port is used where neither the authority nor `destination_port` says one.
    pub scheme: Scheme,
    /// The port that the client's connection was going to before it was redirected. `None`: unknown, or not redirected.
    pub destination_port: Option<u16>,
}

impl<'r> Request<'r> {
    /// A request on a connection whose destination is unknown.
    #[must_use]
    pub fn new(authority: &'r (impl AsRef<[u8]> + ?Sized), scheme: Scheme) -> Self {
        Self { authority: authority.as_ref(), scheme, destination_port: None }
    }
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Default port 80.
    #[default]
    Http,
    /// Default port 443.
    Https,
    /// No scheme: the request is a CONNECT, whose authority always has a port (RFC 9110 section 9.3.6).
    Connect,
}

impl Scheme {
    /// `https` in any case is [`Scheme::Https`]; anything else is [`Scheme::Http`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.eq_ignore_ascii_case(b"https") { Self::Https } else { Self::Http }
    }

    /// The port of an authority without one (RFC 9110 section 4.2); 0, which is no port, for a CONNECT.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Connect => 0,
        }
    }
}

/// What a request resolves to.
#[derive(Clone, Debug)]
pub enum Resolution<'t> {
    /// The request is routed to what its name resolves to.
    Route(Route<'t>),
    /// The table does not know the name; the request goes on.
    Pass(Pass<'t>),
    /// The request gets a local reply.
    Refuse(Refusal),
}

/// A request that goes on without an upstream cluster of byname's.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'t> {
    /// Why the request is passed on.
    pub reason: Reason,
    /// The target of an alias, and the port: the request goes on under this name. `None`: it goes on unchanged.
    pub target: Option<(&'t str, u16)>,
}

/// Where a request is routed to.
#[derive(Clone, Debug)]
pub struct Route<'t> {
    /// Why the request is routed there.
    pub reason: Reason,
    /// What the name resolved to.
    pub destination: Destination<'t>,
    /// The port: the Service's, for what belongs to a Service; else the target's own.
    pub port: u16,
    /// The name of the Service's port; empty where it has none.
    pub port_name: &'t str,
    /// Whether the port is the pods' own rather than one of the Service.
    pub is_pod_port: bool,
    /// Whether Envoy speaks TLS to an external destination.
    pub tls: bool,
    /// The endpoints to choose from.
    pub(crate) upstream: Upstream<'t>,
}

/// The endpoints of a route, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upstream<'t> {
    Unknown,
    /// One of these is chosen.
    Usable(&'t Usable),
    /// This one.
    Endpoint(IpAddr, u16),
}

/// What a name resolved to.
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
    /// The Service that the destination belongs to.
    #[must_use]
    #[inline(always)]
    pub fn service(&self) -> Option<&'t Service> {
        match self {
            Self::Service(service) | Self::Endpoint(service, _) => Some(service),
            Self::Pod(_) | Self::External(_) => None,
        }
    }

    /// Appends the canonical host: an absolute name in lower case, without a dot at its end.
    pub fn write_host(&self, zone: &str, to: &mut String) {
        match self {
            Self::Service(service) => write_service(service, zone, to),
            Self::Endpoint(service, label) => {
                label.write_to(to);
                to.push('.');
                write_service(service, zone, to);
            }
            Self::Pod(name) => to.push_str(name),
            Self::External(host) => to.push_str(host),
        }
    }
}

/// Every request takes this path, so it avoids the machinery of formatting.
fn write_service(service: &Service, zone: &str, to: &mut String) {
    let (namespace, name) = service.spec.name.parts();
    // A loop over the parts takes more instructions, and so does a char.
    const DOT: &str = ".";
    to.push_str(name);
    to.push_str(DOT);
    to.push_str(namespace);
    to.push_str(".svc.");
    to.push_str(zone);
}

impl Route<'_> {
    /// Address and port of every endpoint that the request may go to, in order; `None` where they are unknown.
    #[must_use]
    pub fn endpoints(&self) -> Option<Vec<SocketAddr>> {
        match self.upstream {
            Upstream::Endpoint(address, port) => Some(vec![SocketAddr::new(address, port)]),
            Upstream::Unknown => None,
            Upstream::Usable(usable) => {
                let mut endpoints = self.destination.service()?.addresses(usable)?;
                if self.is_pod_port {
                    endpoints.iter_mut().for_each(|endpoint| endpoint.set_port(self.port));
                }
                Some(endpoints)
            }
        }
    }
}

impl Resolution<'_> {
    /// The request goes on unchanged.
    pub(super) fn pass(reason: Reason) -> Self {
        Self::Pass(Pass { reason, target: None })
    }

    /// The reason of the resolution.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Route(route) => route.reason,
            Self::Pass(pass) => pass.reason,
            Self::Refuse(refusal) => refusal.reason(),
        }
    }
}
