//! The configuration as it is pushed: one set of structs, camelCase in JSON, unknown fields refused.
//!
//! These are plain data; nothing here is checked beyond its form. [`Config::read`](crate::Config::read) turns them into
//! what the rest of the crate works with and says what is wrong. The field names are those of the Kubernetes API
//! wherever it has one, then those of Envoy and Istio. What reads a struct stands below it, and its attributes are for what
//! writes it and for its schema; a test holds the two together.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use crate::read::{self, Element, Read, names, object};
pub use crate::texts::{Entries, Texts};

mod steering;
mod table;

pub use steering::{
    By, ConsistentHash, External, LoadBalancer, OriginalDst, OutlierDetection, RewriteAuthority, ServiceSteering,
    SimpleLb, Steering,
};
pub use table::{
    Alias, EndpointGroup, InternalTrafficPolicy, IpFamily, Protocol, Service, ServicePort, ServiceType,
    SessionAffinity, Subset, Table, TrafficDistribution,
};

/// The version of the wire form that this crate reads.
pub const VERSION: u32 = 1;

/// The whole configuration. `S` is what the Services of the table are read into: by default the wire structs themselves.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(bound = "S: schemars::JsonSchema + Serialize + Default"))]
pub struct Config<S = BTreeMap<String, Service>> {
    /// [`VERSION`].
    pub version: u32,
    /// Who asks.
    #[serde(default)]
    pub caller: Caller,
    /// How the caller's resolver works.
    #[serde(default)]
    pub dns: Dns,
    /// How requests are steered.
    #[serde(default)]
    pub steering: Steering,
    /// What becomes of names that mean nothing.
    #[serde(default)]
    pub unknown_names: UnknownNames,
    /// Where ExternalName Services may lead.
    #[serde(default)]
    pub external_names: ExternalNames,
    /// What stands in for Services that are missing or have no endpoints.
    #[serde(default)]
    pub fallback: Fallbacks,
    /// Which requests have every step of their decision shown.
    #[serde(default)]
    pub trace: Trace,
    /// Whether each request's decision is kept for the access log, as filter state `wasm.byname`. Default false.
    #[serde(default)]
    pub access_log: bool,
    /// What is counted beside the reasons.
    #[serde(default)]
    pub stats: Stats,
    /// What is known of the cluster.
    #[serde(default)]
    pub table: Table<S>,
}

object!(Config<S> needs "version" {
    "version" => version,
    "caller" => caller,
    "dns" => dns,
    "steering" => steering,
    "unknownNames" => unknown_names,
    "externalNames" => external_names,
    "fallback" => fallback,
    "trace" => trace,
    "accessLog" => access_log,
    "stats" => stats,
    "table" => table,
});

impl<'de, S: Read + Default> Deserialize<'de> for Config<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read::read(deserializer)
    }
}

/// The pod that asks.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Caller {
    /// Default: `NAMESPACE` of the node's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Default: the zone of the node's locality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Name of the Kubernetes node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The pod's address.
    #[serde(default, rename = "podIP", skip_serializing_if = "Option::is_none")]
    pub pod_ip: Option<String>,
}

object!(Caller { "namespace" => namespace, "zone" => zone, "node" => node, "podIP" => pod_ip, });

/// The pod's `/etc/resolv.conf` and C library.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Dns {
    /// Default `cluster.local`.
    pub cluster_domain: String,
    /// Default 5.
    pub ndots: u8,
    /// The whole search list, in place of the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searches: Option<Vec<String>>,
    /// Domains behind the default list, as nodes and `dnsConfig.searches` add them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_searches: Vec<String>,
    /// Default `glibc`.
    pub resolver: Resolver,
}

object!(Dns {
    "clusterDomain" => cluster_domain,
    "ndots" => ndots,
    "searches" => searches,
    "extraSearches" => extra_searches,
    "resolver" => resolver,
});

impl Default for Dns {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".into(),
            ndots: 5,
            searches: None,
            extra_searches: Vec::new(),
            resolver: Resolver::default(),
        }
    }
}

/// Whose search order the caller's programs have.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Resolver {
    /// The GNU C library.
    #[default]
    Glibc,
    /// musl.
    Musl,
}

names!(Resolver { "glibc" => Glibc, "musl" => Musl, });

/// What becomes of names that mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum UnknownNames {
    /// They are passed through, as they would be without the filter.
    #[default]
    Pass,
    /// They are answered with 404.
    Refuse,
}

names!(UnknownNames { "pass" => Pass, "refuse" => Refuse, });

/// Where ExternalName Services may lead. By default: inside their own namespace, and nowhere else.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExternalNames {
    /// External targets that are allowed.
    pub allow: Vec<Allow>,
    /// Namespaces whose aliases may lead into other namespaces.
    pub grants: Vec<Grant>,
}

object!(ExternalNames { "allow" => allow, "grants" => grants, });

/// One host pattern with its ports.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// A full name, or `*.` and a domain: every name below it, at any depth, without the domain itself.
    pub host: String,
    /// The ports that may be asked for.
    pub ports: Vec<u16>,
}

object!(Allow needs "host", "ports" { "host" => host, "ports" => ports, });

/// Lets aliases of the namespace `from` lead to Services of the namespace `to`.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// Namespace of the ExternalName Service.
    pub from: String,
    /// Namespace of its target.
    pub to: String,
}

object!(Grant needs "from", "to" { "from" => from, "to" => to, });

impl Element for Allow {}

impl Element for Grant {}

/// What stands in for Services. By default: nothing.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fallbacks {
    /// By the `namespace/name` of the Service that is stood in for, whether or not it is in the table.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Fallback>"))]
    pub services: Entries<Fallback>,
    /// By namespace: the one in which a short name is looked up last, after everything on the search path is missing.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub baselines: Entries<String>,
}

object!(Fallbacks { "services" => services, "baselines" => baselines, });

/// What stands in for one Service: another one, or an external host.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fallback {
    /// `namespace/name` of another Service. In another namespace it needs a grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A host outside the cluster, which has to be listed with its port in `externalNames.allow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Its port. Default for a Service: the port that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether the host is spoken to over TLS. Default: as the request came, by its scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// Default: both.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Trigger>,
}

object!(Fallback { "service" => service, "host" => host, "port" => port, "tls" => tls, "when" => when, });

/// What makes a fallback stand in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// There is no such Service.
    #[default]
    Missing,
    /// It has no endpoint that may serve.
    NoEndpoints,
}

names!(Trigger { "missing" => Missing, "noEndpoints" => NoEndpoints, });

/// Which requests have every step of their decision shown.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Trace {
    /// Requests with this header, whatever its value, have every step of their decision logged. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header: Option<String>,
    /// Local answers to those requests carry the steps in this header, and all others keep them as filter state
    /// `wasm.byname_trace`, from which a route can set it. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header: Option<String>,
}

object!(Trace { "requestHeader" => request_header, "responseHeader" => response_header, });

/// What is counted beside the reasons.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stats {
    /// How many Services get a counter of their own, the first ones that are asked for; 0 to 1,000. Default 0.
    pub services: u32,
}

object!(Stats { "services" => services, });
