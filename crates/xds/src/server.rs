//! The server: every event goes in here, and every action comes out of here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    CloseReason, DeltaRequest, Limits, Nonce, OpeningCost, Rejection, ResourceSource, ResourceTypes, ServerAction,
    ServerEvent, StreamId, TypeIndex, Version,
    admission::Admission,
    coalesce::{Coalescer, is_paced},
    index::Index,
    owners::Owners,
    resources::Resources,
    stream::{ClientStream, leads},
    subscribe::{Subscriber, check_names},
    subscription::Receipt,
    subscriptions::Through,
};

/// The bytes of a client's text that are passed on.
const TEXT_BYTES: usize = 1_024;

/// The server's side of all streams.
///
/// Times are readings of one monotonic clock, as durations since any fixed start.
pub struct Server<S: ResourceSource> {
    types: ResourceTypes,
    limits: Limits,
    admission: Admission,
    index: Index,
    resources: Resources<S>,
    coalescer: Coalescer,
    streams: BTreeMap<StreamId, ClientStream<S::Caller>>,
    /// When each stream has to be looked at: one entry for each.
    deadlines: BTreeSet<(Duration, StreamId)>,
    owners: Owners,
    /// The streams that wait for another turn, and the last one that had one.
    unfinished: BTreeSet<StreamId>,
    last_turn: StreamId,
}

/// How much a [`Server`] keeps. Only streams and subscriptions make it grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Open streams.
    pub streams: usize,
    /// Names that at least one stream subscribes to.
    pub names: usize,
    /// The names whose encoded bytes are kept.
    pub encoded: usize,
    /// The names that have changed since a stream first subscribed to them.
    pub changed: usize,
}

/// What one event has led to so far.
struct Effects<B> {
    actions: Vec<ServerAction<B>>,
    /// Streams that may have something to send, each once: the one that the event is about comes first.
    ready: Vec<StreamId>,
    are_ready: BTreeSet<StreamId>,
}

impl<B> Effects<B> {
    fn is_ready(&mut self, stream: StreamId) {
        if self.are_ready.insert(stream) {
            self.ready.push(stream);
        }
    }
}

impl<S: ResourceSource> Server<S> {
    /// Returns a server without streams, which refuses streams until [`ServerEvent::Synced`].
    #[must_use]
    pub fn new(types: ResourceTypes, limits: Limits) -> Self {
        Self {
            types,
            resources: Resources::new(limits.encoded_bytes),
            limits,
            admission: Admission::default(),
            index: Index::default(),
            coalescer: Coalescer::default(),
            streams: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            owners: Owners::default(),
            unfinished: BTreeSet::new(),
            last_turn: StreamId(0),
        }
    }

    /// Takes what happened at the time `now`, and returns what is to be done, in this order.
    ///
    /// Events of a stream that is not open do nothing: they may be under way when it is closed.
    #[must_use]
    pub fn handle(&mut self, now: Duration, event: ServerEvent<S::Caller>, source: &S) -> Vec<ServerAction<S::Body>> {
        let mut effects = Effects { actions: Vec::new(), ready: Vec::new(), are_ready: BTreeSet::new() };
        self.resources.begin_turn(self.limits.encodings_per_turn, self.limits.encoded_bytes_per_turn);
        let mut is_turn = false;
        match event {
            ServerEvent::Opened { stream, caller, owner, random, cost } => {
                self.open(now, (stream, random, cost), caller, owner, &mut effects);
            }
            ServerEvent::Requested { stream, request } => self.request(stream, &request, source, &mut effects),
            ServerEvent::Closed { stream } => self.forget(stream),
            ServerEvent::Changed { resource_type, name, since } => {
                self.change((now, since), resource_type, &name, source);
            }
            ServerEvent::CallerChanged { stream, resource_type, caller } => {
                self.change_caller(stream, resource_type, caller, &mut effects);
            }
            ServerEvent::Synced => self.admission.synced(),
            ServerEvent::WatchesFailed => self.admission.watches_failed(now),
            ServerEvent::WatchesRecovered => self.admission.watches_recovered(),
            ServerEvent::ShuttingDown => self.shut_down(now),
            ServerEvent::Woken => is_turn = true,
        }
        self.pass_changes_on(now, source, &mut effects);
        self.send(now, source, &mut effects);
        if is_turn {
            self.go_on(now, source, &mut effects);
        }
        self.end_streams(now, &mut effects);
        effects.actions
    }

