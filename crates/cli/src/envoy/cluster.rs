//! Upstream clusters as Envoy reads them.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use byname_core::UpstreamProtocol;

use super::{
    file::version,
    value::{path, socket_address},
};
use crate::{
    compile::{ClusterEndpoints, UpstreamCluster, UpstreamClusters},
    fill::{fill, quoted},
    input::{InputError, InputErrors},
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

/// Names are absolute: with a pod's search domains `api.example.com` might be found as endpoint `api` of a Service `example` in
/// a namespace `com`.
const RESOLVER: &str = "\
name: envoy.network.dns_resolver.cares
typed_config:
  \"@type\": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
  dns_resolver_options: {no_default_search_domain: true}
";

const STATIC: &str = "\
- name: {{name}}
  type: STATIC
  connect_timeout: 1s
  {{speaks}}
  load_assignment:
    {{endpoints}}
";

const EDS: &str = "\
- name: {{name}}
  type: EDS
  connect_timeout: 1s
  {{speaks}}
  eds_cluster_config:
    eds_config:
      resource_api_version: V3
      path_config_source: {path: {{file}}, watched_directory: {path: {{directory}}}}
";

/// A Service by the cluster's DNS.
const DNS: &str = "\
- name: {{name}}
  connect_timeout: 1s
  cluster_type:
    name: envoy.clusters.dns
    typed_config:
      \"@type\": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
      dns_lookup_family: V4_PREFERRED
      {{timing}}
      {{resolver}}
  {{speaks}}
  load_assignment:
    cluster_name: {{name}}
    endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{host}}, port_value: {{port}}}}}}]}]
";

/// A host outside, in a form that older Envoys know too: Istio's are among them.
const EXTERNAL: &str = "\
- name: {{name}}
  type: LOGICAL_DNS
  {{timing}}
  dns_lookup_family: V4_PREFERRED
  {{resolver}}
  {{speaks}}
  load_assignment:
    cluster_name: {{name}}
    endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: {{host}}, port_value: {{port}}}}}}]}]
";

/// Whether the world outside is there, nobody's start depends on.
const OUTSIDE: &str = "connect_timeout: 5s\nwait_for_warm_on_init: false\n";

/// A Service keeps its address for life: to ask for ten thousand of them every five seconds, as Envoy does by itself, would be
/// two thousand queries a second from each pod.
const ADDRESSED: &str = "dns_refresh_rate: 60s\n";

/// Endpoints come and go: the DNS server says for how long it stands by its answer.
const HEADLESS: &str = "respect_dns_ttl: true\n";

/// All Services share the thresholds, which would be those of one cluster: without them one slow Service makes others answer
/// 503. An endpoint stays in memory as long as connections to it are open, so idle ones are closed.
const ORIGINAL_DST: &str = "\
- name: {{name}}
  type: ORIGINAL_DST
  lb_policy: CLUSTER_PROVIDED
  connect_timeout: 1s
  circuit_breakers:
    thresholds: [{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 1000}]
  {{speaks}}
";

/// For all hosts outside, as above.
const DYNAMIC: &str = "\
- name: {{name}}
  lb_policy: CLUSTER_PROVIDED
  connect_timeout: 5s
  circuit_breakers:
    thresholds: [{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 1000}]
  cluster_type:
    name: envoy.clusters.dynamic_forward_proxy
    typed_config:
      \"@type\": type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig
      dns_cache_config:
        {{dns_cache}}
  {{speaks}}
";

const OPTIONS: &str = "\
envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
  \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
  {{options}}
";

const TLS: &str = "\
name: envoy.transport_sockets.tls
typed_config:
  \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
  common_tls_context:
    validation_context:
      trusted_ca: {filename: {{ca_file}}}
";

/// Writes clusters one after the other. What many of them share is written once, and named.
struct Writer<'s> {
    style: &'s Style,
    /// What is written already; `None`: nothing is shared.
    anchors: Option<BTreeSet<&'static str>>,
}

/// One cluster by itself.
///
/// # Errors
/// Where it would need endpoints that are not known.
pub(crate) fn cluster(name: &str, upstream: &UpstreamCluster, style: &Style) -> Result<String, InputError> {
    Writer { style, anchors: None }.cluster(name, upstream)
}

