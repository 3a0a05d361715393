//! What one request changes in one stream's subscriptions of one type.

use std::collections::{BTreeSet, HashSet};

use crate::{
    CloseReason, Limits, Request, ResourceType, StreamId, TypeIndex, Version,
    index::{Index, NameId},
    subscriptions::{Subscriptions, Through},
};

/// The name of the wildcard subscription.
const WILDCARD: &str = "*";

/// One stream's subscriptions of one type, with the index that they are kept in.
pub(crate) struct Subscriber<'a> {
    pub(crate) stream: StreamId,
    pub(crate) resource_type: TypeIndex,
    pub(crate) rules: &'a ResourceType,
    pub(crate) index: &'a mut Index,
    pub(crate) subscriptions: &'a mut Subscriptions,
}

/// Refuses a request with names that exceed a bound whatever is subscribed to already.
pub(crate) fn check_names(request: &Request, limits: &Limits) -> Result<(), CloseReason> {
    let limit = limits.name_bytes;
    let mut names = request.subscribe.iter().chain(request.initial_resource_versions.keys());
    if let Some(name) = names.find(|name| name.len() > limit) {
        return Err(CloseReason::NameTooLong { bytes: name.len(), limit });
    }
    let limit = limits.names_per_stream;
    if request.initial_resource_versions.len() > limit { Err(CloseReason::TooManyNames { limit }) } else { Ok(()) }
}

impl Subscriber<'_> {
    /// Applies a request, and returns the names that nobody watches any more.
    ///
    /// Changes of subscriptions count whatever the nonce of the request (section "Incremental xDS"). `room` is the number of names
    /// that the stream may add.
    pub(crate) fn apply(
        &mut self,
        request: &Request,
        room: usize,
        limits: &Limits,
    ) -> Result<Vec<NameId>, CloseReason> {
        let is_first = !self.subscriptions.has_requests;
        self.subscriptions.has_requests = true;
        let unsubscribed: HashSet<&str> = request.unsubscribe.iter().map(String::as_str).collect();
        let subscribed = request.subscribe.iter().map(String::as_str).filter(|name| !unsubscribed.contains(name));
        let mut subscribed: BTreeSet<&str> = subscribed.collect();
        let names_before = self.subscriptions.len();
        let unwatched = unsubscribed.into_iter().flat_map(|name| self.unsubscribe(name)).collect();
        let room = room + names_before.saturating_sub(self.subscriptions.len());
        if subscribed.iter().filter(|name| self.is_new(name)).count() > room {
            return Err(CloseReason::TooManyNames { limit: limits.names_per_stream });
        }
        let known = |name: &str| request.initial_resource_versions.get(name).filter(|_| is_first);
        // A stream's first request without any name is the wildcard subscription of old clients.
        let is_wildcard =
            subscribed.remove(WILDCARD) || is_first && request.subscribe.is_empty() && request.unsubscribe.is_empty();
        if is_wildcard {
            self.subscribe_wildcard(known);
        }
        for name in &subscribed {
            self.subscribe(name, Through::Name, known(name));
        }
        if is_wildcard && is_first {
            let orphans = request.initial_resource_versions.keys().map(String::as_str);
            for name in orphans.filter(|name| !subscribed.contains(name)) {
                self.say_farewell(name);
            }
        }
        Ok(unwatched)
    }

    fn is_new(&self, name: &str) -> bool {
        !self.index.find(self.resource_type, name).is_some_and(|id| self.subscriptions.has(id))
    }

    fn subscribe(&mut self, name: &str, through: Through, known: Option<&String>) {
        let id = self.index.watch(self.resource_type, name, self.stream);
        self.subscriptions.keep(name);
        self.subscriptions.subscribe(id, through, known.and_then(|text| Version::parse(text)));
    }

    fn subscribe_wildcard<'r>(&mut self, known: impl Fn(&str) -> Option<&'r String>) {
        self.subscriptions.begin_wildcard(self.rules.wildcard.is_empty());
        for name in &self.rules.wildcard {
            self.subscribe(name, Through::Wildcard, known(name));
        }
    }

    /// Unsubscribes from a name, and returns the names that nobody watches any more.
    fn unsubscribe(&mut self, name: &str) -> Vec<NameId> {
        let ended = if name == WILDCARD {
            self.subscriptions.end_wildcard()
        } else {
            let id = self.index.find(self.resource_type, name);
            id.filter(|id| self.subscriptions.unsubscribe(*id)).into_iter().collect()
        };
        if name != WILDCARD && !ended.is_empty() && self.subscriptions.has_wildcard() {
            self.say_farewell(name);
        }
        ended.into_iter().filter(|id| self.index.unwatch(*id, self.stream)).collect()
    }

    /// Tells a client with a wildcard that a name is not, or no longer, among what it gets.
    fn say_farewell(&mut self, name: &str) {
        if self.rules.is_ever_removed && !self.rules.wildcard.iter().any(|other| **other == *name) {
            self.subscriptions.say_farewell(name);
        }
    }
}
