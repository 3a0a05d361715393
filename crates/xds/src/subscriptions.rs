//! One stream's subscriptions of one type: what the client was told, what is owed to it, and what waits for its ACK.
//!
//! What changes while a message waits for its ACK is a set of names, not a queue: content is looked up when it is sent, so a
//! slow client gets the newest content of each name, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{Message, Nonce, ResourceType, SentResource, TypeIndex, Version, index::NameId, resources::Encoded};

/// One stream's subscriptions of one type.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    names: BTreeMap<NameId, Subscription>,
    /// Names whose content may have to be sent.
    pending: BTreeSet<NameId>,
    /// The last name that was looked at for sending. The next message goes on from there, so that names which change all the time
    /// hold up no others.
    cursor: NameId,
    unacknowledged: Option<Unacknowledged>,
    /// Names to be told as removed although they are not subscribed to.
    farewells: BTreeSet<Arc<str>>,
    has_wildcard: bool,
    /// Whether the client waits for an answer, be it empty.
    owes_answer: bool,
    /// Whether a request of this type has come.
    pub(crate) has_requests: bool,
}

/// Why a name is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    Name,
    Wildcard,
}

/// One name, and what its client was told of it.
#[derive(Clone, Copy, Debug, Default)]
struct Subscription {
    told: Told,
    rejected: Option<Refused>,
    /// The message that told it.
    sent_in: Nonce,
    /// Send even what the client was told: it asked again, or what it has is of no use without this.
    is_owed: bool,
    by_name: bool,
    by_wildcard: bool,
}

/// What a client was told of a name, by this stream or by an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Missing,
    Version(Version),
}

/// The last version that the client refused.
#[derive(Clone, Copy, Debug)]
struct Refused {
    version: Version,
    /// Whether it was refused alone. Otherwise another resource of its message may be to blame.
    is_final: bool,
}

#[derive(Clone, Copy, Debug)]
struct Unacknowledged {
    nonce: Nonce,
    sent_at: Duration,
    /// The number of its resources.
    resources: usize,
}

/// Resources that the client refused.
#[derive(Debug)]
pub(crate) struct RefusedMessage {
    pub(crate) resources: Vec<(NameId, Version)>,
    pub(crate) is_final: bool,
}

/// What to do about a pending name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Send,
    SendAlone,
}

impl Subscriptions {
    /// Subscribes to a name. The client has the version `known` from an earlier stream; without it the name is answered even if
    /// nothing changed.
    pub(crate) fn subscribe(&mut self, id: NameId, through: Through, known: Option<Version>) {
        let subscription = self.names.entry(id).or_default();
        match through {
            Through::Name => subscription.by_name = true,
            Through::Wildcard => subscription.by_wildcard = true,
        }
        match known {
            Some(version) => subscription.told = Told::Version(version),
            None => subscription.is_owed = true,
        }
        self.pending.insert(id);
    }

    /// Unsubscribes from a name, and returns whether it is subscribed to no longer.
    ///
    /// A name that the wildcard has too is sent again (section "Unsubscribing from Resources"): the client cannot know whether
    /// to keep it.
    pub(crate) fn unsubscribe(&mut self, id: NameId) -> bool {
        let Some(subscription) = self.names.get_mut(&id).filter(|subscription| subscription.by_name) else {
            return false;
        };
        subscription.by_name = false;
        if subscription.by_wildcard {
            subscription.is_owed = true;
            self.pending.insert(id);
            return false;
        }
        self.remove(id);
        true
    }

    pub(crate) fn has_wildcard(&self) -> bool {
        self.has_wildcard
    }

    /// Begins a wildcard subscription. One that stands for no name is answered all the same.
    pub(crate) fn begin_wildcard(&mut self, is_empty: bool) {
        self.has_wildcard = true;
        self.owes_answer |= is_empty;
    }

    /// Ends the wildcard subscription, and returns the names that are subscribed to no longer.
    pub(crate) fn end_wildcard(&mut self) -> Vec<NameId> {
        self.has_wildcard = false;
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
        self.names.remove(&id);
        self.pending.remove(&id);
    }

