//! The pushed steering: cluster names, load balancing, outlier detection.

use alloc::string::String;

use serde::Serialize;

use super::readable::{names, object};

/// How requests are steered.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Steering {
    /// Default `cluster`.
    pub by: SteeringMode,
    /// Default `always`. With `by: authority` the authority is always rewritten.
    pub rewrite_authority: RewriteAuthority,
    /// Whether to set `x-forwarded-host` to the original authority where the authority is rewritten. Default false.
    pub forwarded_host: bool,
    /// The header that a route's `cluster_header` names. Default `x-byname-cluster`.
    pub control_header: String,
    /// The template of upstream cluster names. Default `outbound|{port}|{subset}|{host}`.
    pub cluster: String,
    /// The template for names of single endpoints. Default: `cluster`, if it contains `{host}` or `{endpoint}`; else
    /// `outbound|{port}|{subset}|{host}`, so that the name of a pod never reaches another pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_cluster: Option<String>,
    /// The cluster of requests that are passed on. Default: none, the control header is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_cluster: Option<String>,
    /// The upstream clusters of external targets.
    pub external: External,
    /// With `by: endpoint`: the upstream clusters of chosen endpoints.
    pub original_dst: OriginalDst,
    /// With `by: endpoint`: how an endpoint is chosen. Its affinity key also keeps a client on one subset. Default
    /// `ROUND_ROBIN`.
    pub load_balancer: LoadBalancer,
    /// With `by: endpoint`: when endpoints are ejected. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
}

object!(Steering {
    "by" => by,
    "rewriteAuthority" => rewrite_authority,
    "forwardedHost" => forwarded_host,
    "controlHeader" => control_header,
    "cluster" => cluster,
    "endpointCluster" => endpoint_cluster,
    "passCluster" => pass_cluster,
    "external" => external,
    "originalDst" => original_dst,
    "loadBalancer" => load_balancer,
    "outlierDetection" => outlier_detection,
});

impl Default for Steering {
    fn default() -> Self {
        Self {
            by: SteeringMode::default(),
            rewrite_authority: RewriteAuthority::default(),
            forwarded_host: false,
            control_header: "x-byname-cluster".into(),
            cluster: "outbound|{port}|{subset}|{host}".into(),
            endpoint_cluster: None,
            pass_cluster: None,
            external: External::default(),
            original_dst: OriginalDst::default(),
            load_balancer: LoadBalancer::default(),
            outlier_detection: None,
        }
    }
}

/// How Envoy is told where a request goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SteeringMode {
    /// The control header holds the name of the upstream cluster.
    #[default]
    Cluster,
    /// `:authority` is rewritten, and Envoy's routes match again.
    Authority,
    /// The filter chooses the endpoint, to which an `ORIGINAL_DST` cluster connects.
    Endpoint,
}

names!(SteeringMode { "cluster" => Cluster, "authority" => Authority, "endpoint" => Endpoint, });

/// With `by: cluster` and `by: endpoint`: when `:authority` is rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RewriteAuthority {
    /// Always, to the canonical name of the destination.
    #[default]
    Always,
    /// Only where an alias, a fallback or a baseline namespace was followed.
    Alias,
    /// Never.
    Never,
}

names!(RewriteAuthority { "always" => Always, "alias" => Alias, "never" => Never, });

/// The upstream clusters of external targets.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct External {
    /// The template for plaintext. Default `external|{port}|{host}`.
    pub cluster: String,
    /// The template for TLS. Default `external-tls|{port}|{host}`.
    pub tls_cluster: String,
    /// Whether these are dynamic forward proxy clusters, which get host and port by filter state. Default false.
    pub dynamic_forward_proxy: bool,
}

object!(External {
    "cluster" => cluster,
    "tlsCluster" => tls_cluster,
    "dynamicForwardProxy" => dynamic_forward_proxy,
});

impl Default for External {
    fn default() -> Self {
        Self {
            cluster: "external|{port}|{host}".into(),
            tls_cluster: "external-tls|{port}|{host}".into(),
            dynamic_forward_proxy: false,
        }
    }
}

