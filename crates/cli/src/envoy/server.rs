//! The parts of a bootstrap whose Envoy gets the filter, the clusters and their endpoints from `byname serve`, over one stream (ADS).
//! `envoy/serve.yaml` explains them.

use std::{fmt, net::IpAddr, path::Path, str::FromStr};

use byname_core::Name;

use super::{
    credentials::Credentials,
    filter::{FILTER_NAME, discovery, without_table},
    value::{address, empty, extension, from_server, typed},
};
use crate::{
    input::InputError,
    output::yaml::{Fields, Yaml, fields, map, one_line},
};

const HTTP_FAULT: &str = "envoy.extensions.filters.http.fault.v3.HTTPFault";

/// The name of the server's cluster.
pub const SERVER_CLUSTER: &str = "byname-server";

/// The reason of requests that are refused because there is no table yet.
pub(super) const NO_TABLE: &str = "no_table";

/// The source of everything that Envoy discovers.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address of the server.
    pub address: ServerAddress,
    /// What happens until the first table arrives. Default: pass requests on if the bootstrap can, else refuse them.
    pub when_absent: Option<WhenNoServer>,
    /// The newest schema of the configuration that the module reads, if it is known.
    pub schema: Option<String>,
    /// How Envoy knows the server and proves who it is. Default: neither, over plaintext.
    pub credentials: Option<Credentials>,
    /// Whether the filter asks the server for Services, by a stream of its own, and Envoy asks for nothing.
    pub is_asked_by_filter: bool,
}

/// What happens while Envoy has no table, because no server has answered since Envoy started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WhenNoServer {
    /// Pass every request on, as without byname. Needs --pass original-dst.
    Pass,
    /// Answer 503.
    Refuse,
    /// Keep the pod unready: Envoy does not listen, and its /ready answers 503.
    NotReady,
}

impl WhenNoServer {
    /// How long Envoy waits for the first answer before it listens without.
    fn initial_fetch_timeout(self) -> &'static str {
        match self {
            Self::Pass | Self::Refuse => "2s",
            // No limit.
            Self::NotReady => "0s",
        }
    }
}

/// The host and the port of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    host: ServerHost,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ServerHost {
    Ip(IpAddr),
    /// A name that the pod's DNS settings resolve, by their search domains too.
    Dns(String),
}

impl FromStr for ServerAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "use the form HOST:PORT, for example byname.byname-system:18000";
        let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or(FORM)?;
        let ip = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(ipv6) => Some(IpAddr::V6(ipv6.parse().map_err(|_| FORM)?)),
            None => host.parse().ok().filter(IpAddr::is_ipv4),
        };
        let host = match ip {
            Some(ip) => ServerHost::Ip(ip),
            None if Name::parse(host.trim_end_matches('.').as_bytes()).is_ok() => ServerHost::Dns(host.to_owned()),
            None => return Err(FORM),
        };
        Ok(Self { host, port })
    }
}

impl ServerAddress {
    /// The host: a DNS name, or an address.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            ServerHost::Ip(ip) => ip.to_string(),
            ServerHost::Dns(name) => name.trim_end_matches('.').to_owned(),
        }
    }

    /// The Envoy cluster by which Istio's sidecars reach the server: that of a Service `name.namespace`, or of a host with more labels
    /// or a dot at its end, which a ServiceEntry declares. `zone` is the cluster domain.
    ///
    /// # Errors
    /// Why no such cluster can be, and what to do.
    pub fn istio_cluster(&self, zone: &str) -> Result<String, InputError> {
        let refused = |reason: &str| {
            let fix = "use SERVICE.NAMESPACE:PORT, for example byname.byname-system:9905";
            InputError::new(&format!("--server {self}"), reason, fix)
        };
        let ServerHost::Dns(name) = &self.host else {
            return Err(refused("is an address, and Istio has clusters of names"));
        };
        let host = name.to_ascii_lowercase();
        let labels = host.split('.').filter(|label| !label.is_empty()).count();
        let host = match host.strip_suffix('.') {
            Some(absolute) => absolute.to_owned(),
            None if labels < 2 => return Err(refused("does not say the namespace of the Service")),
            None if labels == 2 => format!("{host}.svc.{zone}"),
            None if labels == 3 && host.ends_with(".svc") => format!("{host}.{zone}"),
            None => host,
        };
        Ok(format!("outbound|{}||{host}", self.port))
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match host {
            ServerHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
            ServerHost::Ip(ip) => write!(f, "{ip}:{port}"),
            ServerHost::Dns(name) => write!(f, "{name}:{port}"),
        }
    }
}

/// Bytes that Envoy takes of one message: the names of 400,000 Services.
const LONGEST_MESSAGE: u32 = 64 << 20;