    /// When to call [`handle`](Self::handle) with [`ServerEvent::Woken`], unless something happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let turn = (!self.unfinished.is_empty()).then_some(Duration::ZERO);
        [deadline, turn, self.coalescer.next_wake()].into_iter().flatten().min()
    }

    /// Takes note that a message went out, if that is later than the event that led to it: a client has the whole time to answer.
    pub fn went_out(&mut self, now: Duration, stream: StreamId, (resource_type, nonce): (TypeIndex, Nonce)) {
        let Some(opened) = self.streams.get_mut(&stream) else { return };
        if let Some(subscriptions) = opened.of(resource_type) {
            subscriptions.went_out(nonce, now);
            self.reschedule(stream);
        }
    }

    /// The types that the server has.
    #[must_use]
    pub fn types(&self) -> &ResourceTypes {
        &self.types
    }

    /// How much the server keeps now.
    #[must_use]
    pub fn size(&self) -> Size {
        Size {
            streams: self.streams.len(),
            names: self.index.len(),
            encoded: self.resources.len(),
            changed: self.coalescer.len(),
        }
    }

    /// The number of subscriptions of a type, over all streams.
    #[must_use]
    pub fn subscriptions(&self, resource_type: TypeIndex) -> usize {
        self.index.subscriptions(resource_type)
    }

    /// What a stream subscribes to: the versions that its client was told, `None` for what is missing, and how far that has come.
    pub fn told(&self, stream: StreamId) -> impl Iterator<Item = (TypeIndex, Arc<str>, Option<Version>, Receipt)> {
        let opened = self.streams.get(&stream).into_iter();
        let subscriptions = opened.flat_map(|opened| opened.all()).flat_map(|subscriptions| subscriptions.told());
        subscriptions.filter_map(|(id, version, receipt)| {
            Some((self.index.resource_type(id)?, self.index.name(id)?.clone(), version, receipt))
        })
    }

    fn open(
        &mut self,
        now: Duration,
        (stream, random, cost): (StreamId, u32, OpeningCost),
        caller: S::Caller,
        owner: Option<Arc<str>>,
        effects: &mut Effects<S::Body>,
    ) {
        self.forget(stream);
        // An owner that has its part takes none of the others' places.
        let may_open = owner.as_ref().map_or(Ok(()), |owner| self.owners.may_open(now, owner, cost, &self.limits));
        if let Err(reason) = may_open.and_then(|()| self.admission.open(now, self.streams.len(), cost, &self.limits)) {
            effects.actions.push(ServerAction::Close { stream, reason });
            return;
        }
        if let Some(owner) = &owner {
            self.owners.open(now, owner, cost, &self.limits);
        }
        let ends_at = now.saturating_add(spread(self.limits.stream_age, random));
        let mut opened = ClientStream::new(caller, owner, now, ends_at);
        opened.deadline = opened.next_deadline(&self.limits);
        self.deadlines.insert((opened.deadline, stream));
        self.streams.insert(stream, opened);
    }

    /// Drops all that is kept for a stream.
    fn forget(&mut self, stream: StreamId) {
        let Some(closed) = self.streams.remove(&stream) else { return };
        self.deadlines.remove(&(closed.deadline, stream));
        self.unfinished.remove(&stream);
        if let Some(owner) = &closed.owner {
            self.owners.close(owner, closed.charged);
        }
        for id in closed.all().flat_map(|subscriptions| subscriptions.ids()) {
            if self.index.unwatch(id, stream) {
                self.resources.forget(id);
                self.coalescer.forget(id);
            }
        }
    }

    fn close(&mut self, stream: StreamId, reason: CloseReason, effects: &mut Effects<S::Body>) {
        self.forget(stream);
        effects.actions.push(ServerAction::Close { stream, reason });
    }

    fn request(&mut self, stream: StreamId, request: &DeltaRequest, source: &S, effects: &mut Effects<S::Body>) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        let Some(resource_type) = self.types.find(&request.type_url) else {
            return self.close(stream, CloseReason::UnknownType { url: shortened(&request.type_url) }, effects);
        };
        self.acknowledge(stream, resource_type, request, effects);
        match self.subscribe(stream, resource_type, request) {
            Ok(()) => {
                // What a client has already, it has with what that leads to. If that leads elsewhere now, it is told so.
                let known = &request.initial_resource_versions;
                let new = request.subscribe.iter().filter(|name| !known.contains_key(*name));
                let new: BTreeSet<&str> = new.map(String::as_str).collect();
                self.follow(stream, resource_type, new.into_iter(), source);
                match self.charge(stream) {
                    Ok(()) => effects.is_ready(stream),
                    Err(reason) => self.close(stream, reason, effects),
                }
            }
            Err(reason) => self.close(stream, reason, effects),
        }
    }

    /// Counts what the stream's subscriptions take now, and says whether its owner may have that much.
    fn charge(&mut self, stream: StreamId) -> Result<(), CloseReason> {
        let Some(opened) = self.streams.get_mut(&stream) else { return Ok(()) };
        let (Some(owner), bytes) = (&opened.owner, opened.bytes()) else { return Ok(()) };
        self.owners.charge(owner, std::mem::replace(&mut opened.charged, bytes), bytes);
        let limit = self.limits.bytes_per_owner;
        if self.owners.bytes(owner) > limit { Err(CloseReason::TooManyBytesOfOwner { limit }) } else { Ok(()) }
    }

    /// Subscribes a stream to what these resources lead to, and to what that leads to, as far as the stream has room. Returns whether
    /// there was anything new.
    fn follow<'n>(
        &mut self,
        stream: StreamId,
        resource_type: TypeIndex,
        names: impl Iterator<Item = &'n str>,
        source: &S,
    ) -> bool {
        let (Some(rules), Some(opened)) = (self.types.get(resource_type), self.streams.get_mut(&stream)) else {
            return false;
        };
        if !rules.is_linked {
            return false;
        }
        let led = names.flat_map(|name| leads((resource_type, rules), name, &opened.caller, source));
        let mut led: Vec<(TypeIndex, String)> = led.collect();
        let (mut room, mut is_new) = (self.limits.names_per_stream.saturating_sub(opened.names()), false);
        while let Some((led_type, name)) = led.pop() {
            let Some(rules) = self.types.get(led_type).filter(|rules| rules.is_linked) else { continue };
            opened.begin(led_type);
            let Some(subscriptions) = opened.of(led_type) else { continue };
            if self.index.find(led_type, &name).is_some_and(|id| subscriptions.has(id)) || room == 0 {
                continue;
            }
            let id = self.index.watch(led_type, &name, stream);
            subscriptions.subscribe((id, &name), Through::Name, None);
            (room, is_new) = (room - 1, true);
            led.extend(leads((led_type, rules), &name, &opened.caller, source));
        }
        is_new
    }

    /// Takes the request's ACK or NACK, if it is one.
    fn acknowledge(
        &mut self,
        stream: StreamId,
        resource_type: TypeIndex,
        request: &DeltaRequest,
        effects: &mut Effects<S::Body>,
    ) {
        let Some(subscriptions) = self.streams.get_mut(&stream).and_then(|opened| opened.of(resource_type)) else {
            return;
        };
        let Some(nonce) = Nonce::parse(&request.response_nonce) else { return };
        let Some(error) = &request.error else { return subscriptions.acknowledge(nonce) };
        let Some(refused) = subscriptions.reject(nonce) else { return };
        let named = |(id, version)| Some((self.index.name(id)?.clone(), version));
        effects.actions.push(ServerAction::Report(Rejection {
            stream,
            resource_type,
            resources: refused.resources.into_iter().filter_map(named).collect(),
            reason: shortened(error),
            is_final: refused.is_final,
        }));
    }

    fn subscribe(
        &mut self,
        stream: StreamId,
        resource_type: TypeIndex,
        request: &DeltaRequest,
    ) -> Result<(), CloseReason> {
        check_names(request, &self.limits)?;
        let Some(rules) = self.types.get(resource_type) else { return Ok(()) };
        let Some(opened) = self.streams.get_mut(&stream) else { return Ok(()) };
        let room = self.limits.names_per_stream.saturating_sub(opened.names());
        opened.begin(resource_type);
        let Some((subscriptions, followed)) = opened.with_followed(resource_type, rules) else { return Ok(()) };
        let (index, unwatched) = (&mut self.index, Vec::new());
        let mut subscriber = Subscriber { stream, resource_type, rules, index, subscriptions, followed, unwatched };
        let result = subscriber.apply(request, room, &self.limits);
        for id in subscriber.unwatched {
            self.resources.forget(id);
            self.coalescer.forget(id);
        }
        result
    }

    /// Takes a change. A name that nobody watches costs one lookup.
    fn change(&mut self, times: (Duration, Duration), resource_type: TypeIndex, name: &str, source: &S) {
        let Some(id) = self.index.find(resource_type, name) else { return };
        let Some(rules) = self.types.get(resource_type) else { return };
        // A client that subscribes while the window is open gets the new content at once.
        self.resources.forget(id);
        let mut subscribers = self.index.subscribers(id).len();
        if is_paced(subscribers, &self.limits) {
            // Whoever may not see the resource is sent nothing, and slows nobody down.
            let sees = |stream: &StreamId| {
                let opened = self.streams.get(stream);
                opened.is_some_and(|opened| source.class(resource_type, name, &opened.caller).is_some())
            };
            subscribers = self.index.subscribers(id).filter(sees).count();
        }
        self.coalescer.change(
            times,
            (rules.window_of.unwrap_or(resource_type), id),
            rules.window,
            subscribers,
            &self.limits,
        );
    }

    /// Looks again at all that the stream subscribes to of the type.
    fn change_caller(
        &mut self,
        stream: StreamId,
        resource_type: TypeIndex,
        caller: S::Caller,
        effects: &mut Effects<S::Body>,
    ) {
        let Some(opened) = self.streams.get_mut(&stream) else { return };
        opened.caller = caller;
        if let Some(subscriptions) = opened.of(resource_type) {
            for id in subscriptions.ids().collect::<Vec<_>>() {
                subscriptions.change(id, None);
            }
        }
        effects.is_ready(stream);
    }

    /// Marks changes that are due for their subscribers.
    fn pass_changes_on(&mut self, now: Duration, source: &S, effects: &mut Effects<S::Body>) {
        while let Some((id, since)) = self.coalescer.pop(now) {
            let (Some(resource_type), Some(name)) = (self.index.resource_type(id), self.index.name(id).cloned()) else {
                continue;
            };
            let subscribers: Vec<StreamId> = self.index.subscribers(id).collect();
            for stream in subscribers {
                if let Some(subscriptions) = self.streams.get_mut(&stream).and_then(|opened| opened.of(resource_type)) {
                    subscriptions.change(id, Some(since));
                    effects.is_ready(stream);
                }
                self.follow(stream, resource_type, std::iter::once(&*name), source);
            }
        }
    }

    /// Sends what the ready streams may be sent now. What has to be encoded once the turn is over waits for another turn, and holds up
    /// nothing that does not.
    fn send(&mut self, now: Duration, source: &S, effects: &mut Effects<S::Body>) {
        for stream in std::mem::take(&mut effects.ready) {
            self.send_on(now, stream, source, effects);
        }
    }

    /// Gives their turn to streams that wait for it, until the turn is over: those after the last one that had one come first, so that none
    /// waits for long.
    fn go_on(&mut self, now: Duration, source: &S, effects: &mut Effects<S::Body>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let after = self.unfinished.range((Excluded(self.last_turn), Unbounded));
        let waiting: Vec<StreamId> = after.chain(self.unfinished.range(..=self.last_turn)).copied().collect();
        for stream in waiting {
            if self.resources.is_turn_over() {
                break;
            }
            self.last_turn = stream;
            self.send_on(now, stream, source, effects);
        }
    }

    fn send_on(&mut self, now: Duration, stream: StreamId, source: &S, effects: &mut Effects<S::Body>) {
        self.resources.begin_stream();
        if let Err(reason) = self.send_to(now, stream, source, effects) {
            return self.close(stream, reason, effects);
        }
        let Some(opened) = self.streams.get_mut(&stream) else { return };
        opened.note_idle(now);
        match self.resources.has_put_off() {
            true => _ = self.unfinished.insert(stream),
            false => _ = self.unfinished.remove(&stream),
        }
        self.reschedule(stream);
    }

    fn send_to(
        &mut self,
        now: Duration,
        stream: StreamId,
        source: &S,
        effects: &mut Effects<S::Body>,
    ) -> Result<(), CloseReason> {
        let is_stale = self.admission.is_stale(now, &self.limits);
        let mut is_new = true;
        while std::mem::take(&mut is_new) {
            let Some(opened) = self.streams.get_mut(&stream) else { break };
            let rules = (&self.types, &self.limits, is_stale);
            let messages = opened.messages(now, rules, (&self.index, &mut self.resources, source))?;
            for message in messages {
                // A resource that changed after it was looked at may lead elsewhere as it is sent.
                let names = message.resources.iter().map(|resource| &*resource.name);
                is_new |= self.follow(stream, message.resource_type, names, source);
                effects.actions.push(ServerAction::Send { stream, message });
            }
        }
        Ok(())
    }

    /// Sets when a stream has to be looked at.
    fn reschedule(&mut self, stream: StreamId) {
        let Some(opened) = self.streams.get_mut(&stream) else { return };
        let deadline = opened.next_deadline(&self.limits);
        if deadline != opened.deadline {
            self.deadlines.remove(&(opened.deadline, stream));
            self.deadlines.insert((deadline, stream));
            opened.deadline = deadline;
        }
    }

    /// Closes streams that have reached their age, and those whose client has not answered in time.
    fn end_streams(&mut self, now: Duration, effects: &mut Effects<S::Body>) {
        while let Some(&(deadline, stream)) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now) {
            let opened = self.streams.get(&stream);
            let is_aged = opened.is_some_and(|opened| opened.ends_at <= deadline);
            if is_aged && self.put_off_end(now, stream) {
                continue;
            }
            let opened = self.streams.get(&stream);
            let idle_deadline = opened.and_then(|opened| opened.idle_deadline(&self.limits));
            let reason = match (is_aged, self.admission.is_shutting_down()) {
                (false, _) if idle_deadline.is_some_and(|idle| idle <= deadline) => {
                    CloseReason::NoSubscription { timeout: self.limits.idle_timeout }
                }
                (false, _) => CloseReason::NotAcknowledged { timeout: self.limits.ack_timeout },
                (true, false) => CloseReason::Aged,
                (true, true) => CloseReason::ShuttingDown,
            };
            self.close(stream, reason, effects);
        }
    }

    /// Lets a stream that has reached its age live on while the server may be behind: another one could refuse its client for what this one
    /// has told it. Returns whether it does.
    fn put_off_end(&mut self, now: Duration, stream: StreamId) -> bool {
        if self.admission.is_shutting_down() || !self.admission.is_stale(now, &self.limits) {
            return false;
        }
        let opened = self.streams.get_mut(&stream);
        let is_put_off = opened.is_some_and(|opened| opened.put_off_end(now, &self.limits));
        if is_put_off {
            self.reschedule(stream);
        }
        is_put_off
    }

    /// Spreads the ends of all streams over the time of the shutdown.
    fn shut_down(&mut self, now: Duration) {
        self.admission.shutting_down();
        let count = u32::try_from(self.streams.len()).unwrap_or(u32::MAX).max(1);
        let step = self.limits.shutdown / count;
        let mut ends_at = now;
        for (stream, opened) in &mut self.streams {
            self.deadlines.remove(&(opened.deadline, *stream));
            opened.ends_at = opened.ends_at.min(ends_at);
            opened.deadline = opened.deadline.min(ends_at);
            self.deadlines.insert((opened.deadline, *stream));
            ends_at = ends_at.saturating_add(step);
        }
    }
}

/// Returns 80 % to 120 % of an age.
fn spread(age: Duration, random: u32) -> Duration {
    let fifth = age / 5;
    let share = fifth.as_nanos().saturating_mul(2).saturating_mul(random.into()) / u128::from(u32::MAX);
    age.saturating_sub(fifth).saturating_add(Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX)))
}

/// Returns a client's text, or its start: texts end up in logs.
fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES);
    text.get(..end).unwrap_or_default().to_owned()
}
