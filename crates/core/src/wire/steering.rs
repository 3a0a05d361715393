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
    /// Whether `x-forwarded-host` gets the authority that was asked for, where it is rewritten. Default false.
    pub forwarded_host: bool,
    /// The header that the route's `cluster_header` names. Default `x-byname-cluster`.
    pub control_header: String,
    /// Template of the upstream cluster's name. Default `outbound|{port}|{subset}|{host}`.
    pub cluster: String,
    /// Template for names of single endpoints. Default: `cluster` where it holds `{host}` or `{endpoint}`, else
    /// `outbound|{port}|{subset}|{host}`, so that a pod's name never reaches another pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_cluster: Option<String>,
    /// The cluster of what is passed through. Default: none, the control header is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_cluster: Option<String>,
    /// Where external targets go.
    pub external: External,
    /// Where endpoints go that are chosen here, while steering by endpoint.
    pub original_dst: OriginalDst,
    /// How an endpoint is chosen while steering by endpoint, and what keeps one client on one subset. Default
    /// `ROUND_ROBIN`.
    pub load_balancer: LoadBalancer,
    /// Which endpoints are left alone for a while, while steering by endpoint. Default: none.
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

/// What tells Envoy where a request goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum SteeringMode {
    /// The control header holds the name of the upstream cluster.
    #[default]
    Cluster,
    /// `:authority` is rewritten and the routes match again.
    Authority,
    /// The filter chooses the endpoint, and an `ORIGINAL_DST` cluster goes there.
    Endpoint,
}

names!(SteeringMode { "cluster" => Cluster, "authority" => Authority, "endpoint" => Endpoint, });

/// When `:authority` is rewritten while steering by cluster or by endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum RewriteAuthority {
    /// To the canonical name of what was meant.
    #[default]
    Always,
    /// Only where an ExternalName Service was followed.
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
    /// Template for clear text. Default `external|{port}|{host}`.
    pub cluster: String,
    /// Template for TLS. Default `external-tls|{port}|{host}`.
    pub tls_cluster: String,
    /// Whether these are dynamic forward proxy clusters, which are told host and port by filter state. Default false.
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

/// The upstream clusters of endpoints that are chosen here: `ORIGINAL_DST` ones, which are told the address by filter state.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OriginalDst {
    /// For clear text. Default `original-dst`.
    pub cluster: String,
    /// For ports whose `appProtocol` is `https` or `kubernetes.io/wss`. Default `original-dst-tls`.
    pub tls_cluster: String,
    /// For ports whose `appProtocol` is `kubernetes.io/h2c`, `http2`, `h2c` or `grpc`: HTTP/2 in clear text whatever the
    /// client speaks. Default: `cluster`, which speaks upstream what the client speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http2_cluster: Option<String>,
}

object!(OriginalDst { "cluster" => cluster, "tlsCluster" => tls_cluster, "http2Cluster" => http2_cluster, });

impl Default for OriginalDst {
    fn default() -> Self {
        Self { cluster: "original-dst".into(), tls_cluster: "original-dst-tls".into(), http2_cluster: None }
    }
}

/// How one of several is chosen, in the words of Istio's DestinationRule: one of the two fields.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancer {
    /// Without memory of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simple: Option<SimpleLb>,
    /// One client, one endpoint, as long as it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
}

object!(LoadBalancer { "simple" => simple, "consistentHash" => consistent_hash, });

/// A policy by the name that Envoy and Istio have for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// In turn.
    #[default]
    RoundRobin,
    /// By chance.
    Random,
    /// Of two by chance, the one with fewer open requests.
    LeastRequest,
}

names!(SimpleLb { "ROUND_ROBIN" => RoundRobin, "RANDOM" => Random, "LEAST_REQUEST" => LeastRequest, });

/// What a client is known by: one of the two fields.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConsistentHash {
    /// The value of this request header; requests without it are spread by chance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_header_name: Option<String>,
    /// The pod itself, which is the only client of its sidecar.
    pub use_source_ip: bool,
}

object!(ConsistentHash { "httpHeaderName" => http_header_name, "useSourceIp" => use_source_ip, });

/// Which endpoints are left alone for a while, in the words of Istio's DestinationRule.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutlierDetection {
    /// So many answers of 500 and above in a row, failed connections among them, eject an endpoint; 0: none ever. Default 5.
    pub consecutive5xx_errors: u32,
    /// For so long, times the number of ejections in a row. In seconds, 1 to 3,600. Default 30.
    pub base_ejection_time_seconds: u32,
    /// Of a Service's endpoints that may serve, in percent, 1 to 100; one can always be ejected, the last one never. Default
    /// 10.
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
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceSteering {
    /// In place of `steering.by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<SteeringMode>,
    /// In place of `steering.rewriteAuthority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_authority: Option<RewriteAuthority>,
    /// In place of `steering.cluster`; a name without placeholders is a template too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What `{subset}` stands for. Default empty. Not beside the Service's `subsets`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subset: String,
    /// In place of `steering.loadBalancer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancer>,
    /// In place of `steering.outlierDetection`.
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
