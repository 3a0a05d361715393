//! Errors of the core, with the place in the input that each comes from.

use byname_core::{
    FieldError, FieldErrorType, FieldPath,
    limits::{MAX_CLUSTER_IPS, MAX_SERVICE_ENDPOINTS, MAX_SERVICE_PORTS},
    wire::PathElement,
};

use super::base::Base;
use crate::{
    input::{Field, InputError},
    kubernetes::{ClusterState, NamespacedName, ObjectError, ObjectName, ServiceView},
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
    NamespacedName::parse(split(&refused.path)?.0)
}

/// The error in the input of Service `name`: its object, or its entry in the hand-written configuration.
pub(super) fn in_service(
    refused: &FieldError,
    name: &NamespacedName,
    cluster: &ClusterState,
    base: &Base,
) -> InputError {
    let below = split(&refused.path).map_or(&[][..], |(_, below)| below);
    match below {
        // Kubernetes has no such fields.
        [PathElement::Field(own), ..] if ["alias", "subsets", "steering"].contains(&&**own) => in_base(refused, base),
        below => match cluster.service(name) {
            Some(service) => in_object(refused, below, service).into(),
            None => InputError::new(&format!("Service {name}"), refused.problem(), fix(refused)),
        },
    }
}

/// The error in the object of a Service. `below` are the steps of the error's path in the Service.
fn in_object(refused: &FieldError, below: &[PathElement], service: ServiceView<'_>) -> ObjectError {
    let field = match below {
        [] if refused.error_type == FieldErrorType::ExternalNameRequired => Field::from(["spec", "externalName"]),
        [] => Field::from(["metadata", "name"]),
        // Endpoints come from other objects.
        [PathElement::Field(endpoints), ..] if endpoints == "endpoints" => Field::from(["metadata", "name"]),
        [PathElement::Field(ips), ..] if ips == "clusterIPs" && service.spec.cluster_ips.is_none() => {
            Field::from(["spec", "clusterIP"])
        }
        below => Field::from(["spec"]).below(below),
    };
    let object = ObjectName::of("Service", service.name);
    service.source.problem(object, field, refused.problem(), fix(refused))
}

/// What to do about a refused value of a Service. A smaller table does not help if the Service alone has too many entries.
fn fix(refused: &FieldError) -> &'static str {
    match refused.error_type {
        FieldErrorType::TooMany(MAX_SERVICE_PORTS) => {
            "give the Service fewer ports, or spread them over several Services"
        }
        FieldErrorType::TooMany(MAX_CLUSTER_IPS) => "keep one address of each IP family",
        FieldErrorType::TooMany(MAX_SERVICE_ENDPOINTS) => "spread the pods over several Services",
        error_type => error_type.fix(),
    }
}

/// The error that the core finds in a Service of its own, without a hand-written configuration.
pub(super) fn in_service_alone(refused: &FieldError, service: ServiceView<'_>) -> ObjectError {
    in_object(refused, split(&refused.path).map_or(&[][..], |(_, below)| below), service)
}

/// The error in the hand-written configuration or in a command-line option.
pub(super) fn in_base(refused: &FieldError, base: &Base) -> InputError {
    base.problem(Field::default().below(refused.path.elements()), refused.problem(), refused.error_type.fix())
}
