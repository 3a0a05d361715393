//! The server that the filter asks for the Services that its pod uses.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::readable::{names, object};

/// Asks `byname serve` for Services when a request first needs them, in place of a table of all Services.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Server {
    /// The Envoy cluster of the server, which speaks HTTP/2. In Istio: `outbound|9905||byname.byname-system.svc.cluster.local`.
    pub cluster: String,
    /// Namespaces whose Services are asked for at the start, each as `shop/*`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<String>,
    /// What happens to a request whose name the server has not answered in time.
    #[serde(default)]
    pub on_timeout: OnTimeout,
}

object!(Server requires "cluster" {
    "cluster" => cluster,
    "preload" => preload,
    "onTimeout" => on_timeout,
});

/// What happens to a request whose name the server has not answered in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum OnTimeout {
    /// Pass the request on unchanged, as if there were no filter.
    #[default]
    Pass,
    /// Answer with a local reply, 503.
    Refuse,
}

names!(OnTimeout { "pass" => Pass, "refuse" => Refuse, });
