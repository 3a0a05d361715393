//! How a table is filled by a server when requests need it: events in, actions out.
//!
//! A request whose name depends on something that the server has not answered waits. The keys that it needs are asked for over one
//! stream of delta xDS, and stay subscribed: the server tells of each change. What is known serves on when the stream ends.
//!
//! | event | what may follow |
//! |---|---|
//! | [`Discovery::ask`]: a request needs keys | the stream is opened, the keys are subscribed, the request waits |
//! | [`Discovery::opened`] | every key is subscribed, each with the version that is known of it |
//! | [`Discovery::received`] | the table changes, the message is acknowledged, requests are decided |
//! | [`Discovery::closed`] | what the server said not to exist is outdated; the next attempt is planned |
//! | [`Discovery::tick`] | waits end, the stream is opened again, unused keys are unsubscribed |
//!
//! It may use `table` and everything below it. It has no clock, no random numbers and no stream: they come in with each event, and
//! whoever passes the events carries out the actions. Times are in milliseconds of a clock that never goes back.

use alloc::{boxed::Box, vec::Vec};
use core::mem::swap;

use crate::{
    limits::{MAX_MESSAGE_BYTES, MAX_WAIT_MILLISECONDS, MAX_WAITING_REQUESTS},
    table::{Key, Table},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef},
};

mod answers;
mod connection;
mod keys;
mod messages;
mod protobuf;

pub use messages::StreamNode;
pub use protobuf::{put_bytes as put_protobuf_bytes, put_number as put_protobuf_number};

use connection::Connection;
use keys::Keys;
use messages::{Request, ResourceType, Response};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamAction {
    /// Open the stream, and say how that went by [`Discovery::opened`] or [`Discovery::closed`].
    Open,
    /// Send this message on the stream.
    Send(Vec<u8>),
    /// End the stream, which is of no more use. It counts as closed already.
    Reset,
    /// Decide this request: some of what it waits for is answered, or its time is over. It waits no more unless it asks again.
    Resume(u32),
}

/// The stream to the server, what is asked for on it, and who waits.
#[derive(Debug)]
pub struct Discovery {
    cluster: Box<str>,
    preload: Vec<Box<str>>,
    connection: Connection,
    keys: Keys,
    waiting: Vec<Waiting>,
    counts: Counts,
}

/// What has happened since the start; each number begins again at 0 after 2^32 - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that waited.
    pub waits: u32,
    /// Requests that were decided without the server's answer.
    pub timeouts: u32,
    /// Streams that were opened.
    pub streams: u32,
    /// Messages that were refused, as a whole or in part.
    pub rejections: u32,
    /// Streams that ended before the server answered, or could not be opened.
    pub failures: u32,
}

/// A request that waits.
#[derive(Debug)]
struct Waiting {
    request: u32,
    until: u64,
    keys: Vec<Key>,
}

