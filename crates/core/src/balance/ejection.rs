//! Outlier detection: ejects endpoints whose requests fail.
//!
//! An endpoint is ejected after a number of consecutive failures, for a time that grows with each ejection in a row. At most a
//! share of a set is ejected, and never the whole set. The thresholds are in `policy::outlier_detection`.

use crate::{limits::MAX_EJECTION_NANOSECONDS, policy::OutlierDetection};

/// The health of one endpoint, as its requests show it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndpointHealth {
    /// Consecutive failures.
    failures: u32,
    /// Ejections in a row.
    ejections: u32,
    /// The end of the last ejection, in nanoseconds.
    until: u64,
    is_ejected: bool,
    /// The time of the last failure, in nanoseconds.
    failed_at: u64,
}

impl EndpointHealth {
    /// Whether the endpoint is ejected at `now`. An ejection that is over no longer counts: see
    /// [`EndpointHealth::end_ejection`].
    pub(super) fn is_ejected(&self, now: u64) -> bool {
        // An end further away than the longest ejection means that the clock was set back.
        self.is_ejected && (1..=MAX_EJECTION_NANOSECONDS).contains(&self.until.saturating_sub(now))
    }

    /// Ends an ejection that is over at `now`, and returns whether there was one.
    pub(super) fn end_ejection(&mut self, now: u64) -> bool {
        let is_over = self.is_ejected && !self.is_ejected(now);
        if is_over {
            // Requests that were open when the endpoint was ejected may have failed since: the count starts again.
            (self.is_ejected, self.failures) = (false, 0);
        }
        is_over
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_clean(&self) -> bool {
        self.failures == 0 && self.ejections == 0
    }

    /// Whether the last failure and ejection are too long ago to matter: endpoints fail most when they go away, and most of them
    /// never return.
    pub(super) fn is_old(&self, now: u64) -> bool {
        !self.is_ejected(now) && now.abs_diff(self.failed_at.max(self.until)) > MAX_EJECTION_NANOSECONDS
    }

    /// Records a request that succeeded.
    pub(super) fn succeeded(&mut self, now: u64, outlier_detection: OutlierDetection) {
        self.failures = 0;
        // Earlier ejections are forgotten once the endpoint has done well for as long as it was ejected.
        if now.saturating_sub(self.until) >= outlier_detection.ejection_time(self.ejections) {
            self.ejections = 0;
        }
    }

    /// Records a request that failed, and returns whether the threshold is reached.
    pub(super) fn failed(&mut self, now: u64, outlier_detection: OutlierDetection) -> bool {
        self.failed_at = now;
        self.failures = self.failures.saturating_add(1);
        self.failures >= outlier_detection.consecutive_failures
    }

    /// Keeps an endpoint in use because too many others are ejected. Its failures are counted anew.
    pub(super) fn keep(&mut self) {
        self.failures = 0;
    }

    pub(super) fn eject(&mut self, now: u64, outlier_detection: OutlierDetection) {
        self.failures = 0;
        self.ejections = self.ejections.saturating_add(1);
        self.until = now.saturating_add(outlier_detection.ejection_time(self.ejections));
        self.is_ejected = true;
    }
}
