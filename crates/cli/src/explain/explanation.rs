//! An explanation as data, which `byname schema explain` describes.

use schemars::JsonSchema;
use serde::Serialize;

use super::{endpoints::ExplainedEndpoint, outside::EntryPoint, requested_name::RequestedName, step::ExplainedStep};
use crate::cluster_dns::DnsQuery;

/// How a name resolves for a caller, and why.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The requested name.
    pub asked: RequestedName,
    /// The caller.
    pub caller: ExplainedCaller,
    /// Whether the name resolves and requests are routed to it.
    pub reachable: bool,
    /// What the filter does with the request.
    pub resolution: ResolutionKind,
    /// The reason, by the name that counters and headers use.
    pub reason: String,
    /// The share of such requests that are only observed and go on unchanged, in percent; omitted if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_percent: Option<u32>,
    /// HTTP status of the local reply, if the request is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The destination that the name resolves to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<ExplainedDestination>,
    /// Every step of the resolution, in order.
    pub steps: Vec<ExplainedStep>,
    /// All endpoints of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<ExplainedEndpoint>>,
    /// How the filter routes the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<ExplainedUpstream>,
    /// The DNS queries of the caller's resolver, up to the one that ends the search.
    pub dns: Vec<DnsQuery>,
    /// Ways to reach the same port from outside the cluster, open or closed.
    pub outside: Vec<EntryPoint>,
    /// Further notes and hints.
    pub notes: Vec<String>,
    /// Version of the table.
    pub table_version: u64,
}

/// The caller.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Who")]
pub struct ExplainedCaller {
    /// Its namespace.
    pub namespace: String,
    /// `namespace/name` of the Pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// A name with at least this many dots is tried as it is before the search list.
    pub ndots: u8,
    /// The search list.
    pub searches: Vec<String>,
}

/// What the filter does with the request.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Kind")]
pub enum ResolutionKind {
    /// Routes it to the destination.
    Route,
    /// Passes it on unchanged.
    Pass,
    /// Refuses it with a local reply.
    Refuse,
}

/// The destination that a name resolves to.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Target")]
pub struct ExplainedDestination {
    /// `service`, `endpoint`, `pod` or `external`.
    pub kind: String,
    /// The full name.
    pub host: String,
    /// The port of the Service or of the external host.
    pub port: u16,
    /// Name of the Service's port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// `namespace/name` of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The `targetPort` of the Service's port, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<String>,
    /// Whether the connection to an external host uses TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// File and line that the Service was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// How the filter routes a request.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Upstream")]
pub struct ExplainedUpstream {
    /// The upstream cluster; omitted if Envoy's routes choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Address and port of the endpoint, if the filter chooses it. Another request may get another endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The rewritten authority; omitted if it is unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}
