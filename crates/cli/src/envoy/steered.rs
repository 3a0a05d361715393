//! The control header in Envoy's configuration: Envoy removes it from clients' requests, and routes by it.

use super::value::{extension, typed};
use crate::output::yaml::{Fields, Yaml, fields, map, one_line};

/// Removes the control header from clients' requests before any filter runs.
pub(crate) fn header_removal(control_header: &str) -> Yaml {
    let mutation = typed! {
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [map! { "remove": control_header.to_owned() }],
    };
    [extension("envoy.http.early_header_mutation.header_mutation", mutation)].into()
}

/// The route of the requests that the filter steered: only they have the control header. Envoy chooses the cluster by the header
/// and then removes it.
pub(crate) fn steered_route(control_header: &str) -> Fields {
    let header = || control_header.to_owned();
    fields! {
        "match": map! {
            "prefix": "/",
            "headers": Yaml::one_line([map! { "name": header(), "present_match": true }]),
        },
        "request_headers_to_remove": Yaml::one_line([header()]),
        "route": one_line! { "cluster_header": header(), "timeout": "0s" },
    }
}