/// The stream to the server. Without `cds_config`, which would subscribe to every cluster.
pub(super) fn dynamic_resources() -> Yaml {
    let envoy_grpc = map! {
        "cluster_name": SERVER_CLUSTER,
        "retry_policy": Yaml::commented(
            "Envoy's default is to wait up to 30 s.",
            one_line! { "retry_back_off": map! { "base_interval": "0.5s", "max_interval": "10s" } },
        ),
        "max_receive_message_length": Yaml::commented(
            "Without it Envoy collects messages of up to 4 GiB. The names of 10,000 Services take 1.4 MB.",
            LONGEST_MESSAGE,
        ),
    };
    map! {
        "ads_config": map! {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [map! { "envoy_grpc": envoy_grpc }],
        },
    }
}

/// The cluster of the server.
pub(super) fn cluster(server: &Server) -> Fields {
    let ServerAddress { host, port } = &server.address;
    let credentials = server.credentials.as_ref();
    let (host, cluster_type) = match host {
        ServerHost::Ip(ip) => (ip.to_string(), "STATIC"),
        ServerHost::Dns(name) => (name.clone(), "STRICT_DNS"),
    };
    let endpoint = map! { "endpoint": map! { "address": address(host, *port) } };
    let http2 = map! {
        "connection_keepalive": Yaml::commented(
            "Envoy finds a broken connection by its pings, and connects again.",
            one_line! { "interval": "10s", "timeout": "5s" },
        ),
    };
    let options = typed! {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": map! { "http2_protocol_options": http2 },
        "http_filters": credentials.and_then(Credentials::http_filters),
    };
    fields! {
        "name": SERVER_CLUSTER,
        "type": cluster_type,
        "connect_timeout": "1s",
        "transport_socket": credentials.map(Credentials::transport_socket),
        "typed_extension_protocol_options": map! { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options },
        "load_assignment": map! {
            "cluster_name": SERVER_CLUSTER,
            "endpoints": Yaml::one_line([map! { "lb_endpoints": [endpoint] }]),
        },
    }
}

/// byname's filter, pushed by the server, and what stands in for it until then.
pub(super) fn filter(when_absent: WhenNoServer, namespace: &str, module: &Path) -> Yaml {
    let source = from_server(when_absent.initial_fetch_timeout());
    let discovery = match when_absent {
        WhenNoServer::Pass => discovery(
            Yaml::commented("If no server answers in this time, Envoy starts with an empty table.", source),
            &[],
            Yaml::commented(
                "Until the first valid table arrives, every request passes through.",
                without_table(namespace, module),
            ),
        ),
        WhenNoServer::Refuse => discovery(
            Yaml::commented("If no server answers in this time, Envoy starts without a table.", source),
            &[HTTP_FAULT],
            Yaml::commented("Until the first valid table arrives, every request is answered with 503.", refusal()),
        ),
        WhenNoServer::NotReady => discovery(
            Yaml::commented("0s is no limit: Envoy listens, and is ready, once it has its first table.", source),
            &[HTTP_FAULT],
            Yaml::commented("If the first table is invalid, every request is answered with 503.", refusal()),
        ),
    };
    let comment = "The server pushes the filter. An invalid push is rejected, and the last known good configuration stays in use.";
    Yaml::commented(comment, map! { "name": FILTER_NAME, "config_discovery": discovery })
}

/// The filter that asks the server for the cluster that byname chose, if Envoy does not have it.
pub(super) fn on_demand() -> Yaml {
    let odcds = map! {
        "source": one_line! { "ads": empty(), "resource_api_version": "V3" },
        "timeout": Yaml::commented(
            "A request to a cluster that the server does not have, or while no server answers, waits this long for its 503.",
            "0.3s",
        ),
    };
    Yaml::commented(
        "Asks the server for the cluster that byname chose, if Envoy does not have it yet.",
        extension(
            "envoy.filters.http.on_demand",
            typed! { "envoy.extensions.filters.http.on_demand.v3.OnDemand", "odcds": odcds },
        ),
    )
}

/// A filter that refuses every request. `local_replies` of the bootstrap words the answer.
fn refusal() -> Yaml {
    typed! {
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        "abort": one_line! { "http_status": 503, "percentage": map! { "numerator": 100 } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istio_has_a_cluster_for_each_name() {
        let of = |text: &str| text.parse::<ServerAddress>().unwrap().istio_cluster("cluster.local");
        for (text, host) in [
            ("byname.byname-system:9905", "byname.byname-system.svc.cluster.local"),
            ("BYNAME.byname-system:9905", "byname.byname-system.svc.cluster.local"),
            ("byname.byname-system.svc:9905", "byname.byname-system.svc.cluster.local"),
            ("byname.byname-system.svc.cluster.local:9905", "byname.byname-system.svc.cluster.local"),
            ("byname.byname-system.svc.cluster.local.:9905", "byname.byname-system.svc.cluster.local"),
            ("byname.example.com:9905", "byname.example.com"),
            ("example.com.:9905", "example.com"),
        ] {
            assert_eq!(of(text).ok(), Some(format!("outbound|9905||{host}")), "{text}");
        }
        for text in ["byname:9905", "10.0.0.1:9905", "[::1]:9905"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
