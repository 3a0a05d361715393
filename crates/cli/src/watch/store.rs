//! The cluster's state, built from the API's events.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    sync::Arc,
};

use kube::runtime::watcher::Event;

use super::{
    metrics::{Metrics, of_kind},
    object::{Depth, Kept, ObjectKind, WatchedObject},
};
use crate::{
    input::{InputError, SourceLocation},
    kubernetes::{self, ClusterState, NamespacedName, Sourced},
    output,
};

/// The objects of one watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Feed {
    pub(super) kind: ObjectKind,
    /// `None` for all.
    pub(super) namespace: Option<String>,
    /// `None` for all.
    pub(super) name: Option<String>,
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.name();
        match (&self.namespace, &self.name) {
            (None, None) => write!(f, "{kind}s"),
            (Some(namespace), None) => write!(f, "{kind}s of namespace {namespace}"),
            (None, Some(name)) => write!(f, "{kind} {name}"),
            (Some(namespace), Some(name)) => write!(f, "{kind} {namespace}/{name}"),
        }
    }
}

/// A failed list or watch.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error, as text for people.
    pub(super) text: String,
    /// Whether it is routine: the resource version expired.
    pub(super) is_usual: bool,
}

/// State of a feed.
#[derive(Debug, Default)]
struct FeedState {
    is_listed: bool,
    /// The list that is being read. The old objects stay in use until it is complete.
    listing: Option<BTreeMap<NamespacedName, Result<Kept, InputError>>>,
    unreadable: BTreeMap<NamespacedName, InputError>,
    trouble: Option<String>,
}

/// The watched objects.
pub(super) struct Store {
    cluster: ClusterState,
    feeds: BTreeMap<Feed, FeedState>,
    /// The caller's pod.
    pod: Option<NamespacedName>,
    /// Whether subsets need the labels of endpoints' pods.
    has_pods: bool,
    place: SourceLocation,
    metrics: Arc<Metrics>,
}

impl Store {
    pub(super) fn new(pod: Option<NamespacedName>, has_pods: bool, metrics: Arc<Metrics>) -> Self {
        // A list is complete: a Service without slices has no endpoints.
        let cluster = ClusterState { knows_all_slices: true, ..ClusterState::default() };
        let feeds = BTreeMap::new();
        Self { cluster, feeds, pod, has_pods, place: kubernetes::from_api(), metrics }
    }

    /// Adds a feed, of which nothing is listed yet.
    pub(super) fn expect(&mut self, feed: Feed) {
        let kind = of_kind(feed.kind.name());
        drop(self.metrics.watch_errors.get_or_create(&kind));
        drop(self.metrics.watch_restarts.get_or_create(&kind));
        self.feeds.insert(feed, FeedState::default());
    }

    /// Removes a feed and its objects.
    pub(super) fn forget(&mut self, feed: &Feed) {
        self.feeds.remove(feed);
        for name in self.names(feed) {
            self.remove(feed.kind, &name);
        }
        self.count_failing();
    }

    /// The cluster, once every feed is listed.
    pub(super) fn cluster(&self) -> Option<&ClusterState> {
        self.feeds.values().all(|state| state.is_listed).then_some(&self.cluster)
    }

    /// The node of the caller's pod.
    pub(super) fn node_of_pod(&self) -> Option<&str> {
        self.cluster.pods.get(self.pod.as_ref()?)?.object.node.as_deref()
    }

