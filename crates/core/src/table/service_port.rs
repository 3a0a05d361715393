//! The ports of a Service, and the protocol in which Envoy speaks to their endpoints.

use alloc::boxed::Box;

use crate::{
    collections::OneOrMany,
    limits::MAX_SERVICE_PORTS,
    names::is_label,
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, Protocol},
};

/// The protocol in which Envoy speaks to the endpoints of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// The client's own protocol, in plaintext.
    AsClient,
    /// HTTP/2 in plaintext.
    Http2,
    /// TLS.
    Tls,
}

impl UpstreamProtocol {
    /// The protocol that the port's `appProtocol` says, in any case; else the port's name up to a `-`, so that a port named
    /// `https` is never spoken to in plaintext.
    fn of(wire: &wire::ServicePort) -> Self {
        // Most servers speak `grpc-web` over HTTP/1.1.
        let name = match wire.name.as_str() {
            name if name.starts_with("grpc-web") => "",
            name => name.split('-').next().unwrap_or_default(),
        };
        let protocol = wire.app_protocol.as_deref().unwrap_or(name);
        let is_one_of = |protocols: &[&str]| protocols.iter().any(|known| known.eq_ignore_ascii_case(protocol));
        if is_one_of(&["https", "tls", "wss", "kubernetes.io/wss"]) {
            Self::Tls
        } else if is_one_of(&["kubernetes.io/h2c", "h2c", "http2", "grpc"]) {
            Self::Http2
        } else {
            Self::AsClient
        }
    }
}

/// A TCP port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub(crate) name: Box<str>,
    pub(crate) port: u16,
    pub(crate) app_protocol: Option<Box<str>>,
    pub(crate) upstream_protocol: UpstreamProtocol,
}

impl ServicePort {
    /// The name; empty where the port has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number: the Service's `port`, not a `targetPort`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The application protocol (KEP-1422), if the port has one.
    #[must_use]
    pub fn app_protocol(&self) -> Option<&str> {
        self.app_protocol.as_deref()
    }
}

/// A port that exists and that no request can go to: its protocol is not TCP, or it has no number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OtherPort<'t> {
    pub(crate) name: &'t str,
    pub(crate) protocol: Protocol,
}

/// A port of a Service whose protocol is not TCP.
#[derive(Clone, Debug)]
pub(super) struct NonTcpPort {
    pub(super) name: Box<str>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

/// Checks all ports, and compiles the TCP ports and the others.
#[inline(never)]
pub(super) fn compile_ports(
    wire: &[wire::ServicePort],
    at: &FieldPathRef<'_>,
    errors: &mut FieldErrors,
) -> (OneOrMany<ServicePort>, Box<[NonTcpPort]>) {
    if wire.len() > MAX_SERVICE_PORTS {
        errors.add(at, wire.len(), FieldErrorType::TooMany(MAX_SERVICE_PORTS));
        return (OneOrMany::default(), Box::default());
    }
    for (index, port) in wire.iter().enumerate() {
        let at = at.index(index);
        let earlier = wire.get(..index).unwrap_or_default();
        if port.port == 0 {
            errors.add(&at.field("port"), 0, FieldErrorType::InvalidPort);
        }
        if earlier.iter().any(|other| (other.port, other.protocol) == (port.port, port.protocol)) {
            errors.add(&at.field("port"), port.port, FieldErrorType::Duplicate);
        }
        if port.name.is_empty() {
            if wire.len() > 1 {
                errors.add(&at.field("name"), "", FieldErrorType::PortNameRequired);
            }
        } else if !is_label(&port.name) {
            errors.add(&at.field("name"), &port.name, FieldErrorType::InvalidLabel);
        } else if earlier.iter().any(|other| other.name == port.name) {
            errors.add(&at.field("name"), &port.name, FieldErrorType::Duplicate);
        }
    }
    let of = |is_tcp: bool| wire.iter().filter(move |port| (port.protocol == Protocol::Tcp) == is_tcp);
    let tcp = of(true).map(|port| ServicePort {
        name: port.name.as_str().into(),
        port: port.port,
        app_protocol: port.app_protocol.as_deref().map(Into::into),
        upstream_protocol: UpstreamProtocol::of(port),
    });
    let others =
        of(false).map(|port| NonTcpPort { name: port.name.as_str().into(), port: port.port, protocol: port.protocol });
    (tcp.collect(), others.collect())
}
