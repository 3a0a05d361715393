//! The whole configuration, and the parts of it that have no file of their own.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize};

use super::{
    caller::{Caller, Dns},
    external_names::ExternalNames,
    fallback::Fallbacks,
    field_error::FieldErrors,
    readable::{names, object},
    reader::{self, Readable},
    server::Server,
    steering::Steering,
    table::{self, Service, Table},
};

/// The version of the wire form that this crate reads.
pub const VERSION: u32 = 1;

/// The whole configuration. `S` is the type that the Services of the table are read into: by default their wire structs.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(bound = "S: schemars::JsonSchema + Serialize + Default"))]
pub struct Config<S = BTreeMap<String, Service>> {
    /// [`VERSION`].
    pub version: u32,
    /// The minor version of the program that wrote this. A module that is older leaves out fields that it does not know, where it
    /// would refuse them otherwise. Default: none, written by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// Features that the module must know, or else refuse the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// What happens to a configuration with Services that cannot be taken, where none was accepted in this process yet.
    #[serde(default)]
    pub first_configuration: FirstConfiguration,
    /// Whether requests are steered, or only observed.
    #[serde(default)]
    pub mode: Mode,
    /// Namespaces, and Services as `namespace/name`, with the other mode. At most 4,096. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mode_exceptions: Vec<String>,
    /// The share of requests that are observed, of those whose mode is `observe`; the others are steered. Percent, 0 to 100.
    /// Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observe_percent: Option<u32>,
    /// The pod whose requests are steered.
    #[serde(default)]
    pub caller: Caller,
    /// The resolver of that pod.
    #[serde(default)]
    pub dns: Dns,
    /// How requests are steered.
    #[serde(default)]
    pub steering: Steering,
    /// Where the client's connection was going to before it was redirected. Default: it was not redirected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<DestinationPort>,
    /// What happens at a gateway, which asks on behalf of strangers.
    #[serde(default)]
    pub gateways: Gateways,
    /// What happens to names that are not in the table.
    #[serde(default)]
    pub unknown_names: UnknownNames,
    /// Where ExternalName Services may lead.
    #[serde(default)]
    pub external_names: ExternalNames,
    /// Fallbacks of Services that are missing or have no usable endpoint.
    #[serde(default)]
    pub fallback: Fallbacks,
    /// Which requests show every step of their decision.
    #[serde(default)]
    pub trace: Trace,
    /// Whether the decision on each request is set as filter state `wasm.byname`, for the access log. Default false.
    #[serde(default)]
    pub access_log: bool,
    /// Counters besides those of the reasons.
    #[serde(default)]
    pub stats: Stats,
    /// The server that is asked for Services that are not in the table. Default: none, the table has all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// The Services of the cluster, as far as the caller may see them.
    #[serde(default)]
    pub table: Table<S>,
}

object!(Config<S> requires "version" {
    "version" => version,
    "minor" => minor,
    "requires" => requires,
    "firstConfiguration" => first_configuration,
    "mode" => mode,
    "modeExceptions" => mode_exceptions,
    "observePercent" => observe_percent,
    "caller" => caller,
    "dns" => dns,
    "steering" => steering,
    "destinationPort" => destination_port,
    "gateways" => gateways,
    "unknownNames" => unknown_names,
    "externalNames" => external_names,
    "fallback" => fallback,
    "trace" => trace,
    "accessLog" => access_log,
    "stats" => stats,
    "server" => server,
    "table" => table,
});

impl Config {
    /// Replaces a packed table by its Services.
    ///
    /// # Errors
    /// If the packed form cannot be read.
    pub fn unpack(&mut self) -> Result<(), FieldErrors> {
        let has_services = !self.table.services.is_empty();
        table::unpack(&mut self.table, has_services, None)
    }
}

impl<'de, S: Readable + Default> Deserialize<'de> for Config<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        reader::read(deserializer)
    }
}

/// What happens to a first configuration with Services that cannot be taken. A later one is always refused: the last known good one
/// serves on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum FirstConfiguration {
    /// It is refused, so that a typo stops Envoy's start.
    #[default]
    Refuse,
    /// These Services are left out, and the rest serves: a new pod is not out of order because of one Service.
    LeaveOut,
}

names!(FirstConfiguration { "refuse" => Refuse, "leaveOut" => LeaveOut, });

/// What is done to requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// They are steered or refused.
    #[default]
    Enforce,
    /// They go on unchanged, without the control header. What would be done is counted, and shown in the access log and in traces.
    Observe,
}

names!(Mode { "enforce" => Enforce, "observe" => Observe, });

/// Traffic is redirected to Envoy. So an authority without a port means the port that the connection was going to, rather than the
/// default of the scheme (RFC 9110 section 4.2).
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DestinationPort {
    /// The request header in which the listener writes the port, `%DOWNSTREAM_LOCAL_PORT%`. Default, and for requests without it:
    /// Envoy's attribute `destination.port`, which costs a host call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The port of the listener itself. A connection to it was not redirected. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_port: Option<u16>,
}

object!(DestinationPort { "header" => header, "listenerPort" => listener_port, });

/// What happens to names that are not in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum UnknownNames {
    /// Pass the request on unchanged, as if there were no filter.
    #[default]
    Pass,
    /// Answer with a local reply, 404.
    Refuse,
}

names!(UnknownNames { "pass" => Pass, "refuse" => Refuse, });

/// What happens at a gateway: an Envoy whose node id begins with `router~` or `waypoint~`, as Istio writes it. Its requests come from
/// strangers, whose names are not those of its own namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Gateways {
    /// Pass every request on unchanged, without the control header.
    #[default]
    Pass,
    /// Resolve names as in a sidecar. The default of `externalNames.mode` is `listed` there.
    Resolve,
}

names!(Gateways { "pass" => Pass, "resolve" => Resolve, });

/// Which requests show every step of their decision.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Trace {
    /// Log every step of the decision on requests with this header, whatever its value. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header: Option<String>,
    /// Show the steps in this header of local replies to those requests. All other such requests have them as filter state
    /// `wasm.byname_trace`, from which a route can set a header. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header: Option<String>,
}

object!(Trace { "requestHeader" => request_header, "responseHeader" => response_header, });

/// Counters besides those of the reasons.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Stats {
    /// The number of Services that get a counter of their own, in the order of their first request; 0 to 1,000. Default 0.
    pub services: u32,
}

object!(Stats { "services" => services, });