/// The upstream clusters of chosen endpoints: `ORIGINAL_DST` clusters, which get the address by filter state.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OriginalDst {
    /// The cluster for plaintext. Default `original-dst`.
    pub cluster: String,
    /// The cluster for TLS: ports whose `appProtocol` is `https`, `tls`, `wss` or `kubernetes.io/wss`. Default `original-dst-tls`.
    pub tls_cluster: String,
    /// The cluster for HTTP/2 in plaintext: ports whose `appProtocol` is `kubernetes.io/h2c`, `http2`, `h2c` or `grpc`. Default:
    /// `cluster`, which speaks the client's protocol upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http2_cluster: Option<String>,
}

object!(OriginalDst { "cluster" => cluster, "tlsCluster" => tls_cluster, "http2Cluster" => http2_cluster, });

impl Default for OriginalDst {
    fn default() -> Self {
        Self { cluster: "original-dst".into(), tls_cluster: "original-dst-tls".into(), http2_cluster: None }
    }
}

/// How an endpoint is chosen, in the terms of Istio's DestinationRule. At most one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancer {
    /// A policy without affinity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simple: Option<SimpleLb>,
    /// Affinity: a client keeps its endpoint for as long as the endpoint is usable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
}

object!(LoadBalancer { "simple" => simple, "consistentHash" => consistent_hash, });

/// A load balancing policy without affinity, as Envoy and Istio name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// Endpoints take turns.
    #[default]
    RoundRobin,
    /// A random endpoint.
    Random,
    /// Of two different random endpoints, the one with fewer open requests.
    LeastRequest,
}

names!(SimpleLb { "ROUND_ROBIN" => RoundRobin, "RANDOM" => Random, "LEAST_REQUEST" => LeastRequest, });

/// The affinity key of a client. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConsistentHash {
    /// The value of this request header. A request without it gets a random endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_header_name: Option<String>,
    /// The pod itself, which is the only client of its sidecar.
    pub use_source_ip: bool,
}

object!(ConsistentHash { "httpHeaderName" => http_header_name, "useSourceIp" => use_source_ip, });

/// When endpoints are ejected, in the terms of Istio's DestinationRule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutlierDetection {
    /// The number of consecutive responses of 500 and above, including failed connections, that eject an endpoint; 0: never.
    /// Default 5.
    pub consecutive5xx_errors: u32,
    /// The time for which an endpoint is ejected, times the number of ejections in a row. Seconds, 1 to 3,600. Default 30.
    pub base_ejection_time_seconds: u32,
    /// The share of a Service's usable endpoints that may be ejected. Percent, 1 to 100. One endpoint can always be ejected, the
    /// last one never. Default 10.
    pub max_ejection_percent: u32,
}

object!(OutlierDetection {
    "consecutive5xxErrors" => consecutive5xx_errors,
    "baseEjectionTimeSeconds" => base_ejection_time_seconds,
    "maxEjectionPercent" => max_ejection_percent,
});

impl Default for OutlierDetection {
    fn default() -> Self {
        Self { consecutive5xx_errors: 5, base_ejection_time_seconds: 30, max_ejection_percent: 10 }
    }
}

/// What one Service changes of the configuration's [`Steering`].
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceSteering {
    /// Overrides `steering.by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<SteeringMode>,
    /// Overrides `steering.rewriteAuthority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_authority: Option<RewriteAuthority>,
    /// Overrides `steering.cluster`. A name without placeholders is a template too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The value of `{subset}`. Default empty. Not allowed together with the Service's `subsets`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subset: String,
    /// Overrides `steering.loadBalancer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// Overrides `steering.outlierDetection`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
}

object!(ServiceSteering {
    "by" => by,
    "rewriteAuthority" => rewrite_authority,
    "cluster" => cluster,
    "subset" => subset,
    "loadBalancer" => load_balancer,
    "outlierDetection" => outlier_detection,
});
