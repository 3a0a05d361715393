//! Who watches a name: the way from a change to the streams that it concerns.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::{StreamId, TypeIndex};

/// The number of a watched name of one type. A number is never given to another name, so one that is out of date names nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NameId(u64);

/// The names that streams subscribe to, each with its subscribers. A name without a subscriber is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By type, then by name.
    ids: Vec<HashMap<Arc<str>, NameId>>,
    watched: HashMap<NameId, WatchedName>,
    /// The number of subscriptions, by type.
    subscriptions: Vec<usize>,
    last: NameId,
}

#[derive(Debug)]
struct WatchedName {
    resource_type: TypeIndex,
    name: Arc<str>,
    subscribers: BTreeSet<StreamId>,
}

impl Index {
    /// Adds a subscriber of a name.
    pub(crate) fn watch(&mut self, resource_type: TypeIndex, name: &str, stream: StreamId) -> NameId {
        if let Some(id) = self.find(resource_type, name) {
            if let Some(watched) = self.watched.get_mut(&id)
                && watched.subscribers.insert(stream)
            {
                self.count(resource_type, 1);
            }
            return id;
        }
        self.last = NameId(self.last.0 + 1);
        let (id, name) = (self.last, Arc::<str>::from(name));
        if self.ids.len() <= resource_type.0 {
            self.ids.resize_with(resource_type.0 + 1, HashMap::new);
        }
        self.count(resource_type, 1);
        if let Some(ids) = self.ids.get_mut(resource_type.0) {
            ids.insert(Arc::clone(&name), id);
        }
        self.watched.insert(id, WatchedName { resource_type, name, subscribers: BTreeSet::from([stream]) });
        id
    }

    /// Takes a subscriber away, and returns whether nobody watches the name any more.
    pub(crate) fn unwatch(&mut self, id: NameId, stream: StreamId) -> bool {
        let Some(watched) = self.watched.get_mut(&id) else { return false };
        let (was_subscribed, resource_type) = (watched.subscribers.remove(&stream), watched.resource_type);
        let is_watched = !watched.subscribers.is_empty();
        if was_subscribed {
            self.count(resource_type, -1);
        }
        if is_watched {
            return false;
        }
        if let Some(watched) = self.watched.remove(&id)
            && let Some(ids) = self.ids.get_mut(watched.resource_type.0)
        {
            ids.remove(&watched.name);
        }
        true
    }

    /// Returns the number of a watched name.
    pub(crate) fn find(&self, resource_type: TypeIndex, name: &str) -> Option<NameId> {
        self.ids.get(resource_type.0)?.get(name).copied()
    }

    pub(crate) fn name(&self, id: NameId) -> Option<&Arc<str>> {
        self.watched.get(&id).map(|watched| &watched.name)
    }

    pub(crate) fn resource_type(&self, id: NameId) -> Option<TypeIndex> {
        self.watched.get(&id).map(|watched| watched.resource_type)
    }

    pub(crate) fn subscribers(&self, id: NameId) -> impl ExactSizeIterator<Item = StreamId> {
        static NOBODY: BTreeSet<StreamId> = BTreeSet::new();
        self.watched.get(&id).map_or(&NOBODY, |watched| &watched.subscribers).iter().copied()
    }

    fn count(&mut self, resource_type: TypeIndex, change: isize) {
        if self.subscriptions.len() <= resource_type.0 {
            self.subscriptions.resize(resource_type.0 + 1, 0);
        }
        if let Some(count) = self.subscriptions.get_mut(resource_type.0) {
            *count = count.saturating_add_signed(change);
        }
    }

    /// The number of subscriptions of a type, over all streams.
    pub(crate) fn subscriptions(&self, resource_type: TypeIndex) -> usize {
        self.subscriptions.get(resource_type.0).copied().unwrap_or_default()
    }

    /// The number of names that are watched.
    pub(crate) fn len(&self) -> usize {
        self.watched.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lives_as_long_as_somebody_watches_it() {
        let (mut index, ty) = (Index::default(), TypeIndex(1));
        let id = index.watch(ty, "a", StreamId(1));
        assert_eq!(index.watch(ty, "a", StreamId(2)), id);
        assert_eq!(index.find(TypeIndex(0), "a"), None, "types have names of their own");
        index.watch(ty, "a", StreamId(2));
        assert_eq!((index.subscriptions(ty), index.subscriptions(TypeIndex(0))), (2, 0), "each stream counts once");
        assert!(!index.unwatch(id, StreamId(1)));
        index.unwatch(id, StreamId(1));
        assert_eq!(index.subscriptions(ty), 1);
        assert_eq!(index.subscribers(id).collect::<Vec<_>>(), [StreamId(2)]);
        assert!(index.unwatch(id, StreamId(2)));
        assert_eq!((index.find(ty, "a"), index.name(id), index.len()), (None, None, 0));
        assert!(index.ids.iter().all(HashMap::is_empty));
        assert_eq!(index.subscriptions(ty), 0);
    }

    #[test]
    fn a_number_is_not_used_again() {
        let mut index = Index::default();
        let old = index.watch(TypeIndex(0), "a", StreamId(1));
        index.unwatch(old, StreamId(1));
        assert_ne!(index.watch(TypeIndex(0), "a", StreamId(1)), old);
    }
}
