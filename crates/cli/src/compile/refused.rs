//! What the core refuses, told by the place in the input that it comes from.

use byname_core::FieldError as Refused;

use super::base::Base;
use crate::{
    input::InputError,
    kubernetes::{ClusterState, NamespacedName},
};

const SERVICES: &str = "table.services[\"";

/// The key of the Service that is refused, if it is one.
pub(super) fn service(refused: &Refused) -> Option<&str> {
    if refused.at == "table.services" {
        return Some(&refused.found);
    }
    refused.at.strip_prefix(SERVICES)?.split('"').next()
}

/// In the object that the Service `key` was made of.
pub(super) fn in_cluster(refused: &Refused, key: &str, cluster: &ClusterState) -> InputError {
    let (reason, fix) = words(refused);
    let called = format!("Service {key}");
    let source = NamespacedName::parse(key).and_then(|name| cluster.services.get(&name));
    let Some(source) = source else { return InputError::new(&called, reason, fix) };
    let rest = refused.at.strip_prefix(SERVICES).and_then(|rest| rest.split_once("\"]")).map_or("", |(_, rest)| rest);
    let field = match rest.strip_prefix('.').unwrap_or_default() {
        // These come from other objects, or are not there.
        "" => "metadata.name".to_owned(),
        field if field.starts_with("endpoints") => "metadata.name".to_owned(),
        field => format!("spec.{field}"),
    };
    source.problem(&called, &field, reason, fix)
}

/// In what was written by hand, or was typed.
pub(super) fn in_base(refused: &Refused, base: &Base) -> InputError {
    let (reason, fix) = words(refused);
    base.problem(&refused.at, reason, fix)
}

/// The reason and the way out, as the core has them.
fn words(refused: &Refused) -> (String, &'static str) {
    let text = refused.to_string();
    let fix = refused.error_type.fix();
    let reason = text.strip_prefix(refused.at.as_str()).and_then(|text| text.strip_suffix(fix)?.strip_suffix("; "));
    let reason = reason.unwrap_or(&text).trim_start_matches([':', ' ']);
    (reason.to_owned(), fix)
}
