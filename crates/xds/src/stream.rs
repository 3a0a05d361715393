//! One client: its subscriptions of all types, and when its stream ends.

use std::{sync::Arc, time::Duration};

use crate::{
    CloseReason, DeltaResponse, Limits, Nonce, ResourceSource, ResourceType, ResourceTypes, TypeIndex,
    index::Index,
    resources::Resources,
    subscriptions::{Subscriptions, Terms},
};

/// An open stream.
#[derive(Debug)]
pub(crate) struct ClientStream<C> {
    pub(crate) caller: C,
    /// Whose share of the server it counts against.
    pub(crate) owner: Option<Arc<str>>,
    /// The bytes that are counted for it.
    pub(crate) charged: usize,
    opened_at: Duration,
    /// Since when it subscribes to nothing.
    pub(crate) idle_since: Option<Duration>,
    /// By type, up to the last type that was asked for.
    subscriptions: Vec<Subscriptions>,
    last_nonce: Nonce,
    /// When the stream has reached its age.
    pub(crate) ends_at: Duration,
    /// When the server looks at the stream again: its entry in the server's deadlines.
    pub(crate) deadline: Duration,
}

impl<C> ClientStream<C> {
    pub(crate) fn new(caller: C, owner: Option<Arc<str>>, now: Duration, ends_at: Duration) -> Self {
        Self {
            caller,
            owner,
            charged: 0,
            opened_at: now,
            idle_since: Some(now),
            subscriptions: Vec::new(),
            last_nonce: Nonce::default(),
            ends_at,
            deadline: ends_at,
        }
    }

    /// Makes room for the stream's subscriptions of a type.
    pub(crate) fn begin(&mut self, resource_type: TypeIndex) {
        if let Some(missing @ 1..) = (resource_type.0 + 1).checked_sub(self.subscriptions.len()) {
            self.subscriptions.reserve_exact(missing);
            self.subscriptions.resize_with(resource_type.0 + 1, Subscriptions::default);
        }
    }

    /// The stream's subscriptions of a type, if it has any.
    pub(crate) fn of(&mut self, resource_type: TypeIndex) -> Option<&mut Subscriptions> {
        self.subscriptions.get_mut(resource_type.0)
    }

    /// The stream's subscriptions of a type, and those of the type that it follows.
    pub(crate) fn with_followed(
        &mut self,
        resource_type: TypeIndex,
        rules: &ResourceType,
    ) -> Option<(&mut Subscriptions, Option<(TypeIndex, &Subscriptions)>)> {
        let (earlier, later) = self.subscriptions.split_at_mut_checked(resource_type.0)?;
        Some((later.first_mut()?, followed(rules, |other| earlier.get(other.0))))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Subscriptions> {
        self.subscriptions.iter()
    }

    /// The names that the stream subscribes to.
    pub(crate) fn names(&self) -> usize {
        self.all().map(Subscriptions::len).sum()
    }

    /// The bytes that its subscriptions take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.all().map(Subscriptions::bytes).sum()
    }

    /// Takes note of whether it subscribes to anything.
    pub(crate) fn note_idle(&mut self, now: Duration) {
        let is_idle = self.all().all(|subscriptions| subscriptions.len() == 0 && !subscriptions.has_wildcard());
        self.idle_since = is_idle.then(|| self.idle_since.unwrap_or(now));
    }

    /// When the client must have subscribed to something.
    pub(crate) fn idle_deadline(&self, limits: &Limits) -> Option<Duration> {
        self.idle_since.map(|since| since.saturating_add(limits.idle_timeout))
    }

    /// Lets the stream live on for a while, unless it is too old for that. Returns whether it does.
    pub(crate) fn put_off_end(&mut self, now: Duration, limits: &Limits) -> bool {
        let is_allowed = now.saturating_sub(self.opened_at) < limits.stale_stream_age;
        if is_allowed {
            // The width of the spread: ends stay as spread as they were.
            let more = limits.stream_age.saturating_mul(2) / 5;
            self.ends_at = self.ends_at.saturating_add(more.max(Duration::from_secs(1)));
        }
        is_allowed
    }

