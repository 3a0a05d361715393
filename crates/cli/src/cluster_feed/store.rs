//! The cluster's state, built from the API's events.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    brake::{Loss, Losses},
    feed::Feed,
    follow::Item,
    metrics::{FeedMetrics, of_kind},
    object::{Kept, ObjectKind},
    touched::Touched,
};
use crate::{
    input::{InputError, SourceLocation},
    kube_api::Failure,
    kubernetes::{self, ClusterState, NamespacedName, Sourced},
};

/// State of a feed.
#[derive(Debug, Default)]
struct FeedState {
    /// Time of the last complete list.
    listed: Option<Instant>,
    /// The list that is being read. The old objects stay in use until it is complete.
    listing: Option<BTreeMap<NamespacedName, Result<Kept, InputError>>>,
    unreadable: BTreeMap<NamespacedName, InputError>,
    /// The key of the last failure, until the feed is watched again.
    trouble: Option<String>,
}

/// The watched objects.
pub(super) struct Store {
    cluster: ClusterState,
    feeds: BTreeMap<Feed, FeedState>,
    /// The caller's pod.
    pod: Option<NamespacedName>,
    /// The Services that may have changed since they were last taken.
    touched: Touched,
    /// Objects that a list no longer had, since the last table was accepted.
    missing: BTreeMap<ObjectKind, BTreeSet<NamespacedName>>,
    place: SourceLocation,
    metrics: Arc<FeedMetrics>,
}

impl Store {
    pub(super) fn new(pod: Option<NamespacedName>, metrics: Arc<FeedMetrics>) -> Self {
        // A list is complete: a Service without slices has no endpoints.
        let cluster = ClusterState { knows_all_slices: true, ..ClusterState::default() };
        let (touched, missing, place) = (Touched::default(), BTreeMap::new(), kubernetes::from_api());
        Self { cluster, feeds: BTreeMap::new(), pod, touched, missing, place, metrics }
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
        self.feeds.values().all(|state| state.listed.is_some()).then_some(&self.cluster)
    }

    /// The node of the caller's pod.
    pub(super) fn node_of_pod(&self) -> Option<&str> {
        self.cluster.pods.get(self.pod.as_ref()?)?.object.node.as_deref()
    }

