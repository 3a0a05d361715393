//! Tells of failures and recoveries: feeds that fail together for the same cause give one line. No IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    feed::{Feed, called, permissions},
    progress::WentBack,
};
use crate::kube_api::Failure;

/// Time in which the same news of other feeds joins the first.
const TOGETHER: Duration = Duration::from_secs(1);

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Warning(String),
    Note(String),
}

#[derive(Debug)]
struct Failed {
    failure: Failure,
    feeds: BTreeSet<Feed>,
}

/// News that was not told yet.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    /// By the failure's key, and whether its feeds are listed.
    failures: BTreeMap<(String, bool), Failed>,
    went_back: Option<(WentBack, BTreeSet<Feed>)>,
    recovered: BTreeSet<Feed>,
    due: Option<Instant>,
}

impl Announcer {
    /// Records the failure of a feed, whose objects may be listed.
    pub(super) fn failed(&mut self, feed: &Feed, failure: Failure, is_listed: bool, now: Instant) {
        self.recovered.remove(feed);
        let key = (failure.key.clone(), is_listed);
        self.failures
            .entry(key)
            .or_insert_with(|| Failed { failure, feeds: BTreeSet::new() })
            .feeds
            .insert(feed.clone());
        self.due.get_or_insert(now + TOGETHER);
    }

    /// Records that a feed is watched again.
    pub(super) fn recovered(&mut self, feed: &Feed, now: Instant) {
        self.recovered.insert(feed.clone());
        self.due.get_or_insert(now + TOGETHER);
    }

    /// Records that the API's resourceVersion went back.
    pub(super) fn went_back(&mut self, feed: &Feed, back: WentBack, now: Instant) {
        let (_, feeds) = self.went_back.get_or_insert((back, BTreeSet::new()));
        feeds.insert(feed.clone());
        self.due.get_or_insert(now + TOGETHER);
    }

    /// When the news is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes all news, as lines for the log.
    pub(super) fn take(&mut self) -> Vec<Line> {
        self.due = None;
        let mut lines = Vec::new();
        for ((_, is_listed), Failed { failure, feeds }) in std::mem::take(&mut self.failures) {
            let meanwhile = match is_listed {
                true => "the last known objects stay in use",
                false => "makes nothing of them before it succeeds",
            };
            let advice = if failure.is_forbidden() { format!("; {}", permissions(&feeds)) } else { String::new() };
            let text = failure.text;
            lines.push(Line::Warning(format!("{}: {text}{advice}; byname retries, and {meanwhile}", called(&feeds))));
        }
        if let Some((WentBack { from, to }, feeds)) = self.went_back.take() {
            lines.push(Line::Warning(format!(
                "{}: the API's resourceVersion went back from {from} to {to}, as when etcd is restored from a snapshot or \
                 another cluster has this address; listing anew",
                called(&feeds)
            )));
        }
        let recovered = std::mem::take(&mut self.recovered);
        if !recovered.is_empty() {
            lines.push(Line::Note(format!("{}: watching again", called(&recovered))));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{super::object::ObjectKind, *};

    fn feed(kind: ObjectKind) -> Feed {
        Feed { kind, namespace: None, name: None }
    }

    #[test]
    fn the_same_failure_of_two_kinds_is_one_line() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        let failure = || Failure::unavailable("the API is away".to_owned());
        for kind in [ObjectKind::EndpointSlice, ObjectKind::Service] {
            announcer.failed(&feed(kind), failure(), true, now);
        }
        assert_eq!(announcer.due(), Some(now + TOGETHER));
        let said = "Services, EndpointSlices: the API is away; byname retries, and the last known objects stay in use";
        assert_eq!(announcer.take(), [Line::Warning(said.to_owned())]);
        for kind in [ObjectKind::EndpointSlice, ObjectKind::Service] {
            announcer.recovered(&feed(kind), now);
        }
        assert_eq!(announcer.take(), [Line::Note("Services, EndpointSlices: watching again".to_owned())]);
        assert_eq!((announcer.take(), announcer.due()), (vec![], None));
    }

    #[test]
    fn different_failures_are_told_apart() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        announcer.failed(&feed(ObjectKind::Service), Failure::unavailable("one".to_owned()), true, now);
        announcer.failed(&feed(ObjectKind::Pod), Failure::unavailable("two".to_owned()), true, now);
        assert_eq!(announcer.take().len(), 2);
    }

    #[test]
    fn time_that_went_back_is_one_line_for_all_kinds() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        for kind in [ObjectKind::EndpointSlice, ObjectKind::Service] {
            announcer.went_back(&feed(kind), WentBack { from: 9, to: 4 }, now);
        }
        let lines = announcer.take();
        assert!(matches!(&lines[..], [Line::Warning(text)] if text.contains("went back from 9 to 4")), "{lines:?}");
    }
}