    /// Tells the client that a name is removed although it is not subscribed to it: under a wildcard it cannot know.
    pub(crate) fn say_farewell(&mut self, name: &str) {
        self.farewells.insert(name.into());
    }

    /// Takes a farewell back: the name is subscribed to again.
    pub(crate) fn keep(&mut self, name: &str) {
        self.farewells.remove(name);
    }

    /// The names that the stream pays for.
    pub(crate) fn len(&self) -> usize {
        self.names.len() + self.farewells.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NameId> {
        self.names.keys().copied()
    }

    pub(crate) fn has(&self, id: NameId) -> bool {
        self.names.contains_key(&id)
    }

    /// Whether a name waits to be sent.
    pub(crate) fn is_pending(&self, id: NameId) -> bool {
        self.pending.contains(&id)
    }

    /// Whether this stream has sent content of a name.
    pub(crate) fn is_sent(&self, id: NameId) -> bool {
        let is_sent = |one: &Subscription| one.sent_in != Nonce::default() && matches!(one.told, Told::Version(_));
        self.names.get(&id).is_some_and(is_sent)
    }

    /// The content of a name may have changed.
    pub(crate) fn change(&mut self, id: NameId) {
        if self.names.contains_key(&id) {
            self.pending.insert(id);
        }
    }

    /// Sends a name even if nothing changed.
    pub(crate) fn owe(&mut self, id: NameId) {
        if let Some(subscription) = self.names.get_mut(&id) {
            subscription.is_owed = true;
            self.pending.insert(id);
        }
    }

    /// When the message that waits for its ACK was sent.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        self.unacknowledged.map(|message| message.sent_at)
    }

    /// Takes an ACK. One with the nonce of another message acknowledges nothing.
    pub(crate) fn acknowledge(&mut self, nonce: Nonce) {
        self.unacknowledged.take_if(|message| message.nonce == nonce);
    }

    /// Takes a NACK, and returns what was refused. One with the nonce of another message refuses nothing.
    ///
    /// A client refuses whole messages. A single resource is to blame itself: that version is not sent again. Resources of a larger
    /// message are each sent once more, alone, so that a bad one does not keep others from the client.
    pub(crate) fn reject(&mut self, nonce: Nonce) -> Option<RefusedMessage> {
        let message = self.unacknowledged.take_if(|message| message.nonce == nonce)?;
        let is_final = message.resources == 1;
        let mut resources = Vec::new();
        for (id, subscription) in self.names.iter_mut().filter(|(_, subscription)| subscription.sent_in == nonce) {
            let is_sent_again = match subscription.told {
                Told::Version(version) => {
                    subscription.rejected = Some(Refused { version, is_final });
                    resources.push((*id, version));
                    !is_final
                }
                // Refused with the resources beside it, but right. Removals that were refused by themselves would be again.
                Told::Missing => message.resources > 0,
                Told::Nothing => false,
            };
            if is_sent_again {
                subscription.is_owed = true;
                self.pending.insert(*id);
            }
        }
        Some(RefusedMessage { resources, is_final })
    }

