//! Upstream clusters in Envoy's configuration.

use std::{net::SocketAddr, path::PathBuf, rc::Rc};

use byname_core::UpstreamProtocol;

use super::{
    eds::{assignment, file_name, known},
    value::{address, empty, extension, from_server, path, typed, watched_in},
};
use crate::{
    compile::{ClusterEndpoints, UpstreamCluster, UpstreamClusters},
    input::{InputError, InputErrors},
    output::yaml::{Fields, Yaml, fields, map, one_line},
};

/// The default path of the CA certificates that Envoy trusts.
pub const DEFAULT_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How Envoy discovers the endpoints of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Discovery {
    /// List them in the cluster.
    #[default]
    Static,
    /// Read them from files that Envoy watches, one per cluster.
    Eds,
    /// Look them up in the cluster's DNS.
    Dns,
    /// Get them from the server that pushes the clusters.
    #[value(skip)]
    Ads,
}

/// The style of clusters.
#[derive(Clone, Debug)]
pub struct Style {
    /// The source of the endpoints.
    pub discovery: Discovery,
    /// The directory in which Envoy finds the endpoint files.
    pub eds_directory: PathBuf,
    /// The file with the CA certificates that Envoy trusts.
    pub ca_file: PathBuf,
}

/// Builds clusters of one style.
pub(crate) struct ClusterBuilder<'s> {
    style: &'s Style,
    /// Whether the clusters are in one document, which prints their common parts once.
    is_sharing: bool,
    resolver: Rc<Yaml>,
    as_client: Rc<Yaml>,
    http2: Rc<Yaml>,
    tls: Rc<Yaml>,
    tls_socket: Rc<Yaml>,
}

impl<'s> ClusterBuilder<'s> {
    /// A builder for the clusters of one document.
    pub(super) fn sharing(style: &'s Style) -> Self {
        Self { is_sharing: true, ..Self::new(style) }
    }

    /// A builder for clusters that are each a document of their own.
    pub(crate) fn new(style: &'s Style) -> Self {
        let options = |protocol| Rc::new(protocol_options(Fields::new(), protocol));
        Self {
            style,
            is_sharing: false,
            resolver: Rc::new(resolver()),
            as_client: options(UpstreamProtocol::AsClient),
            http2: options(UpstreamProtocol::Http2),
            tls: options(UpstreamProtocol::Tls),
            tls_socket: Rc::new(extension(
                "envoy.transport_sockets.tls",
                typed! {
                    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                    "common_tls_context": map! {
                        "validation_context": map! { "trusted_ca": one_line! { "filename": path(&style.ca_file) } },
                    },
                },
            )),
        }
    }

    /// All clusters.
    ///
    /// # Errors
    /// If clusters need endpoints that are unknown.
    pub(super) fn all(&self, clusters: &UpstreamClusters) -> Result<Vec<Fields>, InputErrors> {
        let (mut all, mut problems) = (Vec::new(), InputErrors::default());
        for (name, upstream) in &clusters.by_name {
            match self.cluster(name, upstream) {
                Ok(cluster) => all.push(cluster),
                Err(problem) => problems.push(problem),
            }
        }
        problems.or(all)
    }

    /// One cluster.
    ///
    /// # Errors
    /// If the cluster needs endpoints that are unknown.
    pub(crate) fn cluster(&self, name: &str, upstream: &UpstreamCluster) -> Result<Fields, InputError> {
        let tls_if = |is_tls: bool| is_tls.then_some(UpstreamProtocol::Tls);
        let (specific, protocol) = match upstream {
            UpstreamCluster::Endpoints(endpoints) => (self.service(name, endpoints)?, Some(endpoints.spoken)),
            // Plaintext HTTP/1.1: a host outside may not speak the client's protocol.
            UpstreamCluster::External { host, port, tls } => (self.external(name, host, *port), tls_if(*tls)),
            UpstreamCluster::DynamicForwardProxy { tls } => (dynamic_forward_proxy(), tls_if(*tls)),
            UpstreamCluster::OriginalDst(spoken) => (original_dst(), Some(*spoken)),
            UpstreamCluster::Passthrough => (original_dst(), Some(UpstreamProtocol::AsClient)),
        };
        let mut cluster = fields! { "name": name.to_owned() };
        cluster.extend(specific);
        let options = protocol.map(|protocol| match upstream {
            // An endpoint stays in memory while it has open connections, so Envoy closes idle connections.
            UpstreamCluster::OriginalDst(_) => protocol_options(
                fields! { "common_http_protocol_options": one_line! { "idle_timeout": "5s" } },
                protocol,
            ),
            _ => match protocol {
                UpstreamProtocol::AsClient => self.shared("as_client", &self.as_client),
                UpstreamProtocol::Http2 => self.shared("http2", &self.http2),
                UpstreamProtocol::Tls => self.shared("tls", &self.tls),
            },
        });
        let is_tls = protocol == Some(UpstreamProtocol::Tls);
        cluster.extend(fields! {
            "typed_extension_protocol_options": options,
            "transport_socket": is_tls.then(|| self.shared("tls_socket", &self.tls_socket)),
        });
        Ok(cluster)
    }

    fn shared(&self, name: &'static str, value: &Rc<Yaml>) -> Yaml {
        if self.is_sharing { Yaml::Shared(name, Rc::clone(value)) } else { (**value).clone() }
    }

