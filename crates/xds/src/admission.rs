//! Which streams are served.
//!
//! A server that knows too little refuses streams: a client that loses its stream serves on with what it has, but one that is
//! told less than it knows forgets it.

use std::time::Duration;

use crate::{CloseReason, Limits, OpeningCost};

/// Decides about new streams, and knows whether the server may be behind.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    is_synced: bool,
    is_shutting_down: bool,
    watches_failed_at: Option<Duration>,
    /// When all streams that were let in would be in, one after the other at the rate allowed.
    booked_until: Duration,
}

impl Admission {
    pub(crate) fn synced(&mut self) {
        self.is_synced = true;
    }

    /// The first failure counts: watches that fail again are not younger for it.
    pub(crate) fn watches_failed(&mut self, now: Duration) {
        self.watches_failed_at.get_or_insert(now);
    }

    pub(crate) fn watches_recovered(&mut self) {
        self.watches_failed_at = None;
    }

    pub(crate) fn shutting_down(&mut self) {
        self.is_shutting_down = true;
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.is_shutting_down
    }

    /// Lets a new stream in, beside so many that are open, or says why not.
    pub(crate) fn open(
        &mut self,
        now: Duration,
        streams: usize,
        cost: OpeningCost,
        limits: &Limits,
    ) -> Result<(), CloseReason> {
        if self.is_shutting_down {
            return Err(CloseReason::ShuttingDown);
        }
        if !self.is_synced {
            return Err(CloseReason::NotSynced);
        }
        if streams >= limits.streams {
            return Err(CloseReason::TooManyStreams { limit: limits.streams });
        }
        let per_second = cost.rate(limits.new_streams_per_second);
        self.booked_until =
            book(now, self.booked_until, per_second).ok_or(CloseReason::TooManyNewStreams { per_second })?;
        Ok(())
    }

    /// Whether the source has been behind for a while, so that the server may know less than the one that a client comes from.
    ///
    /// A client with another version of a resource loses nothing by waiting for a better server. Where versions are equal, and where a
    /// client brings none, it has nothing to lose, and is served.
    pub(crate) fn is_stale(&self, now: Duration, limits: &Limits) -> bool {
        self.watches_failed_at.is_some_and(|at| now.saturating_sub(at) >= limits.stale_after)
    }
}

/// Books a place for one more stream at a rate, after those that are booked until then; `None` if a second's worth is booked.
pub(crate) fn book(now: Duration, booked_until: Duration, per_second: u32) -> Option<Duration> {
    let second = Duration::from_secs(1);
    let booked_until = booked_until.max(now).saturating_add(second / per_second.max(1));
    (booked_until <= now.saturating_add(second)).then_some(booked_until)
}

#[cfg(test)]
mod tests {
    use OpeningCost::{Half, Whole};

    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn synced() -> Admission {
        Admission { is_synced: true, ..Admission::default() }
    }

    #[test]
    fn a_server_that_is_not_synced_refuses_streams() {
        let (mut admission, limits) = (Admission::default(), Limits::default());
        assert_eq!(admission.open(at(0), 0, Whole, &limits), Err(CloseReason::NotSynced));
        admission.synced();
        assert_eq!(admission.open(at(0), 0, Whole, &limits), Ok(()));
    }

    #[test]
    fn lets_in_two_hundred_streams_a_second() {
        let (mut admission, limits) = (synced(), Limits::default());
        let mut let_in = |now| (0..1_000).filter(|_| admission.open(now, 0, Whole, &limits).is_ok()).count();
        assert_eq!(let_in(at(0)), 200);
        assert_eq!(let_in(at(100)), 20);
        assert_eq!(let_in(at(1_100)), 200);
        assert_eq!(let_in(at(60_000)), 200, "no credit is saved beyond a second");
    }

    #[test]
    fn lets_in_twice_as_many_streams_that_cost_half() {
        let (mut admission, limits) = (synced(), Limits::default());
        let mut let_in = |now, cost| (0..1_000).filter(|_| admission.open(now, 0, cost, &limits).is_ok()).count();
        assert_eq!(let_in(at(0), Half), 400);
        assert_eq!(let_in(at(500), Half), 200);
        assert_eq!(let_in(at(1_000), Whole), 100, "both take places of one rate");
        assert_eq!(let_in(at(1_000), Half), 0);
        assert_eq!(
            admission.open(at(1_000), 0, Half, &limits),
            Err(CloseReason::TooManyNewStreams { per_second: 400 })
        );
    }

    #[test]
    fn refuses_streams_beyond_the_limit() {
        let (mut admission, limits) = (synced(), Limits { streams: 2, ..Limits::default() });
        assert_eq!(admission.open(at(0), 1, Whole, &limits), Ok(()));
        assert_eq!(admission.open(at(0), 2, Whole, &limits), Err(CloseReason::TooManyStreams { limit: 2 }));
    }

    #[test]
    fn a_server_is_stale_thirty_seconds_after_the_first_failure() {
        let (mut admission, limits) = (synced(), Limits::default());
        admission.watches_failed(at(0));
        admission.watches_failed(at(20_000));
        assert!(!admission.is_stale(at(29_999), &limits));
        assert!(admission.is_stale(at(30_000), &limits));
        admission.watches_recovered();
        assert!(!admission.is_stale(at(30_000), &limits));
    }

    #[test]
    fn a_server_that_stops_refuses_streams() {
        let (mut admission, limits) = (synced(), Limits::default());
        admission.shutting_down();
        assert_eq!(admission.open(at(0), 0, Whole, &limits), Err(CloseReason::ShuttingDown));
    }
}
