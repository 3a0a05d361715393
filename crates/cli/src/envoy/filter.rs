//! The HTTP filters: byname's, and the one that resolves hosts outside the cluster.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{
    cluster::dns_cache,
    file::discovery_file,
    value::{empty, extension, path, typed, watched},
};
use crate::output::yaml::{Yaml, map, one_line};

/// What the filter is called in Envoy.
pub const FILTER_NAME: &str = "byname";

/// Where an Envoy has the module, if nothing else is said.
pub const DEFAULT_MODULE: &str = "/etc/byname/byname.wasm";

/// The functions of the host that the module calls.
const CAPABILITIES: [&str; 17] = [
    "proxy_log",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_buffer_bytes",
    "proxy_get_header_map_pairs",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_send_local_response",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_call_foreign_function",
    "proxy_on_context_create",
    "proxy_on_configure",
    "proxy_on_request_headers",
    "proxy_on_delete",
];

/// What of the filter's file comes from Envoy's side.
#[derive(Clone, Debug)]
pub struct EcdsFilter {
    /// What the filter is called in Envoy's bootstrap.
    pub name: String,
    /// Where Envoy finds the module.
    pub module: PathBuf,
}

impl Default for EcdsFilter {
    fn default() -> Self {
        Self { name: FILTER_NAME.into(), module: DEFAULT_MODULE.into() }
    }
}

/// The file that Envoy discovers the filter from: `json` is its configuration.
#[must_use]
pub fn ecds(json: &str, EcdsFilter { name, module }: &EcdsFilter) -> String {
    const COMMENT: &str =
        "The filter as Envoy discovers it, made by byname. Replace this file in one step: rename a new one over it.";
    let resource = typed! {
        "envoy.config.core.v3.TypedExtensionConfig",
        "name": name.clone(),
        "typed_config": wasm(json, module, true),
    };
    discovery_file(COMMENT, vec![resource])
}

/// The filter as it stands in a chain.
pub(super) fn inline(json: &str, module: &Path) -> Yaml {
    extension(FILTER_NAME, wasm(json, module, true))
}

/// The filter as it is discovered from `file`. Until there is one it passes everything through.
pub(super) fn discovered(file: &Path, namespace: &str, module: &Path) -> Yaml {
    const COMMENT: &str = "\
Envoy watches the file that the filter's configuration comes from. A file that is renamed over it takes effect without closing
a connection. Envoy refuses a wrong one and goes on with the last good one.";
    let empty_table = format!("{}\n", json!({"version": 1, "caller": {"namespace": namespace}}));
    let discovery = map! {
        "config_source": Yaml::commented(
            "Envoy watches the directory, not the file: a ConfigMap's files change by a symbolic link beside them.",
            watched(file),
        ),
        "type_urls": Yaml::one_line(["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"]),
        "default_config": Yaml::commented(
            "Until the first good file is there, the table is empty.",
            wasm(&empty_table, module, true),
        ),
    };
    Yaml::commented(COMMENT, map! { "name": FILTER_NAME, "config_discovery": discovery })
}

/// Its configuration. Envoys older than 1.40 have the list of capabilities elsewhere.
pub(crate) fn wasm(json: &str, module: &Path, restricted: bool) -> Yaml {
    let capabilities = restricted.then(|| {
        let allowed = CAPABILITIES.iter().map(|name| ((*name).into(), empty())).collect();
        Yaml::commented(
            "The module may call only these functions of the host.",
            map! { "allowed_capabilities": Yaml::Map(allowed) },
        )
    });
    typed! {
        "envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": map! {
            "name": "byname",
            "root_id": "byname",
            "failure_policy": Yaml::commented(
                "If the module crashes, Envoy answers 503 until it has loaded the module again, about a second later. FAIL_OPEN would\n\
                 send requests on unsteered.",
                "FAIL_RELOAD",
            ),
            "vm_config": map! {
                "vm_id": "byname",
                "runtime": "envoy.wasm.runtime.v8",
                "code": one_line! { "local": map! { "filename": path(module) } },
                "capability_restriction_config": capabilities,
            },
            "configuration": Yaml::commented(
                "A StringValue that holds JSON: Envoy would hand a Struct to the module in binary.",
                typed! { "google.protobuf.StringValue", "value": json.to_owned() },
            ),
        },
    }
}

/// What resolves hosts outside the cluster.
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
