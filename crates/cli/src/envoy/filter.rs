//! The HTTP filters: byname's, and the one that resolves hosts outside the cluster.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{
    cluster::dns_cache,
    file::discovery_file,
    value::{empty, extension, path, typed, watched},
};
use crate::output::yaml::{Yaml, map, one_line};

/// The name of the filter in Envoy.
pub const FILTER_NAME: &str = "byname";

/// The default path of the module.
pub const DEFAULT_MODULE: &str = "/etc/byname/byname.wasm";

/// The host functions that the module calls, and the callbacks that it exports, but for [`ON_DELETE`].
const CAPABILITIES: [&str; 20] = [
    "proxy_log",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_current_time_nanoseconds",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_send_local_response",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_call_foreign_function",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_tick",
    "proxy_on_request_headers",
];

/// Tells the module that a request has ended.
const ON_DELETE: &str = "proxy_on_delete";

/// What the module also calls and exports where it asks a server for Services.
const ON_DEMAND: [&str; 8] = [
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_close",
    "proxy_grpc_cancel",
    "proxy_set_effective_context",
    "proxy_continue_stream",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_close",
];

/// What Envoy lets the module call, and which callbacks it calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capabilities {
    /// Everything. WasmPlugins and Envoys older than 1.40 have no such list here.
    Unrestricted,
    /// What the module uses.
    All,
    /// What the module uses where the end of a request does not matter, because each call takes time. A filter that can be
    /// reconfigured has [`Capabilities::All`].
    WithoutEnds,
    /// What the module uses where it asks a server for Services.
    OnDemand,
}

/// Options of the filter's discovery file.
#[derive(Clone, Debug)]
pub struct EcdsFilter {
    /// The name of the filter in Envoy's bootstrap.
    pub name: String,
    /// The path at which Envoy finds the module.
    pub module: PathBuf,
}

impl Default for EcdsFilter {
    fn default() -> Self {
        Self { name: FILTER_NAME.into(), module: DEFAULT_MODULE.into() }
    }
}

/// The file that Envoy discovers the filter from: `json` is its configuration.
#[must_use]
pub fn ecds(json: &str, filter: &EcdsFilter) -> String {
    const COMMENT: &str =
        "The filter that Envoy discovers, made by byname. Replace this file in one step: rename a new file over it.";
    discovery_file(COMMENT, vec![filter_resource(json, filter)])
}

/// The filter as a resource: `json` is its configuration.
pub(super) fn filter_resource(json: &str, EcdsFilter { name, module }: &EcdsFilter) -> Yaml {
    typed! {
        "envoy.config.core.v3.TypedExtensionConfig",
        "name": name.clone(),
        "typed_config": wasm(json, module, Capabilities::All),
    }
}

/// The filter as part of a filter chain.
pub(super) fn inline(json: &str, module: &Path, capabilities: Capabilities) -> Yaml {
    extension(FILTER_NAME, wasm(json, module, capabilities))
}

/// The filter, discovered from `file`. Until the file exists, the filter passes everything through.
pub(super) fn discovered(file: &Path, namespace: &str, module: &Path) -> Yaml {
    const COMMENT: &str = "\
Envoy watches this file for the filter's configuration. A file that is renamed over it takes effect without closing a
connection. If the new file is invalid, Envoy rejects it and keeps the last known good configuration.";
    let discovery = discovery(
        Yaml::commented(
            "Envoy watches the directory, not the file: a ConfigMap's files change through a symbolic link beside them.",
            watched(file),
        ),
        &[],
        Yaml::commented("Until the first valid file is loaded, the table is empty.", without_table(namespace, module)),
    );
    Yaml::commented(COMMENT, map! { "name": FILTER_NAME, "config_discovery": discovery })
}

/// The discovery of the filter from `source`, with the filter that serves until then. `other_types` are the types of the default
/// besides the filter's own.
pub(super) fn discovery(source: Yaml, other_types: &[&str], default: Yaml) -> Yaml {
    let types = ["envoy.extensions.filters.http.wasm.v3.Wasm"].iter().chain(other_types);
    let type_urls: Vec<Yaml> = types.map(|name| format!("type.googleapis.com/{name}").into()).collect();
    map! { "config_source": source, "type_urls": Yaml::one_line(type_urls), "default_config": default }
}

/// The filter with an empty table, which passes everything through.
pub(super) fn without_table(namespace: &str, module: &Path) -> Yaml {
    let empty_table = format!("{}\n", json!({"version": 1, "caller": {"namespace": namespace}}));
    wasm(&empty_table, module, Capabilities::All)
}

/// The filter's configuration.
pub(crate) fn wasm(json: &str, module: &Path, capabilities: Capabilities) -> Yaml {
    let ends = (capabilities != Capabilities::WithoutEnds).then_some(ON_DELETE);
    let on_demand: &[&str] = if capabilities == Capabilities::OnDemand { &ON_DEMAND } else { &[] };
    let capabilities = (capabilities != Capabilities::Unrestricted).then(|| {
        let allowed = CAPABILITIES
            .into_iter()
            .chain(ends)
            .chain(on_demand.iter().copied())
            .map(|name| (name.into(), empty()))
            .collect();
        Yaml::commented(
            "The module may call only these host functions.",
            map! { "allowed_capabilities": Yaml::Map(allowed) },
        )
    });
    typed! {
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": map! {
            "name": "byname",
            "root_id": "byname",
            "failure_policy": Yaml::commented(
                "If the module crashes, Envoy answers 503 until it reloads the module, about a second later. FAIL_OPEN would let\n\
                 requests through without steering.",
                "FAIL_RELOAD",
            ),
            "vm_config": map! {
                "vm_id": "byname",
                "runtime": "envoy.wasm.runtime.v8",
                "code": one_line! { "local": map! { "filename": path(module) } },
                "capability_restriction_config": capabilities,
            },
            "configuration": Yaml::commented(
                "A StringValue that holds JSON. Envoy would encode a Struct in binary, which the module does not read.",
                typed! { "google.protobuf.StringValue", "value": json.to_owned() },
            ),
        },
    }
}

/// The filter that resolves hosts outside the cluster.
pub(crate) fn dynamic_forward_proxy() -> Yaml {
    extension(
        "envoy.filters.http.dynamic_forward_proxy",
        typed! {
            "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
            "allow_dynamic_host_from_filter_state": true,
            "dns_cache_config": dns_cache(),
        },
    )
}
