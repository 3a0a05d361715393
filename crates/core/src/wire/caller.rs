//! The caller and its resolver.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::readable::{names, object};
use crate::names::Resolver;

/// The pod whose requests are steered.
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
    /// The name of the Kubernetes node. Without it, no endpoint of a Service with `internalTrafficPolicy: Local` may serve.
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
    /// Domains to append to the default list, such as nodes and `dnsConfig.searches` add.
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

names!(Resolver { "glibc" => Glibc, "musl" => Musl, });