/// All of them, as a list.
///
/// # Errors
/// Those that would need endpoints which are not known.
pub(super) fn list(clusters: &UpstreamClusters, style: &Style) -> Result<String, InputErrors> {
    let mut writer = Writer { style, anchors: Some(BTreeSet::new()) };
    let (mut text, mut problems) = (String::new(), InputErrors::default());
    for (name, upstream) in &clusters.by_name {
        match writer.cluster(name, upstream) {
            Ok(cluster) => text.push_str(&cluster),
            Err(problem) => problems.push(problem),
        }
    }
    problems.or(text)
}

/// The file that Envoy discovers the clusters from.
///
/// # Errors
/// Where one would need endpoints that are not known.
pub fn cds(clusters: &UpstreamClusters, style: &Style) -> Result<String, InputErrors> {
    let list = list(clusters, style)?;
    let mut resources = String::from(if list.is_empty() { "resources: []\n" } else { "resources:\n" });
    for line in list.lines() {
        match line.strip_prefix("- name: ") {
            // Where each begins.
            Some(name) => {
                resources.push_str("- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n  name: ");
                resources.push_str(name);
            }
            None => resources.push_str(line),
        }
        resources.push('\n');
    }
    let version = quoted(&version(&list));
    Ok(format!(
        "# The upstream clusters as Envoy discovers them, made by `byname compile`.\nversion_info: {version}\n{resources}"
    ))
}

