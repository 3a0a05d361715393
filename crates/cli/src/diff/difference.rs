//! A difference as data. `byname schema diff` prints its schema.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

/// The differences between two states.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The changes, grouped by old and new resolution.
    pub changes: Vec<NameChange>,
    /// The namespaces that names were resolved from.
    pub namespaces: BTreeSet<String>,
    /// Number of name-and-port pairs that were compared.
    pub names: usize,
}

/// Names that change in the same way.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Change")]
pub struct NameChange {
    /// Whether the names vanish, change or appear.
    pub kind: ChangeKind,
    /// What the names resolved to; omitted if the reason was `name_not_found`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Meaning>,
    /// What the names resolve to now; omitted if the reason is `name_not_found`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Meaning>,
    /// The names, grouped by the namespaces that they change from.
    pub names: Vec<Names>,
}

/// Names that change when resolved from the same namespaces.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Names {
    /// The namespaces.
    pub from: Vec<String>,
    /// The names with their ports.
    pub names: Vec<String>,
}

/// The kind of a change.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Kind")]
pub enum ChangeKind {
    /// The names resolved, and do not any more.
    Vanishes,
    /// The names resolve to another destination, or fail for another reason.
    Changes,
    /// The names did not resolve, and now do.
    Appears,
}

/// How a name resolves for a caller.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meaning {
    /// The reason, by the name that counters and headers use.
    pub reason: &'static str,
    /// Full name of the destination; omitted if the request is passed or refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Port of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name of the Service's port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// Whether the connection to an external host uses TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// The upstream cluster; omitted if Envoy's routes choose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl Meaning {
    pub(super) fn leads_somewhere(&self) -> bool {
        !self.host.is_empty()
    }
}