    /// Objects that cannot be read, and are ignored.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &InputError> {
        self.feeds.values().flat_map(|state| state.unreadable.values())
    }

    /// Whether the feed was listed.
    pub(super) fn is_listed(&self, feed: &Feed) -> bool {
        self.feeds.get(feed).is_some_and(|state| state.listed.is_some())
    }

    /// Records a failed list or watch, which is retried. Returns whether this is news.
    pub(super) fn failed(&mut self, feed: &Feed, failure: &Failure, is_routine: bool) -> bool {
        self.metrics.watch_errors.get_or_create(&of_kind(feed.kind.name())).inc();
        let Some(state) = self.feeds.get_mut(feed).filter(|_| !is_routine) else { return false };
        let is_news = state.trouble.replace(failure.key.clone()).as_ref() != Some(&failure.key);
        self.count_failing();
        is_news
    }

    /// Records that a feed is watched. Returns whether it failed before.
    pub(super) fn watching(&mut self, feed: &Feed) -> bool {
        let was_failing = self.feeds.get_mut(feed).is_some_and(|state| state.trouble.take().is_some());
        self.count_failing();
        was_failing
    }

    /// Begins a list.
    pub(super) fn list_began(&mut self, feed: &Feed) {
        let Some(state) = self.feeds.get_mut(feed) else { return };
        if state.listing.is_some() || state.listed.is_some() {
            self.metrics.watch_restarts.get_or_create(&of_kind(feed.kind.name())).inc();
        }
        state.listing = Some(BTreeMap::new());
    }

    /// Adds a page to the list.
    pub(super) fn page(&mut self, feed: &Feed, items: Vec<Item>) {
        if let Some(listing) = self.feeds.get_mut(feed).and_then(|state| state.listing.as_mut()) {
            listing.extend(items);
        }
    }

    /// Applies the list, which is complete. Returns whether it changes anything.
    pub(super) fn listed(&mut self, feed: &Feed, now: Instant) -> bool {
        let Some(state) = self.feeds.get_mut(feed) else { return false };
        let listing = state.listing.take().unwrap_or_default();
        let is_first = state.listed.replace(now).is_none();
        self.cluster.read.insert(feed.kind.name(), listing.len());
        self.replace_all(feed, listing) || is_first
    }

    /// Applies a changed object. Returns whether it changes anything.
    pub(super) fn changed(&mut self, feed: &Feed, (name, kept): Item) -> bool {
        self.feeds.contains_key(feed) && self.put(feed, name, kept)
    }

    /// Applies a deletion. Returns whether it changes anything.
    pub(super) fn deleted(&mut self, feed: &Feed, name: &NamespacedName) -> bool {
        let Some(state) = self.feeds.get_mut(feed) else { return false };
        let was_unreadable = state.unreadable.remove(name).is_some();
        self.remove(feed.kind, name) || was_unreadable
    }

    /// The objects that lists no longer have, compared to the last accepted table.
    pub(super) fn losses(&self) -> Losses {
        let of_kind = |(kind, missing): (&ObjectKind, &BTreeSet<NamespacedName>)| {
            let feeds = self.feeds_that_lost(*kind);
            let listed = feeds.filter_map(|feed| self.feeds.get(feed)?.listed).min()?;
            let missing = missing.len();
            Some((kind.name(), Loss { missing, before: missing + self.count(*kind), listed }))
        };
        self.missing.iter().filter_map(of_kind).collect()
    }

    /// The feeds of a kind of which objects are missing.
    pub(super) fn feeds_that_lost(&self, kind: ObjectKind) -> impl Iterator<Item = &Feed> {
        let missing = self.missing.get(&kind);
        self.feeds.keys().filter(move |feed| {
            feed.kind == kind && missing.is_some_and(|missing| missing.iter().any(|name| feed.has(name)))
        })
    }

    /// Whether objects are missing.
    pub(super) fn has_losses(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Accepts that objects are missing.
    pub(super) fn accept_losses(&mut self) {
        self.missing.clear();
    }

    /// Takes the Services that may have changed since the last call.
    pub(super) fn take_touched(&mut self) -> Touched {
        mem::take(&mut self.touched)
    }

    /// Whether a feed fails.
    pub(super) fn is_failing(&self) -> bool {
        self.feeds.values().any(|state| state.trouble.is_some())
    }

    fn count(&self, kind: ObjectKind) -> usize {
        match kind {
            ObjectKind::Service => self.cluster.services.len(),
            ObjectKind::EndpointSlice => self.cluster.slices.len(),
            ObjectKind::Pod => self.cluster.pods.len(),
            ObjectKind::Node => self.cluster.nodes.len(),
            ObjectKind::Namespace => self.cluster.namespaces.len(),
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
                self.missing.entry(feed.kind).or_default().insert(name);
            }
        }
        let before = self.feeds.get_mut(feed).map(|state| mem::take(&mut state.unreadable)).unwrap_or_default();
        for (name, kept) in listing {
            changed |= self.put(feed, name, kept);
        }
        changed || self.feeds.get(feed).is_some_and(|state| state.unreadable != before)
    }

    fn put(&mut self, feed: &Feed, name: NamespacedName, kept: Result<Kept, InputError>) -> bool {
        if let Some(missing) = self.missing.get_mut(&feed.kind) {
            missing.remove(&name);
        }
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
        let (cluster, place, touched) = (&mut self.cluster, &self.place, &mut self.touched);
        let changed = match kept {
            Kept::Service(service) => put(&mut cluster.services, &name, *service, place),
            Kept::Pod(pod) => put(&mut cluster.pods, &name, pod, place),
            Kept::Node(node) => put(&mut cluster.nodes, &name.name, node, place),
            Kept::Namespace(export) => {
                let was_missing = cluster.namespaces.insert(name.name.clone(), place.clone()).is_none();
                let old = match &export {
                    Some(export) => cluster.namespace_exports.insert(name.name.clone(), export.clone()),
                    None => cluster.namespace_exports.remove(&name.name),
                };
                old != export || (was_missing && old.is_some())
            }
            Kept::EndpointSlice(slice) => {
                let old = cluster.slices.get(&name).map(|old| &old.object);
                let is_new = old != Some(&slice);
                if is_new {
                    touched.slice(&name, old);
                    touched.slice(&name, Some(&slice));
                    cluster.put_slice(name.clone(), sourced(slice, place));
                }
                is_new
            }
        };
        if changed {
            touched.object(feed.kind, &name);
        }
        changed || was_unreadable
    }

    fn remove(&mut self, kind: ObjectKind, name: &NamespacedName) -> bool {
        let changed = match kind {
            ObjectKind::Service => self.cluster.services.remove(name).is_some(),
            ObjectKind::Pod => self.cluster.pods.remove(name).is_some(),
            ObjectKind::Node => self.cluster.nodes.remove(&name.name).is_some(),
            ObjectKind::Namespace => {
                self.cluster.namespaces.remove(&name.name);
                self.cluster.bound_exports();
                // The annotation stays: what it hides must not become visible while the Namespace is missing.
                self.cluster.namespace_exports.contains_key(&name.name)
            }
            ObjectKind::EndpointSlice => {
                let old = self.cluster.slices.get(name).map(|old| &old.object);
                let was_there = old.is_some();
                self.touched.slice(name, old);
                self.cluster.remove_slice(name);
                was_there
            }
        };
        if changed {
            self.touched.object(kind, name);
        }
        changed
    }

    /// The names of a feed's objects.
    pub(super) fn names(&self, feed: &Feed) -> BTreeSet<NamespacedName> {
        match feed.kind {
            ObjectKind::Service => self.cluster.services.keys().filter(|name| feed.has(name)).cloned().collect(),
            ObjectKind::EndpointSlice => self.cluster.slices.keys().filter(|name| feed.has(name)).cloned().collect(),
            ObjectKind::Pod => self.cluster.pods.keys().filter(|name| feed.has(name)).cloned().collect(),
            ObjectKind::Namespace => {
                let namespaces = self.cluster.namespaces.keys().map(|name| NamespacedName::new("", name));
                namespaces.filter(|name| feed.has(name)).collect()
            }
            ObjectKind::Node => {
                let nodes = self.cluster.nodes.keys().map(|name| NamespacedName::new("", name));
                nodes.filter(|name| feed.has(name)).collect()
            }
        }
    }
}

