//! Passive health: which endpoints are left alone for a while, going by how their requests ended.
//!
//! So many failures in a row eject an endpoint, for a time that grows with each ejection that follows another; but never more
//! of a set than a share of it, and never the last one. The words are those of Envoy's outlier detection and Istio's
//! DestinationRule.

use crate::{
    limits::{MAX_EJECTION_NANOSECONDS, MAX_EJECTION_TIME_SECONDS},
    problem::{Fault, Place, Problems},
    wire,
};

const NANOSECONDS: u64 = 1_000_000_000;

/// What ejects an endpoint, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outliers {
    failures: u32,
    base_nanoseconds: u64,
    percent: u32,
}

/// How one endpoint has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Health {
    /// In a row.
    failures: u32,
    /// One after another.
    ejections: u32,
    /// When the last ejection is over.
    until: u64,
    is_ejected: bool,
    /// When it last failed.
    failed_at: u64,
}

impl Outliers {
    /// `None`: nothing is ever ejected.
    pub(crate) fn compile(wire: &wire::OutlierDetection, at: &Place<'_>, problems: &mut Problems) -> Option<Self> {
        if !(1..=MAX_EJECTION_TIME_SECONDS).contains(&wire.base_ejection_time_seconds) {
            let at = at.field("baseEjectionTimeSeconds");
            problems.add(&at, wire.base_ejection_time_seconds, Fault::NotUpTo(MAX_EJECTION_TIME_SECONDS));
        }
        if !(1..=100).contains(&wire.max_ejection_percent) {
            problems.add(&at.field("maxEjectionPercent"), wire.max_ejection_percent, Fault::NotUpTo(100));
        }
        (wire.consecutive5xx_errors > 0).then(|| Self {
            failures: wire.consecutive5xx_errors,
            base_nanoseconds: u64::from(wire.base_ejection_time_seconds) * NANOSECONDS,
            percent: wire.max_ejection_percent,
        })
    }

    /// How many of so many endpoints may be ejected at once.
    pub(crate) fn most_of(self, endpoints: u32) -> u32 {
        let share = u64::from(endpoints) * u64::from(self.percent) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1).min(endpoints.saturating_sub(1))
    }

    fn time(self, ejections: u32) -> u64 {
        self.base_nanoseconds.saturating_mul(u64::from(ejections)).min(MAX_EJECTION_NANOSECONDS)
    }
}

impl Health {
    /// Whether it is ejected at this time. One whose time is over is not any more: see [`Health::end_ejection`].
    pub(crate) fn is_ejected(&self, now: u64) -> bool {
        // An end that is further away than any ejection lasts was set before the clock was set back.
        self.is_ejected && (1..=MAX_EJECTION_NANOSECONDS).contains(&self.until.saturating_sub(now))
    }

    /// Says whether an ejection has just come to its end.
    pub(crate) fn end_ejection(&mut self, now: u64) -> bool {
        let is_over = self.is_ejected && !self.is_ejected(now);
        if is_over {
            // What was under way when it was ejected may have failed since: it begins anew.
            (self.is_ejected, self.failures) = (false, 0);
        }
        is_over
    }

    /// Whether nothing is left to remember.
    pub(crate) fn is_clean(&self) -> bool {
        self.failures == 0 && self.ejections == 0
    }

    /// Whether what there is to remember is so long ago that it means nothing any more: endpoints fail most when they go, and
    /// most that went never come back.
    pub(crate) fn is_old(&self, now: u64) -> bool {
        !self.is_ejected(now) && now.abs_diff(self.failed_at.max(self.until)) > MAX_EJECTION_NANOSECONDS
    }

    /// A request went well.
    pub(crate) fn succeeded(&mut self, now: u64, outliers: Outliers) {
        self.failures = 0;
        // As long as it was left alone it has to do well, before that is forgotten.
        if now.saturating_sub(self.until) >= outliers.time(self.ejections) {
            self.ejections = 0;
        }
    }

    /// A request failed: says whether that was once too often.
    pub(crate) fn failed(&mut self, now: u64, outliers: Outliers) -> bool {
        self.failed_at = now;
        self.failures = self.failures.saturating_add(1);
        self.failures >= outliers.failures
    }

    /// There is no room for one more that is ejected: it is asked anew when it has failed as often again.
    pub(crate) fn stays(&mut self) {
        self.failures = 0;
    }

    pub(crate) fn eject(&mut self, now: u64, outliers: Outliers) {
        self.failures = 0;
        self.ejections = self.ejections.saturating_add(1);
        self.until = now.saturating_add(outliers.time(self.ejections));
        self.is_ejected = true;
    }
}
