//! Envoy's messages as far as byname writes them: the numbers and types of their fields, from the `.proto` files of Envoy's API.

use FieldType::{Any, Count, Duration, Flag, Map, Message as Of, Optional, Text, Word};

/// The fields of a message: name, number and type.
pub(super) type Message = &'static [(&'static str, u32, FieldType)];

/// The type of a field. A list has the type of its items.
#[derive(Clone, Copy)]
pub(super) enum FieldType {
    Text,
    Flag,
    Count,
    /// A value of an enum, with all its words that byname writes.
    Word(&'static [(&'static str, u64)]),
    Duration,
    /// A number or a flag that may be absent: a message of `google/protobuf/wrappers.proto`.
    Optional(&'static FieldType),
    Message(Message),
    Any,
    /// A map from texts.
    Map(&'static FieldType),
}

/// The fields of the message with this name, as far as an `@type` names it.
pub(super) fn message(name: &str) -> Option<Message> {
    Some(match name {
        "envoy.config.cluster.v3.Cluster" => CLUSTER,
        "envoy.config.core.v3.TypedExtensionConfig" => EXTENSION,
        "envoy.config.endpoint.v3.ClusterLoadAssignment" => LOAD_ASSIGNMENT,
        "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig" => &[("dns_cache_config", 1, Of(DNS_CACHE))],
        "envoy.extensions.filters.http.wasm.v3.Wasm" => &[("config", 1, Of(WASM_PLUGIN))],
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig" => {
            &[("dns_resolver_options", 2, Of(&[("no_default_search_domain", 2, Flag)]))]
        }
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" => {
            &[("common_tls_context", 1, Of(&[("validation_context", 3, Of(&[("trusted_ca", 1, Of(DATA_SOURCE))]))]))]
        }
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" => PROTOCOL_OPTIONS,
        "google.protobuf.StringValue" => &[("value", 1, Text)],
        _ => return None,
    })
}

const CLUSTER: Message = &[
    ("name", 1, Text),
    ("type", 2, Word(&[("STATIC", 0), ("LOGICAL_DNS", 2), ("EDS", 3), ("ORIGINAL_DST", 4)])),
    ("eds_cluster_config", 3, Of(&[("eds_config", 1, Of(CONFIG_SOURCE))])),
    ("connect_timeout", 4, Duration),
    ("lb_policy", 6, Word(&[("CLUSTER_PROVIDED", 6)])),
    ("circuit_breakers", 10, Of(&[("thresholds", 1, Of(THRESHOLDS))])),
    ("dns_lookup_family", 17, DNS_FAMILY),
    ("transport_socket", 24, Of(&[("name", 1, Text), ("typed_config", 3, Any)])),
    ("load_assignment", 33, Of(LOAD_ASSIGNMENT)),
    ("typed_extension_protocol_options", 36, Map(&Any)),
    ("cluster_type", 38, Of(EXTENSION)),
    ("wait_for_warm_on_init", 54, Optional(&Flag)),
    ("typed_dns_resolver_config", 55, Of(EXTENSION)),
];

const CONFIG_SOURCE: Message =
    &[("ads", 3, Of(&[])), ("initial_fetch_timeout", 4, Duration), ("resource_api_version", 6, Word(&[("V3", 2)]))];

const THRESHOLDS: Message = &[
    ("max_connections", 2, Optional(&Count)),
    ("max_pending_requests", 3, Optional(&Count)),
    ("max_requests", 4, Optional(&Count)),
    ("max_retries", 5, Optional(&Count)),
];

const DNS_FAMILY: FieldType = Word(&[("V4_PREFERRED", 3)]);

/// `TypedExtensionConfig`; `CustomClusterType` has the same fields.
const EXTENSION: Message = &[("name", 1, Text), ("typed_config", 2, Any)];

const LOAD_ASSIGNMENT: Message = &[
    ("cluster_name", 1, Text),
    ("endpoints", 2, Of(&[("lb_endpoints", 2, Of(&[("endpoint", 1, Of(&[("address", 1, Of(ADDRESS))]))]))])),
];

const ADDRESS: Message = &[("socket_address", 1, Of(&[("address", 2, Text), ("port_value", 3, Count)]))];

const DATA_SOURCE: Message = &[("filename", 1, Text)];

const DNS_CACHE: Message =
    &[("name", 1, Text), ("dns_lookup_family", 2, DNS_FAMILY), ("typed_dns_resolver_config", 12, Of(EXTENSION))];

const PROTOCOL_OPTIONS: Message = &[
    ("common_http_protocol_options", 1, Of(&[("idle_timeout", 1, Duration)])),
    ("upstream_http_protocol_options", 2, Of(&[("auto_sni", 1, Flag), ("auto_san_validation", 2, Flag)])),
    ("explicit_http_config", 3, Of(EITHER_PROTOCOL)),
    ("use_downstream_protocol_config", 4, Of(EITHER_PROTOCOL)),
    ("auto_config", 5, Of(EITHER_PROTOCOL)),
];

/// `ExplicitHttpConfig`, `UseDownstreamHttpConfig` and `AutoHttpConfig` have the same first fields.
const EITHER_PROTOCOL: Message = &[("http_protocol_options", 1, Of(&[])), ("http2_protocol_options", 2, Of(&[]))];

const WASM_PLUGIN: Message = &[
    ("name", 1, Text),
    ("root_id", 2, Text),
    ("vm_config", 3, Of(WASM_VM)),
    ("configuration", 4, Any),
    ("failure_policy", 7, Word(&[("FAIL_RELOAD", 1)])),
];

const WASM_VM: Message = &[
    ("vm_id", 1, Text),
    ("runtime", 2, Text),
    ("code", 3, Of(&[("local", 1, Of(DATA_SOURCE))])),
    ("capability_restriction_config", 8, Of(&[("allowed_capabilities", 1, Map(&Of(&[])))])),
];
