//! A difference as data, which `byname schema diff` describes.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

/// What differs between two states.
#[derive(Clone, Debug, Default, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// What changes, by what it was and what it becomes.
    pub changes: Vec<NameChange>,
    /// The namespaces from which all names were asked.
    pub namespaces: BTreeSet<String>,
    /// How many pairs of a name and a port were asked, from one namespace or more.
    pub names: usize,
}

/// Names that change in the same way.
#[derive(Clone, Debug, JsonSchema, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Change")]
pub struct NameChange {
    /// Whether they appear, vanish or lead elsewhere.
    pub kind: ChangeKind,
    /// What they meant; left out where that was nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Meaning>,
    /// What they mean now; left out where that is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Meaning>,
    /// The names, those together that change so from the same namespaces.
    pub names: Vec<Names>,
}

/// Names that change from the same namespaces.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Names {
    /// The namespaces.
    pub from: Vec<String>,
    /// The names with their ports.
    pub names: Vec<String>,
}

/// What becomes of names.
#[derive(Clone, Copy, Debug, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Kind")]
pub enum ChangeKind {
    /// They led somewhere and do not any more.
    Vanishes,
    /// They lead elsewhere.
    Changes,
    /// They led nowhere and do now.
    Appears,
}

/// What a name means to a caller.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meaning {
    /// Why, by the name that counters and headers have for it.
    pub reason: &'static str,
    /// The whole name of where it leads; empty where a request is passed or refused.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The port there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name of the Service's port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub port_name: String,
    /// Whether an external host is spoken to over TLS.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// The upstream cluster, where the filter chooses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl Meaning {
    pub(super) fn leads_somewhere(&self) -> bool {
        !self.host.is_empty()
    }
}
