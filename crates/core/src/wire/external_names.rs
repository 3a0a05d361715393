//! Where ExternalName Services may lead.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::{readable::object, reader::ListElement};

/// Where ExternalName Services may lead. Default: to Services of their own namespace only.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExternalNames {
    /// The external targets that are allowed.
    pub allow: Vec<Allow>,
    /// The namespaces whose aliases may lead into other namespaces.
    pub grants: Vec<Grant>,
}

object!(ExternalNames { "allow" => allow, "grants" => grants, });

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
