//! Fallbacks of Services and baseline namespaces.

#[cfg(feature = "schema")]
use alloc::collections::BTreeMap;
use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::readable::{names, object};
use crate::collections::Entries;

/// Fallbacks of Services. Default: none.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fallbacks {
    /// Fallbacks by the `namespace/name` of the Service that they replace, whether or not that Service is in the table.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, Fallback>"))]
    pub services: Entries<Fallback>,
    /// Baseline namespaces by the caller's namespace: a short name that the search path does not find is looked up there.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<String, String>"))]
    pub baselines: Entries<String>,
}

object!(Fallbacks { "services" => services, "baselines" => baselines, });

/// The fallback of one Service: another Service, or an external host.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Fallback {
    /// `namespace/name` of the other Service. A Service of another namespace needs a grant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A host outside the cluster. `externalNames.allow` must list it with its port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port of the fallback. Required for a host. Default for a Service: the requested port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Whether to speak TLS to the host. Default: as the scheme of the request says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
    /// When to use the fallback. Default: in both cases.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Trigger>,
}

object!(Fallback { "service" => service, "host" => host, "port" => port, "tls" => tls, "when" => when, });

/// When a fallback is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Trigger {
    /// The Service does not exist.
    #[default]
    Missing,
    /// The Service has no usable endpoint.
    NoEndpoints,
}

names!(Trigger { "missing" => Missing, "noEndpoints" => NoEndpoints, });
