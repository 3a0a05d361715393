//! Fallbacks of Services and baseline namespaces.

#[cfg(feature = "schema")]
use alloc::collections::BTreeMap;
use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::readable::{names, object};
use crate::collections::Entries;

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
