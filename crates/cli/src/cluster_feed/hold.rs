//! Holds the table while some kinds are current and others are not: a Service with its new port and its old EndpointSlice has
//! no endpoint. No IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{feed::Feed, object::ObjectKind};

/// Longest hold for feeds that alone fail. Otherwise one namespace's missing permission would freeze everybody's endpoints.
const LONGEST: Duration = Duration::from_secs(120);

/// Whether a table may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// All feeds are current, or those that are not were waited for.
    Open,
    /// Some feeds are not current. They are waited for until then.
    Until(Instant),
    /// No feed is current.
    Shut,
}

#[derive(Debug)]
struct Stale {
    since: Instant,
    /// Whether it was waited for long enough.
    is_excused: bool,
}

/// The feeds of Services and EndpointSlices that are not current.
#[derive(Debug)]
pub(super) struct MixHold {
    feeds: BTreeMap<Feed, Option<Stale>>,
    /// When a feed became current while none was.
    some_current_since: Instant,
}

impl MixHold {
    pub(super) fn new(now: Instant) -> Self {
        Self { feeds: BTreeMap::new(), some_current_since: now }
    }

    /// Records that `feed` fails or is listed anew.
    pub(super) fn stale(&mut self, feed: &Feed, now: Instant) {
        if matches!(feed.kind, ObjectKind::Service | ObjectKind::EndpointSlice) {
            let state = self.feeds.entry(feed.clone()).or_default();
            state.get_or_insert(Stale { since: now, is_excused: false });
        }
    }

    /// Records that `feed` is watched.
    pub(super) fn current(&mut self, feed: &Feed, now: Instant) {
        if matches!(feed.kind, ObjectKind::Service | ObjectKind::EndpointSlice) {
            if !self.has_current() {
                self.some_current_since = now;
            }
            self.feeds.insert(feed.clone(), None);
        }
    }

    pub(super) fn state(&self) -> Hold {
        let waited_for = self.feeds.values().flatten().filter(|stale| !stale.is_excused);
        match waited_for.map(|stale| self.until(stale)).max() {
            None => Hold::Open,
            Some(_) if !self.has_current() => Hold::Shut,
            Some(until) => Hold::Until(until),
        }
    }

    /// Gives up on feeds that were waited for long enough, and returns them.
    pub(super) fn excuse(&mut self, now: Instant) -> BTreeSet<Feed> {
        let mut excused = BTreeSet::new();
        if !self.has_current() {
            return excused;
        }
        let some_current_since = self.some_current_since;
        for (feed, state) in &mut self.feeds {
            if let Some(stale) = state
                && !stale.is_excused
                && stale.since.max(some_current_since) + LONGEST <= now
            {
                stale.is_excused = true;
                excused.insert(feed.clone());
            }
        }
        excused
    }

    fn until(&self, stale: &Stale) -> Instant {
        stale.since.max(self.some_current_since) + LONGEST
    }

    fn has_current(&self) -> bool {
        self.feeds.values().any(Option::is_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(kind: ObjectKind) -> Feed {
        Feed { kind, namespace: None, name: None }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_written_until_all_kinds_are_current_again() {
        let (start, services, slices) = (Instant::now(), feed(ObjectKind::Service), feed(ObjectKind::EndpointSlice));
        let mut hold = MixHold::new(start);
        hold.current(&services, start);
        hold.current(&slices, start);
        assert_eq!(hold.state(), Hold::Open);
        hold.stale(&slices, start + SECOND);
        assert_eq!(hold.state(), Hold::Until(start + SECOND + LONGEST));
        hold.stale(&services, start + 2 * SECOND);
        assert_eq!(hold.state(), Hold::Shut);
        assert!(hold.excuse(start + 2 * LONGEST).is_empty(), "an outage of all kinds excuses none");
        // The time counts from when the others are back.
        let back = start + 3 * LONGEST;
        hold.current(&services, back);
        assert_eq!(hold.state(), Hold::Until(back + LONGEST));
        hold.current(&slices, back + SECOND);
        assert_eq!(hold.state(), Hold::Open);
    }

    #[test]
    fn a_kind_that_alone_fails_does_not_hold_up_the_others_for_ever() {
        let (start, services, slices) = (Instant::now(), feed(ObjectKind::Service), feed(ObjectKind::EndpointSlice));
        let mut hold = MixHold::new(start);
        hold.current(&services, start);
        hold.stale(&slices, start);
        assert!(hold.excuse(start + LONGEST - SECOND).is_empty());
        assert_eq!(hold.excuse(start + LONGEST), BTreeSet::from([slices.clone()]));
        assert_eq!((hold.state(), hold.excuse(start + LONGEST).len()), (Hold::Open, 0), "it is told once");
        hold.stale(&slices, start + LONGEST);
        assert_eq!(hold.state(), Hold::Open, "it has not been current in between");
        hold.current(&slices, start + LONGEST);
        hold.stale(&slices, start + 2 * LONGEST);
        assert_eq!(hold.state(), Hold::Until(start + 3 * LONGEST));
    }

    #[test]
    fn the_callers_pod_holds_nothing_up() {
        let start = Instant::now();
        let mut hold = MixHold::new(start);
        hold.current(&feed(ObjectKind::Service), start);
        hold.stale(&feed(ObjectKind::Pod), start);
        assert_eq!(hold.state(), Hold::Open);
    }
}
