//! An explanation as data, which `byname schema explain` describes.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    dns::DnsQuery, endpoints::ExplainedEndpoint, outside::EntryPoint, requested_name::RequestedName,
    step::ExplainedStep,
};

/// What a name means to a caller, and why.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What was asked.
    pub asked: RequestedName,
    /// Who asks.
    pub caller: ExplainedCaller,
    /// Whether a request goes to what the name means.
    pub reachable: bool,
    /// What the filter does with a request.
    pub resolution: ResolutionKind,
    /// Why, by the name that counters and headers have for it.
    pub reason: String,
    /// The status of the answer where it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the name means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<ExplainedDestination>,
    /// Every step, in order.
    pub steps: Vec<ExplainedStep>,
    /// All endpoints of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<ExplainedEndpoint>>,
    /// What is done to the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<ExplainedUpstream>,
    /// What the caller's resolver would ask the cluster's DNS, up to the query that ends it.
    pub dns: Vec<DnsQuery>,
    /// How the same is reached from outside the cluster, or why it is not.
    pub outside: Vec<EntryPoint>,
    /// What else is good to know.
    pub notes: Vec<String>,
    /// Version of the table that was asked.
    pub table_version: u64,
}

/// Who asks.
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
    /// From so many dots on a name is tried as it stands first.
    pub ndots: u8,
    /// The search list.
    pub searches: Vec<String>,
}

/// What the filter does with a request.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Kind")]
pub enum ResolutionKind {
    /// It goes to what the name means.
    Route,
    /// It goes on as it came.
    Pass,
    /// It is answered.
    Refuse,
}

/// What a name means.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Target")]
pub struct ExplainedDestination {
    /// `service`, `endpoint`, `pod` or `external`.
    pub kind: String,
    /// The whole name.
    pub host: String,
    /// The Service's port, or that of an external host.
    pub port: u16,
    /// Name of the Service's port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// `namespace/name` of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The Service's port's `targetPort`, as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<String>,
    /// Whether an external host is spoken to over TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// Where the Service was read: file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// What is done to a request.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Upstream")]
pub struct ExplainedUpstream {
    /// The upstream cluster; left out where Envoy's routes decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Address and port of the endpoint, where the filter chooses it. Another request may get another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The authority that goes upstream, where it is rewritten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}