impl Discovery {
    /// Compiles the field `server`.
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::Server, errors: &mut FieldErrors) -> Self {
        let at = FieldPathRef::root("server");
        if wire.cluster.is_empty() {
            errors.add(&at.field("cluster"), "", FieldErrorType::Required);
        }
        let mut preload = Vec::new();
        for (index, pattern) in wire.preload.iter().enumerate() {
            match pattern.strip_suffix("/*").filter(|namespace| crate::names::is_label(namespace)) {
                Some(namespace) => preload.push(namespace.into()),
                None => errors.add(&at.field("preload").index(index), pattern, FieldErrorType::InvalidPreload),
            }
        }
        Self {
            cluster: wire.cluster.as_str().into(),
            preload,
            connection: Connection::default(),
            keys: Keys::default(),
            waiting: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// The Envoy cluster of the server.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// What has happened since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the stream is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Since when there is no stream that the server answers, in milliseconds; 0 if there is one, or none was opened yet.
    #[must_use]
    pub fn lost_at(&self) -> u64 {
        self.connection.lost_at()
    }

    /// Whether an answer can be expected soon: the last stream, if there was one, was of use.
    #[must_use]
    pub fn is_hopeful(&self) -> bool {
        self.connection.is_hopeful()
    }

    /// The number of requests that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Asks for the keys that a request needs. Returns whether the request may wait for them; else it has to be decided now. `since` is
    /// when it began to wait, if it has waited.
    pub fn ask(
        &mut self,
        now: u64,
        (request, since): (u32, Option<u64>),
        keys: Vec<Key>,
        table: &mut Table,
        actions: &mut Vec<StreamAction>,
    ) -> bool {
        self.done(request);
        let mut is_refused = false;
        for key in &keys {
            is_refused |= self.keys.subscribe(key, false, table);
        }
        if self.connection.may_open(now) {
            actions.push(StreamAction::Open);
        }
        self.flush(now, table, actions);
        let until = since.unwrap_or(now).saturating_add(MAX_WAIT_MILLISECONDS);
        let waits =
            !is_refused && now < until && self.connection.is_hopeful() && self.waiting.len() < MAX_WAITING_REQUESTS;
        if waits {
            self.counts.waits = self.counts.waits.wrapping_add(u32::from(since.is_none()));
            self.waiting.push(Waiting { request, until, keys });
        } else {
            self.counts.timeouts = self.counts.timeouts.wrapping_add(1);
        }
        waits
    }

    /// Forgets a request that [`Discovery::ask`] let wait, and that is decided at once: nothing would resume it. `is_first` says that it
    /// had not waited before.
    pub fn decline(&mut self, request: u32, is_first: bool) {
        self.done(request);
        self.counts.waits = self.counts.waits.wrapping_sub(u32::from(is_first));
        self.counts.timeouts = self.counts.timeouts.wrapping_add(1);
    }

    /// Forgets a request that waits: its client has left.
    pub fn done(&mut self, request: u32) {
        self.waiting.retain(|waiting| waiting.request != request);
    }

    /// The stream was opened.
    pub fn opened(&mut self, now: u64, node: &StreamNode<'_>, table: &mut Table, actions: &mut Vec<StreamAction>) {
        self.connection.opened(now);
        self.connection.asked(now);
        self.counts.streams = self.counts.streams.wrapping_add(1);
        let mut node = Some(node.encode());
        self.keys.clear_changes();
        for resource_type in ResourceType::ALL {
            let mut request = Request::new(resource_type);
            if let Some(node) = node.take() {
                request.node(&node);
            }
            if resource_type == ResourceType::Namespaces {
                request.subscribe("*");
                self.preload.iter().for_each(|namespace| request.subscribe(namespace));
            } else if !Keys::write_all(resource_type, table, &mut request) {
                continue;
            }
            actions.push(StreamAction::Send(request.finish()));
        }
    }

    /// The stream ended, or could not be opened. `random` spreads the next attempts of many. Nothing happens if there is no stream.
    pub fn closed(&mut self, now: u64, random: u64, table: &mut Table, actions: &mut Vec<StreamAction>) {
        if !self.connection.is_under_way() {
            return;
        }
        self.connection.closed(now, random);
        stream_ended(table);
        if !self.connection.is_hopeful() {
            self.counts.failures = self.counts.failures.wrapping_add(1);
            resume(&mut self.waiting, &|_| true, actions);
        }
    }

    /// A message came: changes the table, and answers the message.
    pub fn received(
        &mut self,
        now: u64,
        random: u64,
        message: &[u8],
        table: &mut Table,
        actions: &mut Vec<StreamAction>,
    ) {
        if !self.connection.is_open() {
            return;
        }
        let fits = message.len() <= MAX_MESSAGE_BYTES;
        let Some(response) = fits.then(|| Response::read(message).ok()).flatten() else {
            self.reset(now, random, table, actions);
            return;
        };
        let refused = self.keys.take(&response, &self.preload, table);
        self.connection.answered(now, is_awaited(table));
        let mut answer = Request::new(response.resource_type);
        answer.answer(response.nonce, refused.as_deref());
        self.counts.rejections = self.counts.rejections.wrapping_add(u32::from(refused.is_some()));
        actions.push(StreamAction::Send(answer.finish()));
        self.flush(now, table, actions);
        let Some(keys) = table.on_demand() else { return };
        // The namespaces may say that a Service is missing before it is answered.
        let are_namespaces = response.resource_type == ResourceType::Namespaces;
        let is_answered = |key: &Key| keys.get(key).is_none_or(|state| !state.answer.is_awaited());
        let is_due = |waiting: &Waiting| are_namespaces || waiting.keys.iter().any(is_answered);
        resume(&mut self.waiting, &is_due, actions);
    }

    /// A message came that is too long to be read.
    pub fn reset(&mut self, now: u64, random: u64, table: &mut Table, actions: &mut Vec<StreamAction>) {
        self.counts.rejections = self.counts.rejections.wrapping_add(1);
        self.give_up(now, random, table, actions);
    }

    /// Ends a stream that is of no more use.
    fn give_up(&mut self, now: u64, random: u64, table: &mut Table, actions: &mut Vec<StreamAction>) {
        self.connection.failed();
        actions.push(StreamAction::Reset);
        self.closed(now, random, table, actions);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64, random: u64, table: &mut Table, actions: &mut Vec<StreamAction>) {
        resume(&mut self.waiting, &|waiting| waiting.until <= now, actions);
        if self.connection.is_silent(now) {
            self.give_up(now, random, table, actions);
        }
        if self.is_needed(table) && self.connection.may_open(now) {
            actions.push(StreamAction::Open);
        }
        if self.keys.sweep(now, table) {
            self.flush(now, table, actions);
        }
    }

    /// In how many milliseconds [`Discovery::tick`] is to be called, at the latest; `None`: there is nothing to wait for.
    #[must_use]
    pub fn next_tick(&self, now: u64, table: &Table) -> Option<u64> {
        let waits = self.waiting.iter().map(|waiting| waiting.until).min();
        let sweep = (table.keys() > 0).then_some(self.keys.next_sweep);
        let next = [waits, self.connection.next_event(self.is_needed(table)), sweep].into_iter().flatten().min()?;
        Some(next.saturating_sub(now).max(1))
    }

    /// Whether there is something to be asked for without a request.
    fn is_needed(&self, table: &Table) -> bool {
        table.keys() > 0 || !self.preload.is_empty()
    }

    /// Goes on with the `settings` of a newer configuration, which gets those of this one. The stream has ended. What was known by the table
    /// `from` is known if it `may` be.
    pub(crate) fn go_on(&mut self, settings: &mut Self, (from, may): (&mut Table, bool), table: &mut Table, now: u64) {
        swap(&mut self.cluster, &mut settings.cluster);
        swap(&mut self.preload, &mut settings.preload);
        if may {
            self.keys.move_from(from, table);
        } else {
            stream_ended(from);
            swap(&mut self.keys, &mut settings.keys);
        }
        self.connection.was_replaced(now, self.cluster != settings.cluster);
    }

    /// Sends what is to be subscribed and unsubscribed.
    fn flush(&mut self, now: u64, table: &mut Table, actions: &mut Vec<StreamAction>) {
        if !self.connection.is_open() {
            // The next stream is told of every key.
            self.keys.clear_changes();
            return;
        }
        for resource_type in ResourceType::ALL {
            let mut request = Request::new(resource_type);
            if self.keys.write_changes(resource_type, table, &mut request) {
                actions.push(StreamAction::Send(request.finish()));
                if is_awaited(table) {
                    self.connection.asked(now);
                }
            }
        }
    }
}

/// Whether the server has not answered for some key.
fn is_awaited(table: &mut Table) -> bool {
    table.on_demand().is_some_and(|keys| keys.is_awaited())
}

fn stream_ended(table: &mut Table) {
    if let Some(keys) = table.on_demand() {
        keys.stream_ended();
    }
}

/// Has requests decided that wait, if they are due.
#[inline(never)]
fn resume(waiting: &mut Vec<Waiting>, is_due: &dyn Fn(&Waiting) -> bool, actions: &mut Vec<StreamAction>) {
    waiting.retain(|waiting| {
        let is_due = is_due(waiting);
        if is_due {
            actions.push(StreamAction::Resume(waiting.request));
        }
        !is_due
    });
}
