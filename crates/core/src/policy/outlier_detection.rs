//! The thresholds of outlier detection, in the terms of Envoy's outlier detection and Istio's DestinationRule. `balance` counts
//! the failures.

use crate::{
    limits::{MAX_EJECTION_NANOSECONDS, MAX_EJECTION_TIME_SECONDS},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef},
};

const NANOSECONDS: u64 = 1_000_000_000;

/// When an endpoint is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutlierDetection {
    pub(crate) consecutive_failures: u32,
    base_ejection_time_nanoseconds: u64,
    max_ejection_percent: u32,
}

impl OutlierDetection {
    /// Returns `None` where no endpoint is ever ejected.
    pub(crate) fn compile(
        wire: &wire::OutlierDetection,
        at: &FieldPathRef<'_>,
        errors: &mut FieldErrors,
    ) -> Option<Self> {
        if !(1..=MAX_EJECTION_TIME_SECONDS).contains(&wire.base_ejection_time_seconds) {
            let at = at.field("baseEjectionTimeSeconds");
            errors.add(&at, wire.base_ejection_time_seconds, FieldErrorType::OutOfRange(MAX_EJECTION_TIME_SECONDS));
        }
        if !(1..=100).contains(&wire.max_ejection_percent) {
            errors.add(&at.field("maxEjectionPercent"), wire.max_ejection_percent, FieldErrorType::OutOfRange(100));
        }
        (wire.consecutive5xx_errors > 0).then(|| Self {
            consecutive_failures: wire.consecutive5xx_errors,
            base_ejection_time_nanoseconds: u64::from(wire.base_ejection_time_seconds) * NANOSECONDS,
            max_ejection_percent: wire.max_ejection_percent,
        })
    }

    /// The number of endpoints, of `endpoints` in all, that may be ejected at once: at least one, but never all.
    pub(crate) fn max_ejected(self, endpoints: u32) -> u32 {
        let share = u64::from(endpoints) * u64::from(self.max_ejection_percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1).min(endpoints.saturating_sub(1))
    }

    /// The duration of the ejection after `ejections - 1` others in a row, in nanoseconds.
    pub(crate) fn ejection_time(self, ejections: u32) -> u64 {
        self.base_ejection_time_nanoseconds.saturating_mul(u64::from(ejections)).min(MAX_EJECTION_NANOSECONDS)
    }
}
