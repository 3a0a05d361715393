//! The cluster as the API tells it, one event after the other.

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

/// Objects that are followed by one watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Feed {
    pub(super) kind: ObjectKind,
    /// Default: all.
    pub(super) namespace: Option<String>,
    /// Default: all.
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

/// Why a list or a watch ended.
#[derive(Debug)]
pub(super) struct Failure {
    /// For people.
    pub(super) text: String,
    /// It is part of the way things go: what was asked for is too old.
    pub(super) is_usual: bool,
}

/// What is known of a feed.
#[derive(Debug, Default)]
struct FeedState {
    is_listed: bool,
    /// The list that is being read. What was known before serves until it is whole.
    listing: Option<BTreeMap<NamespacedName, Result<Kept, InputError>>>,
    unreadable: BTreeMap<NamespacedName, InputError>,
    trouble: Option<String>,
}

/// The objects that are followed.
pub(super) struct Store {
    cluster: ClusterState,
    feeds: BTreeMap<Feed, FeedState>,
    /// The pod that asks.
    pod: Option<NamespacedName>,
    /// Whether labels of endpoints' pods are asked for.
    has_pods: bool,
    place: SourceLocation,
    metrics: Arc<Metrics>,
}

impl Store {
    pub(super) fn new(pod: Option<NamespacedName>, has_pods: bool, metrics: Arc<Metrics>) -> Self {
        // What a list does not have is not there.
        let cluster = ClusterState { knows_all_slices: true, ..ClusterState::default() };
        let feeds = BTreeMap::new();
        Self { cluster, feeds, pod, has_pods, place: kubernetes::from_api(), metrics }
    }

    /// There is a feed more, which nothing is known of yet.
    pub(super) fn expect(&mut self, feed: Feed) {
        let kind = of_kind(feed.kind.name());
        drop(self.metrics.watch_errors.get_or_create(&kind));
        drop(self.metrics.watch_restarts.get_or_create(&kind));
        self.feeds.insert(feed, FeedState::default());
    }

    /// Nothing more comes from a feed, and nothing of it is known.
    pub(super) fn forget(&mut self, feed: &Feed) {
        self.feeds.remove(feed);
        for name in self.names(feed) {
            self.remove(feed.kind, &name);
        }
        self.count_failing();
    }

    /// The cluster, once all of it is known.
    pub(super) fn cluster(&self) -> Option<&ClusterState> {
        self.feeds.values().all(|state| state.is_listed).then_some(&self.cluster)
    }

    /// The node of the pod that asks.
    pub(super) fn node_of_pod(&self) -> Option<&str> {
        self.cluster.pods.get(self.pod.as_ref()?)?.object.node.as_deref()
    }

    /// Objects that are as if they were not there.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &InputError> {
        self.feeds.values().flat_map(|state| state.unreadable.values())
    }

    /// A list or a watch failed; it is tried again.
    pub(super) fn failed(&mut self, feed: &Feed, failure: Failure) {
        self.metrics.watch_errors.get_or_create(&of_kind(feed.kind.name())).inc();
        let Some(state) = self.feeds.get_mut(feed) else { return };
        if !failure.is_usual && state.trouble.as_ref() != Some(&failure.text) {
            let meanwhile = if state.is_listed { "what was known serves on" } else { "nothing is written before that" };
            output::warn(&format!("{feed}: {}; it is tried again, and {meanwhile}", failure.text));
            state.trouble = Some(failure.text);
        }
        self.count_failing();
    }

    /// Takes an event, and says whether it changes anything.
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

    /// What failed works again.
    pub(super) fn is_well(&mut self, feed: &Feed) {
        if let Some(state) = self.feeds.get_mut(feed)
            && state.trouble.take().is_some()
        {
            output::note(&format!("{feed}: followed again"));
            self.count_failing();
        }
    }

    fn count_failing(&self) {
        let failing = self.feeds.values().filter(|state| state.trouble.is_some()).count();
        self.metrics.watches_failing.set(i64::try_from(failing).unwrap_or(i64::MAX));
    }

    /// A list is whole: what is not in it is gone.
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

    /// What is known of a feed's objects.
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

/// Puts an object in, and says whether it is another one than before.
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