    /// When the server has to look at the stream: the client must have ACKed what it was sent and subscribed to something, or the stream has
    /// reached its age.
    pub(crate) fn next_deadline(&self, limits: &Limits) -> Duration {
        let sent_at = self.all().filter_map(Subscriptions::waits_since).min();
        let ack = sent_at.map(|sent_at| sent_at.saturating_add(limits.ack_timeout));
        let first = [ack, self.idle_deadline(limits)].into_iter().flatten().min();
        first.map_or(self.ends_at, |first| first.min(self.ends_at))
    }

    /// Composes all messages that may be sent now, in the order of the types.
    ///
    /// Endpoints wait while their cluster waits, and are owed once the cluster is sent. So endpoints never overtake their cluster,
    /// and a cluster that is sent again gets its endpoints again. The same goes for every type that follows another one. A resource that
    /// leads to one of an earlier type waits while that one waits.
    ///
    /// # Errors
    /// If the server may be behind and the client has another version of a resource than the server.
    pub(crate) fn messages<S: ResourceSource<Caller = C>>(
        &mut self,
        now: Duration,
        (types, limits, is_stale): (&ResourceTypes, &Limits, bool),
        (index, resources, source): (&Index, &mut Resources<S>, &S),
    ) -> Result<Vec<DeltaResponse<S::Body>>, CloseReason> {
        let mut messages = Vec::new();
        let mut earlier: Vec<&Subscriptions> = Vec::new();
        let mut rest = self.subscriptions.as_mut_slice();
        for (resource_type, rules) in types.iter() {
            let Some((current, later)) = rest.split_first_mut() else { break };
            let followed = followed(rules, |other| earlier.get(other.0).copied());
            let is_waiting = |other: TypeIndex, name: &str| {
                let subscriptions = earlier.get(other.0);
                index.find(other, name).is_some_and(|id| subscriptions.is_some_and(|all| all.is_pending(id)))
            };
            let is_any_waiting = earlier.iter().any(|subscriptions| subscriptions.has_pending());
            let is_held = |id| {
                let Some(name) = index.name(id).filter(|_| is_any_waiting) else { return false };
                followed.is_some_and(|(other, _)| is_waiting(other, name))
                    || leads((resource_type, rules), name, &self.caller, source)
                        .iter()
                        .any(|(other, name)| is_waiting(*other, name))
            };
            let content = |id| {
                let name = index.name(id)?;
                Some((name.clone(), resources.get(id, (resource_type, name), &self.caller, source)))
            };
            let nonce = Nonce(self.last_nonce.0 + 1);
            let referring = rules.removed_after.and_then(|other| earlier.get(other.0));
            let keeps_what_was_told = referring.is_some_and(|subscriptions| subscriptions.has_pending());
            let limit_bytes = limits.message_bytes;
            let terms = Terms { resource_type, rules, limit_bytes, is_stale, keeps_what_was_told };
            let message = current.next_message(now, nonce, &terms, is_held, content)?;
            if let Some(message) = message {
                self.last_nonce = nonce;
                for (follower, _) in types.iter().filter(|(_, rules)| rules.follows == Some(resource_type)) {
                    let place = follower.0.checked_sub(resource_type.0 + 1);
                    let Some(subscriptions) = place.and_then(|place| later.get_mut(place)) else { continue };
                    for id in message.resources.iter().filter_map(|resource| index.find(follower, &resource.name)) {
                        subscriptions.owe(id);
                    }
                }
                messages.push(message);
            }
            earlier.push(current);
            rest = later;
        }
        Ok(messages)
    }
}

/// What a resource leads to for a caller.
pub(crate) fn leads<S: ResourceSource>(
    (resource_type, rules): (TypeIndex, &ResourceType),
    name: &str,
    caller: &S::Caller,
    source: &S,
) -> Vec<(TypeIndex, String)> {
    if !rules.is_linked {
        return Vec::new();
    }
    let class = source.class(resource_type, name, caller);
    class.map_or_else(Vec::new, |class| source.leads_to(resource_type, name, &class))
}

/// The type that another one follows, and what there is of it.
fn followed<T>(rules: &ResourceType, find: impl Fn(TypeIndex) -> Option<T>) -> Option<(TypeIndex, T)> {
    let other = rules.follows?;
    Some((other, find(other)?))
}
