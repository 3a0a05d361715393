//! One stream's subscriptions of one type: what the client was told, what is owed to it, and what waits for its ACK.
//!
//! What changes while a message waits for its ACK is a set of names, not a queue: content is looked up when it is sent, so a
//! slow client gets the newest content of each name, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    CloseReason, DeltaResponse, Nonce, ResourceType, TypeIndex, Version,
    draft::{Draft, entry_bytes},
    index::NameId,
    resources::Variant,
    subscription::{Receipt, SendDecision, Subscription, Told},
};

/// One stream's subscriptions of one type.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    names: BTreeMap<NameId, Subscription>,
    /// Names whose content may have to be sent, and since when their oldest change is known, if it is one.
    pending: BTreeMap<NameId, Option<Duration>>,
    /// The last name that was considered for sending. The next message goes on after it, so that names which change all the time
    /// hold up no others.
    cursor: NameId,
    unacknowledged: Option<Unacknowledged>,
    /// Names to be told as removed although the client does not subscribe to them. Under a wildcard it cannot know by itself
    /// whether to keep an unsubscribed name.
    farewells: BTreeSet<Arc<str>>,
    /// The cost of all names that are kept.
    bytes: usize,
    has_wildcard: bool,
    /// Whether the client waits for an answer, be it empty.
    owes_answer: bool,
    /// Whether a request of this type has come.
    pub(crate) has_requests: bool,
}

/// About the bytes that a name of so many bytes takes on one stream, with its places in the indices.
fn cost(name_bytes: usize) -> usize {
    name_bytes + 256
}

/// Why a name is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    Name,
    Wildcard,
}

#[derive(Clone, Copy, Debug)]
struct Unacknowledged {
    nonce: Nonce,
    sent_at: Duration,
    /// The number of its resources.
    resources: usize,
}

/// What a message has to heed.
pub(crate) struct Terms<'r> {
    pub(crate) resource_type: TypeIndex,
    pub(crate) rules: &'r ResourceType,
    /// The bytes of a message with more than one resource.
    pub(crate) limit_bytes: usize,
    /// Whether the server may be behind: it must not take the client back in time.
    pub(crate) is_stale: bool,
    /// Whether the client still refers to what it has of this type: nothing of it may be removed now.
    pub(crate) keeps_what_was_told: bool,
}

/// Resources that the client refused.
#[derive(Debug)]
pub(crate) struct RefusedMessage {
    pub(crate) resources: Vec<(NameId, Version)>,
    pub(crate) is_final: bool,
}

impl Subscriptions {
    /// The names, with the versions that the client was told, and how far that has come.
    pub(crate) fn told(&self) -> impl Iterator<Item = (NameId, Option<Version>, Receipt)> {
        self.names.iter().map(|(id, subscription)| {
            let version = match subscription.told {
                Told::Version(version) => Some(version),
                Told::Missing | Told::Nothing => None,
            };
            (*id, version, subscription.receipt(self.is_under_way(*id)))
        })
    }

    /// Subscribes to a name. `known` is the text of the version that the client has from an earlier stream. Without a known version the
    /// name is answered even if nothing changed.
    pub(crate) fn subscribe(&mut self, (id, name): (NameId, &str), through: Through, known: Option<&str>) {
        let subscription = self.names.entry(id).or_insert_with(|| {
            let name_bytes = u16::try_from(name.len()).unwrap_or(u16::MAX);
            self.bytes += cost(name_bytes.into());
            Subscription::of_name(name_bytes)
        });
        match through {
            Through::Name => subscription.by_name = true,
            Through::Wildcard => subscription.by_wildcard = true,
        }
        subscription.is_brought |= known.is_some();
        match known.and_then(Version::parse) {
            Some(version) => subscription.told = Told::Version(version),
            None => subscription.is_owed = true,
        }
        self.pending.entry(id).or_default();
    }

    /// Unsubscribes from a name, and returns whether it is subscribed to no longer.
    ///
    /// A name that the wildcard includes is sent again (section "Unsubscribing from Resources"): the client cannot know whether
    /// to keep it.
    pub(crate) fn unsubscribe(&mut self, id: NameId) -> bool {
        let Some(subscription) = self.names.get_mut(&id).filter(|subscription| subscription.by_name) else {
            return false;
        };
        subscription.by_name = false;
        if subscription.by_wildcard {
            subscription.is_owed = true;
            self.pending.entry(id).or_default();
            return false;
        }
        self.remove(id);
        true
    }