/// Inserts an object. Returns whether it differs from the old one.
fn put<K: Ord + Clone, T: PartialEq>(
    objects: &mut BTreeMap<K, Sourced<T>>,
    name: &K,
    object: T,
    place: &SourceLocation,
) -> bool {
    if objects.get(name).is_some_and(|old| old.object == object) {
        return false;
    }
    objects.insert(name.clone(), sourced(object, place));
    true
}

fn sourced<T>(object: T, place: &SourceLocation) -> Sourced<T> {
    Sourced { object, place: place.clone(), lines: kubernetes::Lines::default(), version: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list is read anew every half hour or so. What it does not change is not compiled again with the next change.
    #[test]
    fn a_list_without_a_change_touches_nothing() {
        let feed = |kind| Feed { kind, namespace: None, name: None };
        let (services, pods) = (feed(ObjectKind::Service), feed(ObjectKind::Pod));
        let mut store = Store::new(None, Arc::default());
        let list = |store: &mut Store, names: &[&str]| {
            let name = |name: &&str| NamespacedName::new("shop", name);
            for feed in [&services, &pods] {
                store.list_began(feed);
                let kept = || match feed.kind {
                    ObjectKind::Service => Kept::Service(Box::default()),
                    _ => Kept::Pod(kubernetes::Pod::default()),
                };
                store.page(feed, names.iter().map(|one| (name(one), Ok(kept()))).collect());
                store.listed(feed, Instant::now());
            }
            let touched = store.take_touched();
            (touched.services.into_iter().map(|name| name.name).collect::<Vec<_>>(), touched.pods_of.len())
        };
        [&services, &pods].into_iter().for_each(|feed| store.expect(feed.clone()));
        assert_eq!(list(&mut store, &["orders", "web"]), (vec!["orders".to_owned(), "web".to_owned()], 1));
        assert_eq!(list(&mut store, &["orders", "web"]), (Vec::new(), 0));
        assert_eq!(list(&mut store, &["web"]), (vec!["orders".to_owned()], 1), "only what is gone");
    }
}