    /// Composes the next message, of at most `limit_bytes`, unless one waits for its ACK or nothing is to be said.
    ///
    /// `is_held` says whether a name must wait for another type. `content` returns a name and what the caller gets of it.
    pub(crate) fn next_message<B: Clone + AsRef<[u8]>>(
        &mut self,
        now: Duration,
        nonce: Nonce,
        (index, rules): (TypeIndex, &ResourceType),
        limit_bytes: usize,
        is_held: impl Fn(NameId) -> bool,
        mut content: impl FnMut(NameId) -> Option<(Arc<str>, Option<Encoded<B>>)>,
    ) -> Option<Message<B>> {
        if self.unacknowledged.is_some() {
            return None;
        }
        let mut draft = Draft::new(index, nonce, limit_bytes);
        // Alone, so that no resource can have them refused.
        while let Some(name) = self.farewells.pop_first() {
            let bytes = entry_bytes(&name, 0);
            if !draft.has_room_for(bytes) {
                self.farewells.insert(name);
                break;
            }
            draft.remove(name, bytes);
        }
        let unseen = if draft.is_empty() { self.pending.len() } else { 0 };
        for _ in 0..unseen {
            let Some(id) = self.next_pending() else { break };
            if is_held(id) {
                self.cursor = id;
                continue;
            }
            let (Some(subscription), Some((name, encoded))) = (self.names.get_mut(&id), content(id)) else {
                self.pending.remove(&id);
                continue;
            };
            let step = subscription.step(encoded.as_ref().map(|encoded| encoded.version), rules);
            let body_bytes = encoded.as_ref().map_or(0, |encoded| encoded.body.as_ref().len() + rules.url.len());
            let bytes = entry_bytes(&name, body_bytes);
            if step != Step::Nothing && !draft.has_room_for(bytes) {
                break;
            }
            self.cursor = id;
            if step == Step::SendAlone && !draft.is_empty() {
                continue;
            }
            self.pending.remove(&id);
            if step == Step::Nothing {
                continue;
            }
            subscription.is_owed = false;
            subscription.sent_in = nonce;
            subscription.told = encoded.as_ref().map_or(Told::Missing, |encoded| Told::Version(encoded.version));
            match encoded {
                Some(Encoded { version, body }) => draft.add(SentResource { name, version, body }, bytes),
                None => draft.remove(name, bytes),
            }
            if step == Step::SendAlone {
                break;
            }
        }
        if draft.is_empty() && !self.owes_answer {
            return None;
        }
        self.owes_answer = false;
        self.unacknowledged = Some(Unacknowledged { nonce, sent_at: now, resources: draft.message.resources.len() });
        Some(draft.message)
    }

    /// The next pending name after the cursor, and from the start again after the last one.
    fn next_pending(&self) -> Option<NameId> {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.pending.range((Excluded(self.cursor), Unbounded)).next();
        after.or_else(|| self.pending.first()).copied()
    }
}

impl Subscription {
    /// What to do now that the content has this version; `None` if there is no such resource for the caller.
    fn step(&self, version: Option<Version>, rules: &ResourceType) -> Step {
        let Some(version) = version else {
            let is_news = self.is_owed || self.told != Told::Missing;
            return if rules.is_ever_removed && is_news { Step::Send } else { Step::Nothing };
        };
        let refused = self.rejected.filter(|refused| refused.version == version);
        match refused {
            Some(Refused { is_final: true, .. }) => Step::Nothing,
            _ if self.told == Told::Version(version) && !self.is_owed => Step::Nothing,
            Some(_) => Step::SendAlone,
            None => Step::Send,
        }
    }
}

/// A message under way.
struct Draft<B> {
    message: Message<B>,
    bytes: usize,
    limit_bytes: usize,
}

/// About the bytes that an entry takes in a message: tags and lengths are less than 32.
fn entry_bytes(name: &str, body_bytes: usize) -> usize {
    name.len() + Version::TEXT_BYTES + body_bytes + 32
}

impl<B> Draft<B> {
    fn new(resource_type: TypeIndex, nonce: Nonce, limit_bytes: usize) -> Self {
        let message = Message { resource_type, nonce, resources: Vec::new(), removed: Vec::new() };
        Self { message, bytes: 0, limit_bytes }
    }

    fn is_empty(&self) -> bool {
        self.message.resources.is_empty() && self.message.removed.is_empty()
    }

    /// Whether another entry fits. The first one always does, however large.
    fn has_room_for(&self, bytes: usize) -> bool {
        self.is_empty() || self.bytes + bytes <= self.limit_bytes
    }

    fn add(&mut self, resource: SentResource<B>, bytes: usize) {
        self.bytes += bytes;
        self.message.resources.push(resource);
    }

    fn remove(&mut self, name: Arc<str>, bytes: usize) {
        self.bytes += bytes;
        self.message.removed.push(name);
    }
}
