//! The whole configuration, and the parts of it that have no file of their own.

use alloc::{collections::BTreeMap, string::String};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    caller::{Caller, Dns},
    external_names::ExternalNames,
    fallback::Fallbacks,
    readable::{names, object},
    reader::{self, Readable},
    steering::Steering,
    table::{Service, Table},
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

object!(Config<S> requires "version" {
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

impl<'de, S: Readable + Default> Deserialize<'de> for Config<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        reader::read(deserializer)
    }
}

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