    pub(crate) fn has_wildcard(&self) -> bool {
        self.has_wildcard
    }

    /// Begins a wildcard subscription. It is answered even if it stands for no name.
    pub(crate) fn begin_wildcard(&mut self, is_empty: bool) {
        self.has_wildcard = true;
        self.owes_answer |= is_empty;
    }

    /// Ends the wildcard subscription, and returns the names that are subscribed to no longer.
    pub(crate) fn end_wildcard(&mut self) -> Vec<NameId> {
        self.has_wildcard = false;
        let farewells: usize = self.farewells.iter().map(|name| cost(name.len())).sum();
        self.bytes = self.bytes.saturating_sub(farewells);
        self.farewells.clear();
        let mut ended = Vec::new();
        for (id, subscription) in &mut self.names {
            subscription.by_wildcard = false;
            if !subscription.by_name {
                ended.push(*id);
            }
        }
        for id in &ended {
            self.remove(*id);
        }
        ended
    }

    fn remove(&mut self, id: NameId) {
        if let Some(removed) = self.names.remove(&id) {
            self.bytes = self.bytes.saturating_sub(cost(removed.name_bytes.into()));
        }
        self.pending.remove(&id);
    }

    /// Tells the client that a name is removed although the client does not subscribe to it.
    pub(crate) fn say_farewell(&mut self, name: &str) {
        if self.farewells.insert(name.into()) {
            self.bytes += cost(name.len());
        }
    }

    /// Takes a farewell back: the name is subscribed to again.
    pub(crate) fn keep(&mut self, name: &str) {
        if self.farewells.remove(name) {
            self.bytes = self.bytes.saturating_sub(cost(name.len()));
        }
    }

    /// The number of names that are kept.
    pub(crate) fn len(&self) -> usize {
        self.names.len() + self.farewells.len()
    }

