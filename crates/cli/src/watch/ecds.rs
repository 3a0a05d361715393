//! The file that Envoy discovers the filter's configuration from.

/// What of the file comes from Envoy's side.
#[derive(Clone, Debug)]
pub struct Filter {
    /// What the filter is called in Envoy's bootstrap.
    pub name: String,
    /// Where Envoy finds the module.
    pub module: String,
}

/// All that the module asks of its host.
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

/// The configuration `json` as the resource of an ECDS file, in YAML.
#[must_use]
pub(super) fn ecds_text(json: &str, filter: &Filter) -> String {
    // A JSON string is a YAML string.
    let (name, module) = (serde_json::Value::from(&*filter.name), serde_json::Value::from(&*filter.module));
    let capabilities: String = CAPABILITIES.iter().map(|name| format!("            {name}: {{}}\n")).collect();
    let json: String = json.lines().map(|line| format!("          {line}\n")).collect();
    format!(
        "\
resources:
- \"@type\": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
  name: {name}
  typed_config:
    \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
    config:
      name: {name}
      root_id: {name}
      failure_policy: FAIL_RELOAD
      vm_config:
        vm_id: byname
        runtime: envoy.wasm.runtime.v8
        code: {{local: {{filename: {module}}}}}
        capability_restriction_config:
          allowed_capabilities:
{capabilities}      configuration:
        \"@type\": type.googleapis.com/google.protobuf.StringValue
        value: |
{json}"
    )
}
