//! What all sidecars have received, and when.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A resource type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Filter,
    Cluster,
    Endpoints,
    /// Of the filter's own stream: the names of namespaces.
    Namespaces,
    /// Of the filter's own stream: a Service with its endpoints.
    ServiceEndpoints,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Filter, Self::Cluster, Self::Endpoints, Self::Namespaces, Self::ServiceEndpoints];

    pub(crate) fn url(self) -> &'static str {
        match self {
            Self::Filter => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Namespaces => "type.googleapis.com/byname.v1.Namespaces",
            Self::ServiceEndpoints => "type.googleapis.com/byname.v1.Endpoints",
        }
    }

    pub(crate) fn of(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.url() == url)
    }
}

/// A number that no other change of the run has. Addresses keep numbers of earlier parts of a run.
pub(crate) fn next_change() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The counts and times of all sidecars together.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    kinds: [KindCounts; Kind::ALL.len()],
    refused: AtomicU64,
    /// By number.
    changes: Mutex<BTreeMap<usize, ChangeTimes>>,
}

#[derive(Debug, Default)]
struct KindCounts {
    messages: AtomicU64,
    resources: AtomicU64,
    bytes: AtomicU64,
}

/// What was received, of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Received {
    pub(crate) messages: u64,
    pub(crate) resources: u64,
    /// Of whole messages.
    pub(crate) bytes: u64,
}

impl std::ops::Sub for Received {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            resources: self.resources - before.resources,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// One change of endpoints.
#[derive(Clone, Debug)]
struct ChangeTimes {
    made: Instant,
    /// From the change to each receipt of it.
    receipts: Vec<Duration>,
}

/// Times from changes to their receipts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    /// To each receipt, sorted.
    pub(crate) each: Vec<Duration>,
    /// To the last receipt of each change that anybody received, sorted. A change that a later one of its Service overtook
    /// before it was sent counts only in the later one.
    pub(crate) last: Vec<Duration>,
}

impl Recorder {
    pub(crate) fn received(&self, kind: Kind, resources: usize, bytes: usize) {
        if let Some(counts) = self.kinds.get(kind as usize) {
            counts.messages.fetch_add(1, Ordering::Relaxed);
            counts.resources.fetch_add(resources as u64, Ordering::Relaxed);
            counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// The bytes of all messages until now.
    pub(crate) fn bytes(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.count(*kind).bytes).sum()
    }

    /// What was received of this kind until now.
    pub(crate) fn count(&self, kind: Kind) -> Received {
        let Some(counts) = self.kinds.get(kind as usize) else { return Received::default() };
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Received { messages: get(&counts.messages), resources: get(&counts.resources), bytes: get(&counts.bytes) }
    }

    /// A stream was refused, or brought nothing.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refusals(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Begins a change, and returns its number.
    pub(crate) fn begin_change(&self) -> usize {
        let number = next_change();
        self.lock().insert(number, ChangeTimes { made: Instant::now(), receipts: Vec::new() });
        number
    }

    /// A sidecar has received a change.
    pub(crate) fn changed(&self, number: usize) {
        let now = Instant::now();
        if let Some(change) = self.lock().get_mut(&number) {
            change.receipts.push(now - change.made);
        }
    }

    /// The number of changes until now.
    pub(crate) fn changes(&self) -> usize {
        self.lock().len()
    }

    /// The receipts of a change.
    pub(crate) fn receipts(&self, number: usize) -> usize {
        self.lock().get(&number).map_or(0, |change| change.receipts.len())
    }

    /// The times of all changes but the first ones.
    pub(crate) fn latencies(&self, first: usize) -> Latencies {
        let changes = self.lock();
        let changes = || changes.values().skip(first);
        let mut each: Vec<Duration> = changes().flat_map(|change| change.receipts.iter().copied()).collect();
        let mut last: Vec<Duration> = changes().filter_map(|change| change.receipts.iter().max().copied()).collect();
        each.sort_unstable();
        last.sort_unstable();
        Latencies { each, last }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, ChangeTimes>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time at a part of sorted times.
pub(crate) fn quantile(sorted: &[Duration], part: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_changes_after_the_first_ones() {
        let recorder = Recorder::default();
        let (first, second, third) = (recorder.begin_change(), recorder.begin_change(), recorder.begin_change());
        for change in [first, second, second] {
            recorder.changed(change);
        }
        assert_eq!((recorder.receipts(second), recorder.receipts(third)), (2, 0));
        let latencies = recorder.latencies(1);
        assert_eq!((latencies.each.len(), latencies.last.len()), (2, 1), "nobody received the third");
        assert_eq!(latencies.last.first(), latencies.each.last());
    }

    #[test]
    fn a_change_has_a_number_of_its_own_in_the_run() {
        let (recorder, other) = (Recorder::default(), Recorder::default());
        let (first, second) = (recorder.begin_change(), other.begin_change());
        recorder.changed(second);
        assert_eq!(recorder.receipts(first), 0, "the change is another recorder's");
    }

    #[test]
    fn a_quantile_is_one_of_the_times() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(
            [0.5, 0.99, 1.0].map(|part| quantile(&sorted, part)),
            [100, 198, 200].map(|ms| Some(Duration::from_millis(ms)))
        );
        assert_eq!(quantile(&[], 0.5), None);
    }
}
