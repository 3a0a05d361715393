//! Where ExternalName Services may lead.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::{
    readable::{names, object},
    reader::ListElement,
};

/// What ExternalName Services may resolve to.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExternalNames {
    /// Whether aliases are followed wherever their caller may go. Default: `follow`, or `listed` where there are `grants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ExternalNamesMode>,
    /// The external targets that are allowed.
    pub allow: Vec<Allow>,
    /// The namespaces whose aliases may lead into other namespaces.
    pub grants: Vec<Grant>,
}

object!(ExternalNames { "mode" => mode, "allow" => allow, "grants" => grants, });

/// What an alias may resolve to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ExternalNamesMode {
    /// Wherever its caller may go by asking for the target itself.
    #[default]
    Follow,
    /// A Service of its own namespace, one that `grants` allow, or a host that `allow` lists: for an Envoy that asks on behalf
    /// of others.
    Listed,
}

names!(ExternalNamesMode { "follow" => Follow, "listed" => Listed, });

/// A host pattern and its ports.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allow {
    /// A full name; or `*.` and a domain, for every name below the domain, at any depth, but not the domain itself.
    pub host: String,
    /// The allowed ports.
    pub ports: Vec<u16>,
}

object!(Allow requires "host", "ports" { "host" => host, "ports" => ports, });

/// Lets aliases of the namespace `from` lead to Services of the namespace `to`.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// The namespace of the ExternalName Service.
    pub from: String,
    /// The namespace of its target.
    pub to: String,
}

object!(Grant requires "from", "to" { "from" => from, "to" => to, });

impl ListElement for Allow {}

impl ListElement for Grant {}
