//! Where ExternalName Services may lead.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::{readable::object, reader::ListElement};

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

object!(Allow requires "host", "ports" { "host" => host, "ports" => ports, });

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

object!(Grant requires "from", "to" { "from" => from, "to" => to, });

impl ListElement for Allow {}

impl ListElement for Grant {}