    fn service(&self, name: &str, endpoints: &ClusterEndpoints) -> Result<Fields, InputError> {
        Ok(match self.style.discovery {
            Discovery::Static => fields! {
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": Yaml::Map(assignment(name, known(endpoints)?)),
            },
            Discovery::Eds => {
                let directory = &self.style.eds_directory;
                fields! {
                    "type": "EDS",
                    "connect_timeout": "1s",
                    "eds_cluster_config": map! {
                        "eds_config": watched_in(&directory.join(file_name(name)), directory),
                    },
                }
            }
            Discovery::Ads => fields! {
                "type": "EDS",
                "connect_timeout": "1s",
                "eds_cluster_config": map! { "eds_config": from_server("1s") },
            },
            Discovery::Dns if !endpoints.subset.is_empty() => {
                return Err(InputError::new(
                    &format!("{}:{}, subset {}", endpoints.host, endpoints.port, endpoints.subset),
                    "is a subset of the endpoints, and DNS has no subsets",
                    "use --clusters static or eds, or remove the subsets from --config",
                ));
            }
            Discovery::Dns => {
                let is_headless = endpoints.headless;
                let lookup = typed! {
                    "envoy.extensions.clusters.dns.v3.DnsCluster",
                    "dns_lookup_family": "V4_PREFERRED",
                    // A Service keeps its address for life. With Envoy's default of five seconds, ten thousand Services
                    // would cause two thousand queries a second from each pod.
                    "dns_refresh_rate": (!is_headless).then_some("60s"),
                    // Endpoints come and go, so Envoy keeps an answer for the DNS server's TTL.
                    "respect_dns_ttl": is_headless.then_some(true),
                    "typed_dns_resolver_config": self.shared("resolver", &self.resolver),
                };
                fields! {
                    "connect_timeout": "1s",
                    "cluster_type": extension("envoy.clusters.dns", lookup),
                    "load_assignment": host_assignment(name, &endpoints.host, dns_port(endpoints)),
                }
            }
        })
    }

    /// The cluster of a host outside, in a form that older Envoys such as Istio's support.
    fn external(&self, name: &str, host: &str, port: u16) -> Fields {
        fields! {
            "type": "LOGICAL_DNS",
            "connect_timeout": "5s",
            // Envoy must start even if a host outside does not resolve.
            "wait_for_warm_on_init": false,
            "dns_lookup_family": "V4_PREFERRED",
            "typed_dns_resolver_config": self.shared("resolver", &self.resolver),
            "load_assignment": host_assignment(name, host, port),
        }
    }
}

fn host_assignment(name: &str, host: &str, port: u16) -> Yaml {
    let endpoint = map! { "endpoint": map! { "address": address(host.to_owned(), port) } };
    map! {
        "cluster_name": name.to_owned(),
        "endpoints": Yaml::one_line([map! { "lb_endpoints": [endpoint] }]),
    }
}

fn original_dst() -> Fields {
    fields! {
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "1s",
        "circuit_breakers": circuit_breakers(),
    }
}

fn dynamic_forward_proxy() -> Fields {
    let config = typed! {
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
        "dns_cache_config": dns_cache(),
    };
    fields! {
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "5s",
        "circuit_breakers": circuit_breakers(),
        "cluster_type": extension("envoy.clusters.dynamic_forward_proxy", config),
    }
}

/// Thresholds for a cluster whose upstreams share them. Envoy's defaults are meant for one upstream: a slow upstream would make
/// requests to all others fail with 503.
fn circuit_breakers() -> Yaml {
    let thresholds = map! {
        "max_connections": 100_000,
        "max_pending_requests": 100_000,
        "max_requests": 100_000,
        "max_retries": 1000,
    };
    map! { "thresholds": Yaml::one_line([thresholds]) }
}

/// The protocol to an upstream, after other options.
fn protocol_options(mut options: Fields, protocol: UpstreamProtocol) -> Yaml {
    let either = || one_line! { "http_protocol_options": empty(), "http2_protocol_options": empty() };
    let mut fields = fields! { "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions" };
    fields.append(&mut options);
    fields.extend(match protocol {
        UpstreamProtocol::AsClient => fields! { "use_downstream_protocol_config": either() },
        UpstreamProtocol::Http2 => fields! { "explicit_http_config": one_line! { "http2_protocol_options": empty() } },
        // Server name and certificate follow the authority, which byname rewrote; HTTP/2 where it is offered.
        UpstreamProtocol::Tls => fields! {
            "upstream_http_protocol_options": one_line! { "auto_sni": true, "auto_san_validation": true },
            "auto_config": either(),
        },
    });
    map! { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": Yaml::Map(fields) }
}

/// A resolver without search domains, because names are absolute: with a pod's search domains, `api.example.com` could resolve
/// to endpoint `api` of a Service `example` in a namespace `com`.
fn resolver() -> Yaml {
    extension(
        "envoy.network.dns_resolver.cares",
        typed! {
            "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "dns_resolver_options": one_line! { "no_default_search_domain": true },
        },
    )
}

/// The cache that the dynamic forward proxy's filter and clusters share. Envoy requires the same configuration in each of them.
pub(super) fn dns_cache() -> Yaml {
    map! { "name": "external", "dns_lookup_family": "V4_PREFERRED", "typed_dns_resolver_config": resolver() }
}

/// The port to connect to. DNS returns the endpoints of a headless Service, which listen on their own ports.
fn dns_port(endpoints: &ClusterEndpoints) -> u16 {
    let mut ports: Vec<u16> = endpoints.addresses.iter().flatten().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports.as_slice() {
        [port] if endpoints.headless => *port,
        _ => endpoints.port,
    }
}
