//! Upstream clusters as Envoy reads them.

use std::{net::SocketAddr, path::PathBuf, rc::Rc};

use byname_core::UpstreamProtocol;

use super::{
    eds::{assignment, file_name, known},
    value::{address, empty, extension, path, typed, watched_in},
};
use crate::{
    compile::{ClusterEndpoints, UpstreamCluster, UpstreamClusters},
    input::{InputError, InputErrors},
    output::yaml::{Fields, Yaml, fields, map, one_line},
};

/// How Envoy comes to know the endpoints of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Discovery {
    /// They stand in the cluster.
    #[default]
    Static,
    /// From files that Envoy watches, one for each cluster.
    Eds,
    /// By asking the cluster's DNS.
    Dns,
}

/// How clusters are written.
#[derive(Clone, Debug)]
pub struct Style {
    /// Where endpoints come from.
    pub discovery: Discovery,
    /// Where Envoy finds the files with endpoints.
    pub eds_directory: PathBuf,
    /// Where Envoy finds the certificates that it trusts.
    pub ca_file: PathBuf,
}

/// Builds clusters of one style.
pub(crate) struct ClusterBuilder<'s> {
    style: &'s Style,
    /// Whether the clusters stand in one document, where what many of them have is printed once.
    is_sharing: bool,
    resolver: Rc<Yaml>,
    as_client: Rc<Yaml>,
    http2: Rc<Yaml>,
    tls: Rc<Yaml>,
    tls_socket: Rc<Yaml>,
}

impl<'s> ClusterBuilder<'s> {
    /// For the clusters of one document.
    pub(super) fn sharing(style: &'s Style) -> Self {
        Self { is_sharing: true, ..Self::new(style) }
    }

    /// For clusters that each stand by themselves.
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
    /// Those that would need endpoints which are not known.
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
    /// Where it would need endpoints that are not known.
    pub(crate) fn cluster(&self, name: &str, upstream: &UpstreamCluster) -> Result<Fields, InputError> {
        let tls_if = |is_tls: bool| is_tls.then_some(UpstreamProtocol::Tls);
        let (specific, protocol) = match upstream {
            UpstreamCluster::Endpoints(endpoints) => (self.service(name, endpoints)?, Some(endpoints.spoken)),
            // Plaintext HTTP/1.1: hosts outside are not asked to speak the client's protocol.
            UpstreamCluster::External { host, port, tls } => (self.external(name, host, *port), tls_if(*tls)),
            UpstreamCluster::DynamicForwardProxy { tls } => (dynamic_forward_proxy(), tls_if(*tls)),
            UpstreamCluster::OriginalDst(spoken) => (original_dst(), Some(*spoken)),
            UpstreamCluster::Passthrough => (original_dst(), Some(UpstreamProtocol::AsClient)),
        };
        let mut cluster = fields! { "name": name.to_owned() };
        cluster.extend(specific);
        let options = protocol.map(|protocol| match upstream {
            // An endpoint stays in memory as long as connections to it are open, so idle ones are closed.
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
            Discovery::Dns if !endpoints.subset.is_empty() => {
                return Err(InputError::new(
                    &format!("{}:{}, subset {}", endpoints.host, endpoints.port, endpoints.subset),
                    "is a part of the endpoints, and DNS knows all of them alone",
                    "say --clusters static or eds, or take the subsets out of --config",
                ));
            }
            Discovery::Dns => {
                let is_headless = endpoints.headless;
                let lookup = typed! {
                    "envoy.extensions.clusters.dns.v3.DnsCluster",
                    "dns_lookup_family": "V4_PREFERRED",
                    // A Service keeps its address for life. To look up ten thousand of them every five seconds, Envoy's
                    // default, would be two thousand queries a second from each pod.
                    "dns_refresh_rate": (!is_headless).then_some("60s"),
                    // Endpoints come and go: the DNS server says for how long its answer holds.
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

    /// A host outside, in a form that older Envoys know too: Istio's are among them.
    fn external(&self, name: &str, host: &str, port: u16) -> Fields {
        fields! {
            "type": "LOGICAL_DNS",
            "connect_timeout": "5s",
            // Envoy's start does not depend on hosts outside.
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

/// Thresholds for a cluster of many upstreams, which share them. With Envoy's defaults, which are meant for one upstream, a slow
/// one makes the others answer 503.
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

/// Names are absolute: with a pod's search domains `api.example.com` might be found as endpoint `api` of a Service `example` in
/// a namespace `com`.
fn resolver() -> Yaml {
    extension(
        "envoy.network.dns_resolver.cares",
        typed! {
            "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
            "dns_resolver_options": one_line! { "no_default_search_domain": true },
        },
    )
}

/// The cache that the dynamic forward proxy's filter and clusters share: Envoy wants the same configuration in each of them.
pub(super) fn dns_cache() -> Yaml {
    map! { "name": "external", "dns_lookup_family": "V4_PREFERRED", "typed_dns_resolver_config": resolver() }
}

/// DNS gives the addresses of a headless Service's endpoints, and those have ports of their own.
fn dns_port(endpoints: &ClusterEndpoints) -> u16 {
    let mut ports: Vec<u16> = endpoints.addresses.iter().flatten().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    match ports.as_slice() {
        [port] if endpoints.headless => *port,
        _ => endpoints.port,
    }
}
