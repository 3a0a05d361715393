//! Ports of Services and EndpointSlices as every command reads them.

use std::fmt;

use k8s_openapi::{
    api::{core::v1::ServicePort, discovery::v1::EndpointPort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::input::Field;

/// Words for protocols inside TLS.
const TLS: &[&str] = &["https", "tls", "wss", "kubernetes.io/wss"];
/// Words for HTTP/2 in plaintext.
const HTTP2: &[&str] = &["kubernetes.io/h2c", "h2c", "http2", "grpc"];
/// Words for other protocols in plaintext that run over TCP alone.
const PLAINTEXT: &[&str] = &[
    "http",
    "grpc-web",
    "ws",
    "kubernetes.io/ws",
    "tcp",
    "mysql",
    "postgres",
    "postgresql",
    "redis",
    "mongo",
    "amqp",
    "ssh",
];
/// The prefix of port names for gRPC-Web, which most servers speak over HTTP/1.1. It is not gRPC.
const GRPC_WEB: &str = "grpc-web";

/// A port of a Service.
#[derive(Clone, Copy, Debug)]
pub struct ServicePortView<'c> {
    /// The port's index in `spec.ports`.
    pub index: usize,
    /// The port, for the fields that the view does not read.
    pub object: &'c ServicePort,
    /// The port's name; empty if it has none.
    pub name: &'c str,
    /// `port`, the number that clients ask for.
    pub number: i32,
    /// The port's transport protocol.
    pub protocol: TransportProtocol<'c>,
}

/// A port of an EndpointSlice.
#[derive(Clone, Copy, Debug)]
pub struct SlicePortView<'c> {
    /// The port's index in `ports`.
    pub index: usize,
    /// The port, for the fields that the view does not read.
    pub object: &'c EndpointPort,
    /// The port's name; empty if it has none.
    pub name: &'c str,
    /// The port's transport protocol.
    pub protocol: TransportProtocol<'c>,
    /// The port's number; `None` if no client can connect to it: it is absent, 0, or outside 1 to 65535. An API server takes any number.
    pub number: Option<i32>,
    /// The number as it is written, if it is neither absent nor 0.
    pub written: Option<i32>,
}

/// The transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransportProtocol<'c> {
    /// TCP, which is the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// A value that the API does not define.
    Unknown(&'c str),
}

/// The protocol of a Service's port, from its `appProtocol` or its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppProtocol {
    /// TLS, whatever protocol it carries.
    Tls,
    /// HTTP/2 in plaintext.
    Http2,
    /// Another protocol in plaintext, over TCP alone.
    Plaintext,
    /// Neither `appProtocol` nor the name is a known word.
    Unknown,
}

/// The target of a Service's port in its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetPort<'c> {
    /// The port of this number. Default: the number of the Service's port.
    Number(i32),
    /// The container port of this name.
    Name(&'c str),
}

impl<'c> ServicePortView<'c> {
    pub(super) fn new(index: usize, object: &'c ServicePort) -> Self {
        Self {
            index,
            object,
            name: object.name.as_deref().unwrap_or_default(),
            number: object.port,
            // The API server replaces an empty protocol by the default.
            protocol: TransportProtocol::of(object.protocol.as_deref().filter(|word| !word.is_empty())),
        }
    }

    /// The port's path in the Service: `spec.ports[0]`.
    #[must_use]
    pub fn field(&self) -> Field {
        Field::from(["spec", "ports"]).item(self.index)
    }

    /// Whether clients connect to it over TCP.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.protocol == TransportProtocol::Tcp
    }

    /// The port's target in the pods. The API server takes 0 and an empty name for none.
    #[must_use]
    pub fn target(&self) -> TargetPort<'c> {
        match &self.object.target_port {
            Some(IntOrString::Int(number)) if *number != 0 => TargetPort::Number(*number),
            Some(IntOrString::String(name)) if !name.is_empty() => TargetPort::Name(name),
            _ => TargetPort::Number(self.number),
        }
    }

    /// The word for the port's protocol: `appProtocol`, or else the port's name up to a `-`.
    #[must_use]
    pub fn protocol_word(&self) -> &'c str {
        match (self.object.app_protocol.as_deref(), self.name) {
            (Some(word), _) => word,
            (None, name) if name.starts_with(GRPC_WEB) => GRPC_WEB,
            (None, name) => name.split('-').next().unwrap_or_default(),
        }
    }

    /// The port's protocol. The core compares the same words in the same way.
    #[must_use]
    pub fn app_protocol(&self) -> AppProtocol {
        let word = self.protocol_word();
        let is_one_of = |words: &[&str]| words.iter().any(|known| known.eq_ignore_ascii_case(word));
        if is_one_of(TLS) {
            AppProtocol::Tls
        } else if is_one_of(HTTP2) {
            AppProtocol::Http2
        } else if is_one_of(PLAINTEXT) {
            AppProtocol::Plaintext
        } else {
            AppProtocol::Unknown
        }
    }
}

