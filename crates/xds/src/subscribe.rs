//! What one request changes in one stream's subscriptions of one type.

use std::collections::BTreeSet;

use crate::{
    CloseReason, DeltaRequest, Limits, ResourceType, StreamId, TypeIndex,
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
    /// The type that this one follows, and the stream's subscriptions of it.
    pub(crate) followed: Option<(TypeIndex, &'a Subscriptions)>,
    /// The names that nobody watches any more.
    pub(crate) unwatched: Vec<NameId>,
}

/// Refuses a request whose names alone exceed a bound.
pub(crate) fn check_names(request: &DeltaRequest, limits: &Limits) -> Result<(), CloseReason> {
    let limit = limits.name_bytes;
    let mut names = request.subscribe.iter().chain(request.initial_resource_versions.keys());
    if let Some(name) = names.find(|name| name.len() > limit) {
        return Err(CloseReason::NameTooLong { bytes: name.len(), limit });
    }
    let limit = limits.names_per_stream;
    if request.initial_resource_versions.len() > limit { Err(CloseReason::TooManyNames { limit }) } else { Ok(()) }
}

impl Subscriber<'_> {
    /// Applies a request. A stream whose request is refused must be closed: the request is half applied.
    ///
    /// Changes of subscriptions count whatever the nonce of the request (section "Incremental xDS"). `room` is the number of names
    /// that the stream may add.
    pub(crate) fn apply(&mut self, request: &DeltaRequest, room: usize, limits: &Limits) -> Result<(), CloseReason> {
        let is_first = !self.subscriptions.has_requests;
        self.subscriptions.has_requests = true;
        let allowed = self.subscriptions.len() + room;
        let mut unsubscribed: BTreeSet<&str> = request.unsubscribe.iter().map(String::as_str).collect();
        let subscribed = request.subscribe.iter().map(String::as_str).filter(|name| !unsubscribed.contains(name));
        let mut subscribed: BTreeSet<&str> = subscribed.collect();
        let known = |name: &str| request.initial_resource_versions.get(name).filter(|_| is_first);
        // A stream's first request without any name is the wildcard subscription of old clients.
        let has_wildcards = !self.rules.is_linked;
        let is_wildcard = has_wildcards
            && (subscribed.remove(WILDCARD)
                || is_first && request.subscribe.is_empty() && request.unsubscribe.is_empty());
        let ends_wildcard = has_wildcards && unsubscribed.remove(WILDCARD);
        // A wildcard begins first and ends last: a name that stays subscribed keeps its state.
        if is_wildcard {
            self.subscriptions.begin_wildcard(self.rules.wildcard.is_empty());
            for name in &self.rules.wildcard {
                self.subscribe(name, Through::Wildcard, known(name));
            }
        }
        for name in unsubscribed {
            self.unsubscribe(name);
        }
        let new = subscribed.iter().filter(|name| self.is_new(name)).count();
        if self.subscriptions.len() + new > allowed {
            return Err(CloseReason::TooManyNames { limit: limits.names_per_stream });
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
        if ends_wildcard {
            for id in self.subscriptions.end_wildcard() {
                self.unwatch(id);
            }
        }
        Ok(())
    }

    fn is_new(&self, name: &str) -> bool {
        !self.index.find(self.resource_type, name).is_some_and(|id| self.subscriptions.has(id))
    }

    fn subscribe(&mut self, name: &str, through: Through, known: Option<&String>) {
        let id = self.index.watch(self.resource_type, name, self.stream);
        self.subscriptions.keep(name);
        // Endpoints from an earlier stream do not warm a cluster that was sent on this stream.
        let known = known.filter(|_| !self.is_followed_sent(name));
        self.subscriptions.subscribe((id, name), through, known.map(String::as_str));
    }

    /// Whether the resource that the named one follows was sent on this stream.
    fn is_followed_sent(&self, name: &str) -> bool {
        let Some((followed, subscriptions)) = self.followed else { return false };
        self.index.find(followed, name).is_some_and(|id| subscriptions.is_sent(id))
    }

    fn unsubscribe(&mut self, name: &str) {
        let Some(id) = self.index.find(self.resource_type, name) else { return };
        if self.rules.is_linked && self.subscriptions.is_under_way(id) {
            return;
        }
        if self.subscriptions.unsubscribe(id) {
            self.unwatch(id);
            if self.subscriptions.has_wildcard() {
                self.say_farewell(name);
            }
        }
    }

    fn unwatch(&mut self, id: NameId) {
        if self.index.unwatch(id, self.stream) {
            self.unwatched.push(id);
        }
    }

    /// Tells a client with a wildcard that the wildcard does not include a name.
    fn say_farewell(&mut self, name: &str) {
        if self.rules.is_ever_removed && !self.rules.wildcard.iter().any(|other| **other == *name) {
            self.subscriptions.say_farewell(name);
        }
    }
}
