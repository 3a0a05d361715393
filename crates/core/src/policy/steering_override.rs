//! The changes of one Service to the configuration's steering.

use alloc::boxed::Box;

use super::{load_balancer::LoadBalancer, outlier_detection::OutlierDetection, template::Template};
use crate::{
    text::is_header_value,
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, RewriteAuthority, SteeringMode},
};

/// What one Service changes of the configuration's steering. `None`: as configured.
#[derive(Clone, Debug)]
pub(crate) struct SteeringOverride {
    pub(crate) mode: Option<SteeringMode>,
    pub(crate) rewrite: Option<RewriteAuthority>,
    pub(crate) cluster: Option<Template>,
    /// The value of `{subset}`.
    pub(crate) subset: Box<str>,
    pub(crate) load_balancer: Option<LoadBalancer>,
    /// `Some(None)`: no endpoint is ever ejected.
    pub(crate) outlier_detection: Option<Option<OutlierDetection>>,
}

impl SteeringOverride {
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::ServiceSteering, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> Self {
        if !is_header_value(&wire.subset) {
            errors.add(&at.field("subset"), &wire.subset, FieldErrorType::InvalidHeaderValue);
        }
        let in_cluster = at.field("cluster");
        Self {
            mode: wire.by,
            rewrite: wire.rewrite_authority,
            cluster: wire.cluster.as_ref().map(|text| Template::compile(text, &in_cluster, errors)),
            subset: wire.subset.as_str().into(),
            load_balancer: wire
                .load_balancer
                .as_ref()
                .map(|balancer| LoadBalancer::compile(balancer, &at.field("loadBalancer"), errors)),
            outlier_detection: wire.outlier_detection.as_ref().map(|outlier_detection| {
                OutlierDetection::compile(outlier_detection, &at.field("outlierDetection"), errors)
            }),
        }
    }
}