/// The files that Envoy discovers endpoints from, each by its name.
///
/// # Errors
/// Where endpoints are not known.
pub fn endpoint_files(clusters: &UpstreamClusters) -> Result<Vec<(String, String)>, InputErrors> {
    const FILE: &str = "\
version_info: {{version}}
resources:
- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
  {{endpoints}}
";
    let (mut files, mut problems) = (Vec::new(), InputErrors::default());
    for (name, upstream) in &clusters.by_name {
        let UpstreamCluster::Endpoints(endpoints) = upstream else { continue };
        match known(endpoints) {
            Ok(addresses) => {
                let assignment = assignment(name, addresses);
                let version = quoted(&version(&assignment));
                files.push((file_name(name), fill(FILE, &[("version", &version), ("endpoints", &assignment)])));
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems.or(files)
}

/// Two names are never one file: what is not a letter, a digit, `-`, `.` or `_` is written as in a URL.
fn file_name(cluster: &str) -> String {
    let mut name = String::new();
    for byte in cluster.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name + ".yaml"
}

fn known(endpoints: &ClusterEndpoints) -> Result<&[SocketAddr], InputError> {
    endpoints.addresses.as_deref().ok_or_else(|| {
        InputError::new(
            &format!("{}:{}", endpoints.host, endpoints.port),
            "has endpoints that are not known",
            "add endpointslices to what kubectl gets, or say --clusters dns",
        )
    })
}

/// A `ClusterLoadAssignment`, with an endpoint a line.
fn assignment(name: &str, addresses: &[SocketAddr]) -> String {
    let mut text = format!("cluster_name: {}\n", quoted(name));
    if !addresses.is_empty() {
        text.push_str("endpoints:\n- lb_endpoints:\n");
    }
    for address in addresses {
        text.push_str(&format!("  - {{endpoint: {{address: {}}}}}\n", socket_address(*address)));
    }
    text
}

impl Writer<'_> {
    fn cluster(&mut self, name: &str, upstream: &UpstreamCluster) -> Result<String, InputError> {
        let quoted_name = quoted(name);
        let named = ("name", quoted_name.as_str());
        Ok(match upstream {
            UpstreamCluster::Endpoints(endpoints) => match self.style.discovery {
                Discovery::Static => {
                    let assignment = assignment(name, known(endpoints)?);
                    fill(STATIC, &[named, ("speaks", &self.speaks(endpoints.spoken)), ("endpoints", &assignment)])
                }
                Discovery::Eds => {
                    let directory = &self.style.eds_directory;
                    let file = path(&directory.join(file_name(name)));
                    let speaks = self.speaks(endpoints.spoken);
                    fill(EDS, &[named, ("speaks", &speaks), ("file", &file), ("directory", &path(directory))])
                }
                Discovery::Dns if !endpoints.subset.is_empty() => {
                    return Err(InputError::new(
                        &format!("{}:{}, subset {}", endpoints.host, endpoints.port, endpoints.subset),
                        "is a part of the endpoints, and DNS knows all of them alone",
                        "say --clusters static or eds, or take the subsets out of --config",
                    ));
                }
                Discovery::Dns => {
                    let timing = if endpoints.headless { HEADLESS } else { ADDRESSED };
                    let address = (endpoints.host.as_str(), dns_port(endpoints));
                    self.dns(name, (DNS, timing), address, endpoints.spoken)
                }
            },
            UpstreamCluster::External { host, port, tls } => {
                // HTTP/1.1 in clear text: the world outside is not asked to follow the client.
                let spoken = if *tls { Some(UpstreamProtocol::Tls) } else { None };
                self.dns(name, (EXTERNAL, OUTSIDE), (host, *port), spoken)
            }
            UpstreamCluster::DynamicForwardProxy { tls } => {
                let speaks = if *tls { self.speaks(UpstreamProtocol::Tls) } else { String::new() };
                fill(DYNAMIC, &[named, ("dns_cache", &dns_cache()), ("speaks", &speaks)])
            }
            UpstreamCluster::OriginalDst(spoken) => {
                let speaks =
                    self.speaks_and("original_dst", *spoken, "common_http_protocol_options: {idle_timeout: 5s}\n");
                fill(ORIGINAL_DST, &[named, ("speaks", &speaks)])
            }
            UpstreamCluster::Passthrough => {
                fill(ORIGINAL_DST, &[named, ("speaks", &self.speaks(UpstreamProtocol::AsClient))])
            }
        })
    }

    fn dns(
        &mut self,
        name: &str,
        (template, timing): (&str, &str),
        (host, port): (&str, u16),
        spoken: impl Into<Option<UpstreamProtocol>>,
    ) -> String {
        let resolver = self.shared("typed_dns_resolver_config", "resolver", RESOLVER);
        let speaks = spoken.into().map_or_else(String::new, |spoken| self.speaks(spoken));
        fill(
            template,
            &[
                ("name", &quoted(name)),
                ("timing", timing),
                ("resolver", &resolver),
                ("speaks", &speaks),
                ("host", &quoted(host)),
                ("port", &port.to_string()),
            ],
        )
    }

    fn speaks(&mut self, spoken: UpstreamProtocol) -> String {
        let anchor = match spoken {
            UpstreamProtocol::AsClient => "as_client",
            UpstreamProtocol::Http2 => "http2",
            UpstreamProtocol::Tls => "tls",
        };
        self.speaks_and(anchor, spoken, "")
    }

    /// How upstreams are spoken to, with more options.
    fn speaks_and(&mut self, anchor: &'static str, spoken: UpstreamProtocol, more: &str) -> String {
        let options = match spoken {
            UpstreamProtocol::AsClient => {
                "use_downstream_protocol_config: {http_protocol_options: {}, http2_protocol_options: {}}\n"
            }
            UpstreamProtocol::Http2 => "explicit_http_config: {http2_protocol_options: {}}\n",
            // Server name and certificate follow the authority, which byname rewrote; HTTP/2 where it is offered.
            UpstreamProtocol::Tls => {
                "upstream_http_protocol_options: {auto_sni: true, auto_san_validation: true}\n\
                 auto_config: {http_protocol_options: {}, http2_protocol_options: {}}\n"
            }
        };
        let options = fill(OPTIONS, &[("options", &format!("{more}{options}"))]);
        const FIELD: &str = "typed_extension_protocol_options";
        let mut text = if more.is_empty() { self.shared(FIELD, anchor, &options) } else { field(FIELD, "", &options) };
        if spoken == UpstreamProtocol::Tls {
            let socket = fill(TLS, &[("ca_file", &path(&self.style.ca_file))]);
            text.push_str(&self.shared("transport_socket", "tls_socket", &socket));
        }
        text
    }

    /// A field whose value is written once.
    fn shared(&mut self, name: &str, anchor: &'static str, value: &str) -> String {
        match self.anchors.as_mut().map(|written| written.insert(anchor)) {
            None => field(name, "", value),
            Some(true) => field(name, &format!(" &{anchor}"), value),
            Some(false) => format!("{name}: *{anchor}\n"),
        }
    }
}

fn field(name: &str, anchor: &str, value: &str) -> String {
    fill(&format!("{name}:{anchor}\n  {{{{value}}}}\n"), &[("value", value)])
}

/// Of the dynamic forward proxy's filter and clusters: the same in each of them.
pub(super) fn dns_cache() -> String {
    let template = "name: external\ndns_lookup_family: V4_PREFERRED\ntyped_dns_resolver_config:\n  {{resolver}}\n";
    fill(template, &[("resolver", RESOLVER)])
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
