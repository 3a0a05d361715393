//! The rules of a configuration, compiled: what ExternalName Services may resolve to, what replaces a missing Service, how
//! single Services steer and balance requests, and what becomes of unknown names.
//!
//! A rule is checked and compiled once, when a configuration is read; a request only looks it up. Nothing here knows the
//! Services of a table. It may use `wire` and everything below it.

use alloc::boxed::Box;

use crate::{
    names::Locality,
    wire::{self, FieldErrors, OnTimeout, SteeringMode, UnknownNames},
};

mod external_names;
mod fallback;
mod load_balancer;
mod modes;
mod outlier_detection;
mod steering_override;
mod template;

pub use external_names::is_refused_target;

pub(crate) use external_names::ExternalNames;
pub(crate) use fallback::{Fallback, FallbackTarget, compile_baseline};
pub(crate) use load_balancer::LoadBalancer;
pub(crate) use modes::Modes;
pub(crate) use outlier_detection::OutlierDetection;
pub(crate) use steering_override::SteeringOverride;
pub(crate) use template::{Placeholder, Template};

use fallback::Fallbacks;

/// The rules that hold for every Service of a table, and the caller's locality, by which a table chooses endpoints.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The cluster domain.
    pub(crate) zone: Box<str>,
    pub(crate) unknown_names: UnknownNames,
    /// What becomes of names that the server has not answered.
    pub(crate) on_timeout: OnTimeout,
    /// `table.singleMachine`: loopback and link-local endpoints are kept.
    pub(crate) single_machine: bool,
    pub(crate) caller: Locality,
    /// How requests are steered, unless a Service overrides it.
    pub(crate) steering_mode: SteeringMode,
    pub(crate) external_names: ExternalNames,
    pub(crate) fallbacks: Fallbacks,
}

impl Policy {
    #[inline(never)]
    pub(crate) fn compile<S>(
        wire: &wire::Config<S>,
        zone: Box<str>,
        caller: Locality,
        errors: &mut FieldErrors,
    ) -> Self {
        let external_names = ExternalNames::compile(&wire.external_names, errors);
        let fallbacks = fallback::compile(&wire.fallback, &zone, &external_names, errors);
        Self {
            zone,
            unknown_names: wire.unknown_names,
            on_timeout: wire.server.as_ref().map(|server| server.on_timeout).unwrap_or_default(),
            single_machine: wire.table.single_machine,
            caller,
            steering_mode: wire.steering.by,
            external_names,
            fallbacks,
        }
    }
}
