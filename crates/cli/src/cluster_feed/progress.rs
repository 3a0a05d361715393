//! Decides what a feed does next: list, watch, or wait. No IO.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    daemon::backoff::{self, Backoff, random},
    kube_api::{Cause, Failure},
};

/// After an outage of this long the objects are listed anew: the cluster may be another one, or have been restored.
const OUTAGE: Duration = Duration::from_secs(15);
/// Time between two lists of a watch that runs well, give or take a fifth: a change that was lost is not lost for ever.
const RELIST: Duration = Duration::from_secs(30 * 60);

/// The next step of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// List all objects.
    List,
    /// Ask for the API's current resourceVersion, because a watch that begins after it is answered and hears nothing.
    Probe,
    /// Watch from this resourceVersion on.
    Watch(String),
}

/// The wait before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    None,
    /// Ends early once the API has answered another feed.
    Backoff(Duration),
    /// The API asked for it.
    Asked(Duration),
}

/// The API's resourceVersion is lower than one that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WentBack {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// How far a feed is.
#[derive(Debug)]
pub(super) struct Progress {
    /// Where the watch goes on; `None` to list.
    version: Option<String>,
    /// The resourceVersion of the last list or event. They can be compared as numbers (KEP-5504).
    newest: Option<u64>,
    /// Whether the API is known to have reached `version`, since the last watch ended.
    is_probed: bool,
    failing_since: Option<Instant>,
    /// Whether a list succeeded since then. One list for an outage is enough.
    has_listed: bool,
    /// Number of times that a resourceVersion had expired, since the last event or end of a watch.
    expired: u32,
    backoff: Backoff,
    /// Cause of the last failure. The wait for another one begins short again.
    cause: Option<Cause>,
    relist_at: Instant,
}

