//! The configuration as it is pushed: one set of structs, camelCase in JSON, unknown fields refused.
//!
//! These are plain data; nothing here is checked beyond its form. [`Config::read`](crate::Config::read) turns them into
//! what the rest of the crate works with and says what is wrong. The field names are those of the Kubernetes API
//! wherever it has one.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};

use crate::limits::MAX_ENDPOINT_GROUPS;
pub use crate::texts::Texts;

/// The version of the wire form that this crate reads.
pub const VERSION: u32 = 1;

/// The whole configuration. `S` is what the Services of the table are read into: by default the wire structs themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default"))]
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

/// The pod that asks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

/// The pod's `/etc/resolv.conf` and C library.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Resolver {
    /// The GNU C library.
    #[default]
    Glibc,
    /// musl.
    Musl,
}

/// How requests are steered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Steering {
    /// Default `cluster`.
    pub by: By,
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
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            by: By::default(),
            rewrite_authority: RewriteAuthority::default(),
            forwarded_host: false,
            control_header: "x-byname-cluster".into(),
            cluster: "outbound|{port}|{subset}|{host}".into(),
            endpoint_cluster: None,
            pass_cluster: None,
            external: External::default(),
        }
    }
}

/// What tells Envoy where a request goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// The control header holds the name of the upstream cluster.
    #[default]
    Cluster,
    /// `:authority` is rewritten and the routes match again.
    Authority,
}

/// When `:authority` is rewritten while steering by cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// The upstream clusters of external targets.
#[derive(Clone, Debug, Serialize, Deserialize)]
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

impl Default for External {
    fn default() -> Self {
        Self {
            cluster: "external|{port}|{host}".into(),
            tls_cluster: "external-tls|{port}|{host}".into(),
            dynamic_forward_proxy: false,
        }
    }
}

/// What becomes of names that mean nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum UnknownNames {
    /// They are passed through, as they would be without the filter.
    #[default]
    Pass,
    /// They are answered with 404.
    Refuse,
}

/// Where ExternalName Services may lead. By default: inside their own namespace, and nowhere else.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExternalNames {
    /// External targets that are allowed.
    pub allow: Vec<Allow>,
    /// Namespaces whose aliases may lead into other namespaces.
    pub grants: Vec<Grant>,
}

/// One host pattern with its ports.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// A full name, or `*.` and a domain: every name below it, at any depth, without the domain itself.
    pub host: String,
    /// The ports that may be asked for.
    pub ports: Vec<u16>,
}

/// Lets aliases of the namespace `from` lead to Services of the namespace `to`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// Namespace of the ExternalName Service.
    pub from: String,
    /// Namespace of its target.
    pub to: String,
}

/// Which requests have every step of their decision shown.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
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

/// What is counted beside the reasons.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stats {
    /// How many Services get a counter of their own, the first ones that are asked for; 0 to 1,000. Default 0.
    pub services: u32,
}

/// What is known of the cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[serde(bound(deserialize = "S: Deserialize<'de> + Default"))]
#[cfg_attr(feature = "schema", schemars(bound = "S: schemars::JsonSchema + Serialize + Default"))]
pub struct Table<S = BTreeMap<String, Service>> {
    /// Says which table this is, in traces and in a gauge. Default 0.
    pub version: u64,
    /// Whether endpoints may have loopback and link-local addresses, for demos and tests. Default false.
    pub single_machine: bool,
    /// By `namespace/name`.
    pub services: S,
}