impl<'c> SlicePortView<'c> {
    pub(super) fn new(index: usize, port: &'c EndpointPort) -> Self {
        let written = port.port.filter(|number| *number != 0);
        Self {
            index,
            object: port,
            name: port.name.as_deref().unwrap_or_default(),
            protocol: TransportProtocol::of(port.protocol.as_deref()),
            number: written.filter(|number| (1..=65_535).contains(number)),
            written,
        }
    }
}

impl<'c> TransportProtocol<'c> {
    fn of(word: Option<&'c str>) -> Self {
        match word {
            None | Some("TCP") => Self::Tcp,
            Some("UDP") => Self::Udp,
            Some("SCTP") => Self::Sctp,
            Some(other) => Self::Unknown(other),
        }
    }

    /// The protocol's value in the API.
    #[must_use]
    pub fn as_str(self) -> &'c str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
            Self::Unknown(word) => word,
        }
    }
}

impl AppProtocol {
    /// Whether it is in plaintext and runs over TCP alone.
    #[must_use]
    pub fn is_plaintext_over_tcp(self) -> bool {
        matches!(self, Self::Http2 | Self::Plaintext)
    }
}

impl fmt::Display for TransportProtocol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TargetPort<'_> {
    /// Writes the value as a Service has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use byname_core::{Config, Defaults, Request, Resolution, Scheme, UpstreamProtocol};
    use serde_json::json;

    use super::*;

    /// The protocol that the core speaks to such a port.
    fn core_speaks(name: &str, app_protocol: Option<&str>) -> UpstreamProtocol {
        let mut port = json!({"name": name, "port": 80});
        if let (Some(word), Some(port)) = (app_protocol, port.as_object_mut()) {
            port.insert("appProtocol".into(), word.into());
        }
        let service = json!({"clusterIPs": ["10.96.0.1"], "ports": [port]});
        let config = json!({"version": 1, "table": {"version": 1, "services": {"shop/web": service}}});
        let defaults = Defaults { namespace: Some("shop"), ..Defaults::default() };
        let config = Config::read(config.to_string(), &defaults).unwrap();
        let request = Request::new("web:80", Scheme::Http);
        let Resolution::Route(route) = config.resolve(request, None) else { panic!("{name} is not resolved") };
        route.destination.service().unwrap().upstream_protocol(name)
    }

    #[test]
    fn judges_protocol_words_as_the_core_does() {
        let words = [TLS, HTTP2, PLAINTEXT, &["shop", "https-web", "quic", "kubernetes.io/foo"]].concat();
        for word in words {
            for word in [word.to_owned(), word.to_ascii_uppercase()] {
                let name = word.to_ascii_lowercase().replace("kubernetes.io/", "k8s-");
                for (name, app_protocol) in [("web", Some(&*word)), (&*name, None), (&*format!("{name}-1"), None)] {
                    let port = ServicePort {
                        name: Some(name.to_owned()),
                        app_protocol: app_protocol.map(str::to_owned),
                        port: 80,
                        ..ServicePort::default()
                    };
                    let own = match ServicePortView::new(0, &port).app_protocol() {
                        AppProtocol::Tls => UpstreamProtocol::Tls,
                        AppProtocol::Http2 => UpstreamProtocol::Http2,
                        AppProtocol::Plaintext | AppProtocol::Unknown => UpstreamProtocol::AsClient,
                    };
                    assert_eq!(own, core_speaks(name, app_protocol), "{name} {app_protocol:?}");
                }
            }
        }
    }

    #[test]
    fn a_slice_port_that_no_client_can_connect_to_has_no_number() {
        for (port, number, written) in [
            (None, None, None),
            (Some(0), None, None),
            (Some(-1), None, Some(-1)),
            (Some(65_536), None, Some(65_536)),
            (Some(65_535), Some(65_535), Some(65_535)),
            (Some(8080), Some(8080), Some(8080)),
        ] {
            let port = EndpointPort { port, ..EndpointPort::default() };
            let view = SlicePortView::new(0, &port);
            assert_eq!((view.number, view.written), (number, written));
        }
    }
}
