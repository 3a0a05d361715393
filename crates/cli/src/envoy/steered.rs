//! byname's headers in Envoy's configuration: what the listener does with them before any filter, and the routes that follow them.

use super::value::{empty, extension, typed};
use crate::output::yaml::{Fields, Yaml, fields, map, one_line};

/// Removes the control header from clients' requests before any filter runs. Where traffic is redirected, also writes the port
/// that the connection was going to into the header `destination_port`.
pub(crate) fn early_header_mutations(control_header: &str, destination_port: Option<&str>) -> Yaml {
    let mut mutations = vec![map! { "remove": control_header.to_owned() }];
    mutations.extend(destination_port.map(|name| {
        Yaml::commented(
            "An authority without a port means the port that the connection was going to.",
            map! {
                "append": map! {
                    "header": one_line! { "key": name.to_owned(), "value": "%DOWNSTREAM_LOCAL_PORT%" },
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                },
            },
        )
    }));
    let mutation = typed! {
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": mutations,
    };
    [extension("envoy.http.early_header_mutation.header_mutation", mutation)].into()
}

/// The route of the requests that the filter steered: only they have the control header. Envoy chooses the cluster by the header
/// and then removes it.
pub(crate) fn steered_route(control_header: &str) -> Fields {
    fields! {
        "match": map! { "prefix": "/", "headers": has(control_header) },
        "request_headers_to_remove": Yaml::one_line([control_header.to_owned()]),
        "route": one_line! { "cluster_header": control_header.to_owned(), "timeout": "0s" },
    }
}

/// The same for tunnels (CONNECT): Envoy ends the tunnel, and its content goes to the upstream.
pub(super) fn steered_tunnel_route(control_header: &str) -> Fields {
    fields! {
        "match": map! { "connect_matcher": empty(), "headers": has(control_header) },
        "request_headers_to_remove": Yaml::one_line([control_header.to_owned()]),
        "route": one_line! {
            "cluster_header": control_header.to_owned(),
            "timeout": "0s",
            "upgrade_configs": ends_tunnels(),
        },
    }
}

/// The upgrade of a route that ends tunnels.
pub(super) fn ends_tunnels() -> Yaml {
    Yaml::one_line([map! { "upgrade_type": "CONNECT", "connect_config": empty() }])
}

fn has(header: &str) -> Yaml {
    Yaml::one_line([map! { "name": header.to_owned(), "present_match": true }])
}