/// A Service.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Service {
    /// Default `ClusterIP`.
    #[serde(rename = "type", skip_serializing_if = "ServiceType::is_default")]
    pub service_type: ServiceType,
    /// `["None"]` makes it headless.
    #[serde(rename = "clusterIPs", skip_serializing_if = "Texts::is_empty")]
    pub cluster_ips: Texts,
    /// The ports that requests are matched to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Target of an ExternalName Service: an absolute name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// What an ExternalName Service changes beside the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// Left out: nothing is known of the endpoints. Empty: there are none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "endpoint_groups")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<EndpointGroup>"))]
    pub endpoints: Option<Vec<EndpointGroup>>,
    /// Whether endpoints that are not ready count as ready. Default false.
    #[serde(skip_serializing_if = "is_false")]
    pub publish_not_ready_addresses: bool,
    /// Default `Cluster`.
    #[serde(skip_serializing_if = "InternalTrafficPolicy::is_default")]
    pub internal_traffic_policy: InternalTrafficPolicy,
    /// What differs from the configuration's `steering` for this Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steering: Option<ServiceSteering>,
}

/// The type of a Service. What is not an ExternalName has the same meaning in DNS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ServiceType {
    /// A virtual IP inside the cluster, or headless.
    #[default]
    ClusterIP,
    /// As ClusterIP.
    NodePort,
    /// As ClusterIP.
    LoadBalancer,
    /// An alias of another name.
    ExternalName,
}

impl ServiceType {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a Service's traffic may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum InternalTrafficPolicy {
    /// To every node.
    #[default]
    Cluster,
    /// To the caller's own node alone.
    Local,
}

impl InternalTrafficPolicy {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A port of a Service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServicePort {
    /// May be left out where it is the only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The Service's port, never the `targetPort`.
    pub port: u16,
    /// Default `TCP`. Only TCP ports are matched.
    #[serde(default, skip_serializing_if = "Protocol::is_default")]
    pub protocol: Protocol,
    /// The application protocol (KEP-1422), shown in traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// What HTTP is carried by.
    #[default]
    Tcp,
    /// Not matched.
    Udp,
    /// Not matched.
    Sctp,
}

impl Protocol {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What an ExternalName Service changes beside the name.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Alias {
    /// The port of the target. Default: the port that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether an external target is spoken to over TLS. Default: as the request came, by its scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
}

/// Endpoints that share all but their addresses and hostnames.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EndpointGroup {
    /// IPv4 and IPv6 addresses.
    pub addresses: Texts,
    /// One for each address, in the same order; left out where the endpoints have none.
    #[serde(skip_serializing_if = "Texts::is_empty")]
    pub hostnames: Texts,
    /// The endpoints' own ports by name. Left out: they serve every port of the Service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<BTreeMap<String, u16>>,
    /// Their zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Their node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Zones that the control plane means them for: `hints.forZones` of an EndpointSlice.
    #[serde(skip_serializing_if = "Texts::is_empty")]
    pub for_zones: Texts,
    /// Nodes that it means them for: `hints.forNodes`.
    #[serde(skip_serializing_if = "Texts::is_empty")]
    pub for_nodes: Texts,
    /// EndpointSlice condition; absent counts as true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// EndpointSlice condition; absent counts as true, as kube-proxy reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// EndpointSlice condition; absent counts as false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// What one Service changes of the configuration's [`Steering`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceSteering {
    /// In place of `steering.by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// In place of `steering.rewriteAuthority`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrite_authority: Option<RewriteAuthority>,
    /// In place of `steering.cluster`; a name without placeholders is a template too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// What `{subset}` stands for. Default empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subset: String,
}

/// Groups of endpoints, refused as soon as there are too many: an empty one has 3 bytes in JSON and many more in memory.
fn endpoint_groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<EndpointGroup>>, D::Error> {
    struct Groups;

    impl<'de> Visitor<'de> for Groups {
        type Value = Vec<EndpointGroup>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_ENDPOINT_GROUPS} groups of endpoints")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut groups = Vec::new();
            while let Some(group) = list.next_element()? {
                if groups.len() == MAX_ENDPOINT_GROUPS {
                    return Err(de::Error::invalid_length(groups.len() + 1, &self));
                }
                groups.push(group);
            }
            Ok(groups)
        }
    }

    deserializer.deserialize_seq(Groups).map(Some)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