impl Progress {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            version: None,
            newest: None,
            is_probed: false,
            failing_since: None,
            has_listed: false,
            expired: 0,
            backoff: Backoff::default(),
            cause: None,
            relist_at: now + RELIST,
        }
    }

    pub(super) fn step(&self, now: Instant) -> Step {
        let is_long = |since: Instant| now.saturating_duration_since(since) >= OUTAGE;
        let was_away = self.failing_since.is_some_and(is_long) && !self.has_listed;
        match &self.version {
            Some(version) if now < self.relist_at && !was_away => match self.is_probed {
                true => Step::Watch(version.clone()),
                false => Step::Probe,
            },
            _ => Step::List,
        }
    }

    /// Whether the next list is one that only the time asks for: every change until now was heard of.
    pub(super) fn is_scheduled(&self) -> bool {
        self.version.is_some() && self.failing_since.is_none()
    }

    /// When a list is due.
    pub(super) fn relist_at(&self) -> Instant {
        self.relist_at
    }

    /// Makes the next step a list.
    pub(super) fn relist(&mut self) {
        self.version = None;
    }

    /// Records a complete list.
    pub(super) fn listed(&mut self, version: String, now: Instant) -> Option<WentBack> {
        let back = self.see(&version);
        self.version = Some(version);
        self.is_probed = true;
        self.has_listed = self.failing_since.is_some();
        self.backoff.reset();
        self.relist_at = now + RELIST.mul_f64(0.8 + 0.4 * random());
        back
    }

    /// Records the API's current resourceVersion.
    pub(super) fn probed(&mut self, version: &str) -> Option<WentBack> {
        self.is_probed = true;
        // The events up to this version are still to come.
        let from = self.newest;
        let back = self.see(version);
        match back {
            Some(_) => self.version = None,
            None => self.newest = from,
        }
        back
    }

    /// Records that the headers of a watch came.
    pub(super) fn answered(&mut self) {
        self.failing_since = None;
        self.has_listed = false;
    }

    /// Records an event or a bookmark.
    pub(super) fn heard(&mut self, version: String) -> Option<WentBack> {
        self.expired = 0;
        self.backoff.reset();
        let back = self.see(&version);
        self.version = back.is_none().then_some(version);
        back
    }

    /// Records that a watch ended without an error, as each one does.
    pub(super) fn ended(&mut self) {
        self.expired = 0;
        self.is_probed = false;
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, failure: &Failure, now: Instant) -> Wait {
        self.is_probed = false;
        if self.cause.replace(failure.cause) != Some(failure.cause) {
            self.backoff.reset();
        }
        let longest = match failure.cause {
            Cause::Expired => {
                self.version = None;
                // It is an answer, and a list is what it asks for; but not over and over.
                self.expired = self.expired.saturating_add(1);
                if self.expired == 1 {
                    return Wait::None;
                }
                backoff::SHORT
            }
            Cause::Unavailable => backoff::SHORT,
            Cause::Denied => backoff::LONG,
        };
        if failure.cause != Cause::Expired {
            self.failing_since.get_or_insert(now.checked_sub(failure.silence).unwrap_or(now));
        }
        let wait = self.backoff.next(longest);
        match failure.retry_after {
            Some(asked) => Wait::Asked(asked.max(wait)),
            None => Wait::Backoff(wait),
        }
    }

    fn see(&mut self, version: &str) -> Option<WentBack> {
        let to = version.parse().ok()?;
        let from = self.newest.replace(to)?;
        (to < from).then_some(WentBack { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(cause: Cause) -> Failure {
        Failure { cause, ..Failure::unavailable(String::new()) }
    }

    fn watching(now: Instant) -> Progress {
        let mut progress = Progress::new(now);
        assert_eq!(progress.step(now), Step::List);
        assert_eq!(progress.listed("100".to_owned(), now), None);
        assert_eq!(progress.step(now), Step::Watch("100".to_owned()));
        progress.answered();
        progress
    }

    #[test]
    fn a_watch_that_ends_goes_on_where_it_was() {
        let now = Instant::now();
        let mut progress = watching(now);
        assert_eq!(progress.heard("104".to_owned()), None);
        progress.ended();
        assert_eq!(progress.step(now), Step::Probe);
        assert_eq!(progress.probed("110"), None);
        assert_eq!(progress.step(now), Step::Watch("104".to_owned()));
        assert_eq!(progress.heard("107".to_owned()), None, "an event that was missed is no step back");
    }

    #[test]
    fn time_that_went_back_is_noticed_by_every_answer() {
        let now = Instant::now();
        let back = Some(WentBack { from: 100, to: 90 });
        let mut by_probe = watching(now);
        by_probe.ended();
        assert_eq!((by_probe.probed("90"), by_probe.step(now)), (back, Step::List));
        assert_eq!(by_probe.listed("91".to_owned(), now), None, "it is told once");
        let mut by_event = watching(now);
        assert_eq!((by_event.heard("90".to_owned()), by_event.step(now)), (back, Step::List));
        let mut by_list = watching(now);
        assert_eq!(by_list.failed(&failure(Cause::Expired), now), Wait::None);
        assert_eq!(by_list.listed("90".to_owned(), now), back);
        assert_eq!(by_list.step(now), Step::Watch("90".to_owned()));
    }

    #[test]
    fn an_outage_of_fifteen_seconds_ends_with_one_list() {
        let now = Instant::now();
        let mut progress = watching(now);
        progress.failed(&failure(Cause::Unavailable), now);
        assert_eq!(progress.step(now + OUTAGE - Duration::from_secs(1)), Step::Probe);
        let later = now + OUTAGE;
        assert_eq!(progress.step(later), Step::List);
        progress.listed("120".to_owned(), later);
        progress.failed(&failure(Cause::Denied), later);
        assert_eq!(progress.step(later + 2 * OUTAGE), Step::Probe, "a watch that is denied lists once");
        // A silent connection has been an outage since it fell silent.
        let mut silent = watching(now);
        silent.failed(&Failure::silent(Duration::from_secs(150)), now + Duration::from_secs(150));
        assert_eq!(silent.step(now + Duration::from_secs(150)), Step::List);
    }

    #[test]
    fn a_list_is_due_every_half_hour() {
        let now = Instant::now();
        let progress = watching(now);
        let after = progress.relist_at() - now;
        assert!(after >= RELIST.mul_f64(0.8) && after <= RELIST.mul_f64(1.2), "{after:?}");
        assert_eq!(progress.step(progress.relist_at()), Step::List);
    }

    #[test]
    fn only_a_list_that_the_time_asks_for_is_scheduled() {
        let now = Instant::now();
        assert!(!Progress::new(now).is_scheduled(), "the first one");
        let due = watching(now);
        assert!(due.step(due.relist_at()) == Step::List && due.is_scheduled());
        let after = |change: &dyn Fn(&mut Progress)| {
            let mut progress = watching(now);
            change(&mut progress);
            progress.is_scheduled()
        };
        assert!(after(&|progress| progress.ended()), "each watch ends at some time");
        assert!(!after(&|progress| progress.relist()), "somebody doubts what is known");
        assert!(!after(&|progress| _ = progress.heard("90".to_owned())), "time went back");
        for cause in [Cause::Expired, Cause::Unavailable, Cause::Denied] {
            assert!(!after(&|progress| _ = progress.failed(&failure(cause), now)), "{cause:?}");
        }
    }

    #[test]
    fn only_an_expiry_that_follows_an_expiry_waits() {
        let now = Instant::now();
        let mut progress = watching(now);
        let gone = failure(Cause::Expired);
        assert_eq!((progress.failed(&gone, now), progress.step(now)), (Wait::None, Step::List));
        progress.listed("120".to_owned(), now);
        progress.answered();
        assert!(matches!(progress.failed(&gone, now), Wait::Backoff(_)));
        progress.listed("121".to_owned(), now);
        progress.heard("122".to_owned());
        assert_eq!(progress.failed(&gone, now), Wait::None);
    }

    #[test]
    fn a_server_in_trouble_is_asked_every_four_seconds_and_one_that_refuses_every_thirty() {
        let now = Instant::now();
        for (cause, longest) in [(Cause::Unavailable, 4), (Cause::Denied, 30)] {
            let (mut progress, longest) = (watching(now), Duration::from_secs(longest));
            let waits = (0..50).map(|_| match progress.failed(&failure(cause), now) {
                Wait::Backoff(wait) => wait,
                Wait::None | Wait::Asked(_) => Duration::MAX,
            });
            let most = waits.max().unwrap_or_default();
            assert!(most <= longest && most > longest / 2, "{cause:?}: {most:?}");
        }
        let asked = Failure { retry_after: Some(Duration::from_secs(7)), ..failure(Cause::Unavailable) };
        assert_eq!(watching(now).failed(&asked, now), Wait::Asked(Duration::from_secs(7)));
    }
}
