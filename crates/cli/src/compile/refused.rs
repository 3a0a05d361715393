//! Errors of the core, with the input object that each comes from.

use byname_core::{FieldError, FieldPath, wire::PathElement};

use super::base::Base;
use crate::{
    input::InputError,
    kubernetes::{ClusterState, NamespacedName},
};

/// A refused field of a Service: the Service's key, and the steps below it.
fn split(path: &FieldPath) -> Option<(&str, &[PathElement])> {
    match path.elements() {
        [PathElement::Field(table), PathElement::Field(services), PathElement::Key(key), below @ ..]
            if table == "table" && services == "services" =>
        {
            Some((&**key, below))
        }
        _ => None,
    }
}

/// The refused Service, if the error is in a Service.
pub(super) fn service(refused: &FieldError) -> Option<NamespacedName> {
    let key = match refused.path.elements() {
        // The core refuses the key itself.
        [PathElement::Field(table), PathElement::Field(services)] if table == "table" && services == "services" => {
            &refused.found
        }
        _ => split(&refused.path)?.0,
    };
    NamespacedName::parse(key)
}

/// The error in the object that Service `name` was compiled from.
pub(super) fn in_cluster(refused: &FieldError, name: &NamespacedName, cluster: &ClusterState) -> InputError {
    let (reason, fix) = (refused.problem(), refused.error_type.fix());
    let called = format!("Service {name}");
    let Some(source) = cluster.services.get(name) else { return InputError::new(&called, reason, fix) };
    let below = split(&refused.path).map_or(&[][..], |(_, below)| below);
    let field = match below {
        [] => "metadata.name".to_owned(),
        // Endpoints come from other objects.
        [PathElement::Field(endpoints), ..] if endpoints == "endpoints" => "metadata.name".to_owned(),
        below => format!("spec.{}", FieldPath::from(below)),
    };
    source.problem(&called, &field, reason, fix)
}

/// The error in the hand-written configuration or in a command-line option.
pub(super) fn in_base(refused: &FieldError, base: &Base) -> InputError {
    base.problem(&refused.path.to_string(), refused.problem(), refused.error_type.fix())
}