    /// The bytes that the names take, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NameId> {
        self.names.keys().copied()
    }

    pub(crate) fn has(&self, id: NameId) -> bool {
        self.names.contains_key(&id)
    }

    /// Whether any name waits to be sent.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a name waits to be sent.
    pub(crate) fn is_pending(&self, id: NameId) -> bool {
        self.pending.contains_key(&id)
    }

    /// Whether the message that waits for its ACK has a name.
    pub(crate) fn is_under_way(&self, id: NameId) -> bool {
        let sent_in = self.names.get(&id).map(|subscription| subscription.sent_in);
        self.unacknowledged.is_some_and(|message| sent_in == Some(message.nonce))
    }

    /// Whether this stream has sent content of a name.
    pub(crate) fn is_sent(&self, id: NameId) -> bool {
        let is_sent = |one: &Subscription| one.sent_in != Nonce::default() && matches!(one.told, Told::Version(_));
        self.names.get(&id).is_some_and(is_sent)
    }

    /// The content of a name may have changed, which is known since `since`.
    pub(crate) fn change(&mut self, id: NameId, since: Option<Duration>) {
        if self.names.contains_key(&id) {
            let pending = self.pending.entry(id).or_default();
            *pending = pending.or(since);
        }
    }

    /// Sends a name even if nothing changed.
    pub(crate) fn owe(&mut self, id: NameId) {
        if let Some(subscription) = self.names.get_mut(&id) {
            subscription.is_owed = true;
            self.pending.entry(id).or_default();
        }
    }

    /// Takes note that the message with this nonce went out at this time, if it waits for its ACK.
    pub(crate) fn went_out(&mut self, nonce: Nonce, now: Duration) {
        if let Some(message) = self.unacknowledged.as_mut().filter(|message| message.nonce == nonce) {
            message.sent_at = now;
        }
    }

    /// When the message that waits for its ACK was sent.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        self.unacknowledged.map(|message| message.sent_at)
    }

    /// Takes an ACK. With the nonce of another message it acknowledges nothing.
    pub(crate) fn acknowledge(&mut self, nonce: Nonce) {
        self.unacknowledged.take_if(|message| message.nonce == nonce);
    }

    /// Takes a NACK, and returns what was refused. With the nonce of another message it refuses nothing.
    ///
    /// A client refuses whole messages. The only resource of a message is to blame: its version is not sent again. Several resources
    /// are each sent once more, alone, so that a bad resource keeps no other from the client.
    pub(crate) fn reject(&mut self, nonce: Nonce) -> Option<RefusedMessage> {
        let message = self.unacknowledged.take_if(|message| message.nonce == nonce)?;
        let mut resources = Vec::new();
        for (id, subscription) in self.names.iter_mut().filter(|(_, subscription)| subscription.sent_in == nonce) {
            if let Told::Version(version) = subscription.told {
                resources.push((*id, version));
            }
            if subscription.refuse(message.resources) {
                self.pending.entry(*id).or_default();
            }
        }
        Some(RefusedMessage { resources, is_final: message.resources == 1 })
    }

    /// Composes the next message on these terms, unless one waits for its ACK or nothing is to be said.
    ///
    /// `is_held` says whether a name must wait for another type. `content` returns a name and what the caller gets of it, or `None` where
    /// nobody watches the name; the message ends before the first name that it cannot return now.
    ///
    /// # Errors
    /// If the server may be behind and the client has another version of a name.
    pub(crate) fn next_message<B: AsRef<[u8]>>(
        &mut self,
        now: Duration,
        nonce: Nonce,
        terms: &Terms<'_>,
        is_held: impl Fn(NameId) -> bool,
        mut content: impl FnMut(NameId) -> Option<(Arc<str>, Variant<B>)>,
    ) -> Result<Option<DeltaResponse<B>>, CloseReason> {
        if self.unacknowledged.is_some() {
            return Ok(None);
        }
        let rules = terms.rules;
        let mut draft = Draft::new(terms.resource_type, nonce, terms.limit_bytes);
        self.draft_farewells(&mut draft, rules);
        // Farewells go without resources, so that no bad resource can have them refused.
        let candidates = if draft.is_empty() { self.pending.len() } else { 0 };
        for _ in 0..candidates {
            let Some(id) = self.next_pending() else { break };
            if is_held(id) {
                self.cursor = id;
                continue;
            }
            let Some((subscription, (name, variant))) = self.names.get_mut(&id).zip(content(id)) else {
                self.pending.remove(&id);
                continue;
            };
            let encoded = match variant {
                Variant::Found(encoded) => Some(encoded),
                Variant::Missing if terms.keeps_what_was_told && matches!(subscription.told, Told::Version(_)) => {
                    self.cursor = id;
                    continue;
                }
                Variant::Missing => None,
                Variant::NotNow => break,
            };
            let version = encoded.as_ref().map(|encoded| encoded.version);
            let decision = subscription.decide(version, rules);
            if std::mem::take(&mut subscription.is_brought) && terms.is_stale && decision != SendDecision::Skip {
                return Err(CloseReason::Stale);
            }
            let bytes = entry_bytes(&name, encoded.as_ref(), &rules.url);
            if decision != SendDecision::Skip && !draft.has_room_for(bytes) {
                break;
            }
            self.cursor = id;
            if decision == SendDecision::SendAlone && !draft.is_empty() {
                continue;
            }
            let since = self.pending.remove(&id).flatten();
            if decision != SendDecision::Skip {
                subscription.tell(version, nonce);
                draft.add(name, encoded, bytes);
                draft.passes_on(since);
            }
            if decision == SendDecision::SendAlone {
                break;
            }
        }
        if draft.is_empty() && !self.owes_answer {
            return Ok(None);
        }
        self.owes_answer = false;
        self.unacknowledged = Some(Unacknowledged { nonce, sent_at: now, resources: draft.resources() });
        Ok(Some(draft.finish()))
    }

    fn draft_farewells<B: AsRef<[u8]>>(&mut self, draft: &mut Draft<B>, rules: &ResourceType) {
        while let Some(name) = self.farewells.pop_first() {
            let bytes = entry_bytes::<B>(&name, None, &rules.url);
            if !draft.has_room_for(bytes) {
                self.farewells.insert(name);
                break;
            }
            self.bytes = self.bytes.saturating_sub(cost(name.len()));
            draft.add(name, None, bytes);
        }
    }

    /// The next pending name after the cursor, and from the start again after the last one.
    fn next_pending(&self) -> Option<NameId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.pending.range((Excluded(self.cursor), Unbounded)).next();
        after.or_else(|| self.pending.first_key_value()).map(|(id, _)| *id)
    }
}
