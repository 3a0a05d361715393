//! The load balancer: how one endpoint of several is chosen. The choice itself is made by `balance`.

use alloc::boxed::Box;

use crate::{
    text::is_header_name,
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, SimpleLb},
};

/// How one endpoint of several is chosen.
#[derive(Clone, Debug, Default)]
pub(crate) enum LoadBalancer {
    #[default]
    RoundRobin,
    Random,
    LeastRequest,
    /// Consistent hashing of a request header.
    Header(Box<str>),
    /// Consistent hashing of the caller.
    Pod,
}

impl LoadBalancer {
    pub(crate) fn compile(wire: &wire::LoadBalancer, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> Self {
        match (wire.simple, &wire.consistent_hash) {
            (Some(_), Some(_)) => errors.add(at, "", FieldErrorType::ExactlyOneOf("simple or consistentHash")),
            (None | Some(SimpleLb::RoundRobin), None) => {}
            (Some(SimpleLb::Random), None) => return Self::Random,
            (Some(SimpleLb::LeastRequest), None) => return Self::LeastRequest,
            (None, Some(hash)) => match (&hash.http_header_name, hash.use_source_ip) {
                (Some(name), false) => {
                    if !is_header_name(name) {
                        let in_hash = at.field("consistentHash");
                        errors.add(&in_hash.field("httpHeaderName"), name, FieldErrorType::InvalidRequestHeader);
                    }
                    return Self::Header(name.as_str().into());
                }
                (None, true) => return Self::Pod,
                _ => {
                    let fault = FieldErrorType::ExactlyOneOf("httpHeaderName or useSourceIp");
                    errors.add(&at.field("consistentHash"), "", fault);
                }
            },
        }
        Self::RoundRobin
    }

    /// Whether the choice depends on an affinity key.
    pub(crate) fn needs_key(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Pod)
    }

    /// The name that a trace shows.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN",
            Self::Random => "RANDOM",
            Self::LeastRequest => "LEAST_REQUEST",
            Self::Header(_) => "consistentHash of a header",
            Self::Pod => "consistentHash of the pod",
        }
    }
}