    /// Objects that cannot be read, and are ignored.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &InputError> {
        self.feeds.values().flat_map(|state| state.unreadable.values())
    }

    /// Records a failed list or watch, which is retried.
    pub(super) fn failed(&mut self, feed: &Feed, failure: Failure) {
        self.metrics.watch_errors.get_or_create(&of_kind(feed.kind.name())).inc();
        let Some(state) = self.feeds.get_mut(feed) else { return };
        if !failure.is_usual && state.trouble.as_ref() != Some(&failure.text) {
            let meanwhile = if state.is_listed {
                "the last known objects stay in use"
            } else {
                "nothing is written until it succeeds"
            };
            output::warn(&format!("{feed}: {}; retrying, {meanwhile}", failure.text));
            state.trouble = Some(failure.text);
        }
        self.count_failing();
    }

    /// Applies an event. Returns whether it changes anything.
    pub(super) fn take(&mut self, feed: &Feed, event: Event<WatchedObject>) -> bool {
        let Some(state) = self.feeds.get_mut(feed) else { return false };
        match event {
            Event::Init => {
                if state.listing.is_some() || state.is_listed {
                    self.metrics.watch_restarts.get_or_create(&of_kind(feed.kind.name())).inc();
                }
                state.listing = Some(BTreeMap::new());
                false
            }
            Event::InitApply(object) => {
                let name = object.called();
                let kept = object.keep(feed.kind, self.depth(&name), &self.place);
                if let Some(listing) = self.feeds.get_mut(feed).and_then(|state| state.listing.as_mut()) {
                    listing.insert(name, kept);
                }
                false
            }
            Event::InitDone => {
                let listing = state.listing.take().unwrap_or_default();
                let is_first = !mem::replace(&mut state.is_listed, true);
                self.is_well(feed);
                self.cluster.read.insert(feed.kind.name(), listing.len());
                self.replace_all(feed, listing) || is_first
            }
            Event::Apply(object) => {
                self.is_well(feed);
                let name = object.called();
                let kept = object.keep(feed.kind, self.depth(&name), &self.place);
                self.put(feed, name, kept)
            }
            Event::Delete(object) => {
                self.is_well(feed);
                let name = object.called();
                let was_unreadable =
                    self.feeds.get_mut(feed).is_some_and(|state| state.unreadable.remove(&name).is_some());
                self.remove(feed.kind, &name) || was_unreadable
            }
        }
    }

    fn depth(&self, name: &NamespacedName) -> Depth {
        Depth { has_pods: self.has_pods, whole_pod: self.pod.as_ref() == Some(name) }
    }

    /// Records that a feed works again.
    pub(super) fn is_well(&mut self, feed: &Feed) {
        if let Some(state) = self.feeds.get_mut(feed)
            && state.trouble.take().is_some()
        {
            output::note(&format!("{feed}: watching again"));
            self.count_failing();
        }
    }

    fn count_failing(&self) {
        let failing = self.feeds.values().filter(|state| state.trouble.is_some()).count();
        self.metrics.watches_failing.set(i64::try_from(failing).unwrap_or(i64::MAX));
    }

    /// Replaces a feed's objects by a complete list. Returns whether anything changed.
    fn replace_all(&mut self, feed: &Feed, listing: BTreeMap<NamespacedName, Result<Kept, InputError>>) -> bool {
        let mut changed = false;
        for name in self.names(feed) {
            if !listing.contains_key(&name) {
                changed |= self.remove(feed.kind, &name);
            }
        }
        let before = self.feeds.get_mut(feed).map(|state| mem::take(&mut state.unreadable)).unwrap_or_default();
        for (name, kept) in listing {
            changed |= self.put(feed, name, kept);
        }
        changed || self.feeds.get(feed).is_some_and(|state| state.unreadable != before)
    }

    fn put(&mut self, feed: &Feed, name: NamespacedName, kept: Result<Kept, InputError>) -> bool {
        let kept = match kept {
            Ok(kept) => kept,
            Err(problem) => {
                let Some(state) = self.feeds.get_mut(feed) else { return false };
                let is_new = state.unreadable.get(&name) != Some(&problem);
                state.unreadable.insert(name.clone(), problem);
                return self.remove(feed.kind, &name) || is_new;
            }
        };
        let was_unreadable = self.feeds.get_mut(feed).is_some_and(|state| state.unreadable.remove(&name).is_some());
        let (cluster, place) = (&mut self.cluster, &self.place);
        let changed = match kept {
            Kept::Service(service) => put(&mut cluster.services, name, *service, place),
            Kept::Pod(pod) => put(&mut cluster.pods, name, pod, place),
            Kept::Node(node) => put(&mut cluster.nodes, name.name, node, place),
            Kept::EndpointSlice(slice) => {
                let is_new = cluster.slices.get(&name).is_none_or(|old| old.object != slice);
                if is_new {
                    cluster.put_slice(name, sourced(slice, place));
                }
                is_new
            }
        };
        changed || was_unreadable
    }

    fn remove(&mut self, kind: ObjectKind, name: &NamespacedName) -> bool {
        match kind {
            ObjectKind::Service => self.cluster.services.remove(name).is_some(),
            ObjectKind::Pod => self.cluster.pods.remove(name).is_some(),
            ObjectKind::Node => self.cluster.nodes.remove(&name.name).is_some(),
            ObjectKind::EndpointSlice => {
                let was_there = self.cluster.slices.contains_key(name);
                self.cluster.remove_slice(name);
                was_there
            }
        }
    }

    /// The names of a feed's objects.
    fn names(&self, feed: &Feed) -> BTreeSet<NamespacedName> {
        let is_of_feed = |name: &&NamespacedName| {
            feed.namespace.as_ref().is_none_or(|namespace| *namespace == name.namespace)
                && feed.name.as_ref().is_none_or(|own| *own == name.name)
        };
        match feed.kind {
            ObjectKind::Service => self.cluster.services.keys().filter(is_of_feed).cloned().collect(),
            ObjectKind::EndpointSlice => self.cluster.slices.keys().filter(is_of_feed).cloned().collect(),
            ObjectKind::Pod => self.cluster.pods.keys().filter(is_of_feed).cloned().collect(),
            ObjectKind::Node => {
                let nodes: Vec<_> = self.cluster.nodes.keys().map(|name| NamespacedName::new("", name)).collect();
                nodes.iter().filter(is_of_feed).cloned().collect()
            }
        }
    }
}

/// Inserts an object. Returns whether it differs from the old one.
fn put<K: Ord, T: PartialEq>(
    objects: &mut BTreeMap<K, Sourced<T>>,
    name: K,
    object: T,
    place: &SourceLocation,
) -> bool {
    if objects.get(&name).is_some_and(|old| old.object == object) {
        return false;
    }
    objects.insert(name, sourced(object, place));
    true
}

fn sourced<T>(object: T, place: &SourceLocation) -> Sourced<T> {
    Sourced { object, place: place.clone(), lines: kubernetes::Lines::default() }
}
