//! A sidecar whose table a server fills, driven by hand, and the messages of its stream.

use std::collections::BTreeMap;

use byname_core::{Config, Discovery, Reason, StreamAction, StreamNode, Table, put_protobuf_bytes};
use serde_json::{Value, json};

use crate::fixture::{ask, config, http, with_fields};

/// The types of resources, in the order in which they are asked for.
pub(crate) const TYPES: [&str; 4] = ["Namespaces", "Service", "Endpoints", "Address"];

const URL: &str = "type.googleapis.com/byname.v1.";

/// What the sidecars of the tests say of themselves.
pub(crate) const NODE: StreamNode<'_> = StreamNode {
    id: b"sidecar~10.0.0.1~web.shop~shop.svc.cluster.local",
    cluster: b"web.shop",
    zone: b"eu-a",
    metadata: &[("NAMESPACE", b"shop"), ("BYNAME_SCHEMA", b"1.1")],
};

/// A `DeltaDiscoveryRequest`, as a server reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadRequest {
    pub(crate) has_node: bool,
    pub(crate) resource_type: String,
    pub(crate) subscribe: Vec<String>,
    pub(crate) unsubscribe: Vec<String>,
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) nonce: String,
    pub(crate) error: Option<String>,
}

/// A `DeltaDiscoveryResponse` to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) resource_type: String,
    pub(crate) nonce: String,
    /// Name, version and value.
    pub(crate) resources: Vec<(String, String, Vec<u8>)>,
    pub(crate) removed: Vec<String>,
}

/// A sidecar: its configuration, its clock, and what it has done.
pub(crate) struct Sidecar {
    pub(crate) config: Config,
    pub(crate) now: u64,
    pub(crate) random: u64,
    /// Messages that no test has looked at.
    pub(crate) sent: Vec<ReadRequest>,
    pub(crate) opens: usize,
    pub(crate) resets: usize,
    /// Requests that wait: the name and since when.
    pub(crate) waiting: BTreeMap<u32, (String, u64)>,
    /// What became of each request that was decided, and after which time.
    pub(crate) decided: BTreeMap<u32, (String, u64)>,
    next: u32,
}

impl ReadRequest {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut request = Self::default();
        for (field, bytes) in fields(bytes) {
            let text = || String::from_utf8(bytes.clone()).expect("text");
            match field {
                1 => request.has_node = true,
                2 => request.resource_type = text().strip_prefix(URL).expect("a type of byname").to_owned(),
                3 => request.subscribe.push(text()),
                4 => request.unsubscribe.push(text()),
                5 => {
                    let entry: BTreeMap<u64, Vec<u8>> = fields(&bytes).into_iter().collect();
                    let part = |field| String::from_utf8(entry[&field].clone()).expect("text");
                    request.versions.insert(part(1), part(2));
                }
                6 => request.nonce = text(),
                7 => {
                    let message = fields(&bytes).into_iter().find(|(field, _)| *field == 2).expect("a message").1;
                    request.error = Some(String::from_utf8(message).expect("text"));
                }
                other => panic!("the field {other} is none of a request"),
            }
        }
        request
    }

    /// `Service: +shop/a -shop/b`; an ACK is `ok`, a NACK the error.
    pub(crate) fn shown(&self) -> String {
        let mut shown = format!("{}:", self.resource_type);
        self.subscribe.iter().for_each(|name| {
            shown += &format!(" +{name}");
            if let Some(version) = self.versions.get(name) {
                shown += &format!("@{version}");
            }
        });
        self.unsubscribe.iter().for_each(|name| shown += &format!(" -{name}"));
        match &self.error {
            Some(error) => shown += &format!(" {error}"),
            None if !self.nonce.is_empty() => shown += " ok",
            None => {}
        }
        shown
    }
}

impl Answer {
    pub(crate) fn new(resource_type: &str) -> Self {
        Self { resource_type: resource_type.to_owned(), nonce: "1".to_owned(), ..Self::default() }
    }

    /// Adds a resource. Its version is a hash of the value.
    pub(crate) fn with(self, name: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        let version = version(&value);
        self.with_bytes(name, &version, value.into_bytes())
    }

    pub(crate) fn with_bytes(mut self, name: &str, version: &str, value: Vec<u8>) -> Self {
        self.resources.push((name.to_owned(), version.to_owned(), value));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.removed.push(name.to_owned());
        self
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut message = Vec::new();
        let url = format!("{URL}{}", self.resource_type);
        for (name, version, value) in &self.resources {
            let (mut any, mut resource) = (Vec::new(), Vec::new());
            put_protobuf_bytes(&mut any, 1, url.as_bytes());
            put_protobuf_bytes(&mut any, 2, value);
            put_protobuf_bytes(&mut resource, 1, version.as_bytes());
            put_protobuf_bytes(&mut resource, 2, &any);
            put_protobuf_bytes(&mut resource, 3, name.as_bytes());
            put_protobuf_bytes(&mut message, 2, &resource);
        }
        put_protobuf_bytes(&mut message, 4, url.as_bytes());
        put_protobuf_bytes(&mut message, 5, self.nonce.as_bytes());
        self.removed.iter().for_each(|name| put_protobuf_bytes(&mut message, 6, name.as_bytes()));
        message
    }
}

/// FNV-1a: the same value has the same version.
pub(crate) fn version(value: &str) -> String {
    let hash = value
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// The fields of a message that the sidecar wrote; numbers are left out.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        let length = number(&mut bytes);
        if tag & 7 == 2 {
            let (field, rest) = bytes.split_at(usize::try_from(length).expect("a length"));
            all.push((tag >> 3, field.to_vec()));
            bytes = rest;
        }
    }
    all
}

fn number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for place in 0.. {
        let (byte, rest) = bytes.split_first().expect("a whole message");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

/// A configuration that asks a server, with these fields besides.
pub(crate) fn on_demand(fields: Value) -> Value {
    with_fields(json!({"server": {"cluster": "byname"}}), fields)
}

impl Sidecar {
    /// A sidecar in `shop` that asks a server, with these fields besides.
    pub(crate) fn new(fields: Value) -> Self {
        Self {
            config: config(on_demand(fields)),
            now: 1_000_000,
            random: 0,
            sent: Vec::new(),
            opens: 0,
            resets: 0,
            waiting: BTreeMap::new(),
            decided: BTreeMap::new(),
            next: 1,
        }
    }

    /// A sidecar whose stream is open, and that knows the namespaces `shop` and `prod`.
    pub(crate) fn connected(fields: Value) -> Self {
        let mut sidecar = Self::new(fields);
        assert_eq!(sidecar.ask("start"), "waits");
        sidecar.opened();
        sidecar.answer(&Answer::new("Namespaces").with("*", "prod shop"));
        sidecar.answer(&Answer::new("Service").without("shop/start"));
        sidecar.take_sent();
        sidecar
    }

    /// Decides a request, or lets it wait: what it resolves to, or `waits`.
    pub(crate) fn ask(&mut self, authority: &str) -> String {
        let id = self.request(authority);
        self.outcome(id)
    }

    /// A request. It waits or is decided.
    pub(crate) fn request(&mut self, authority: &str) -> u32 {
        let id = self.next;
        self.next += 1;
        self.decide(id, authority.to_owned(), None);
        id
    }

    /// What became of a request so far.
    pub(crate) fn outcome(&self, id: u32) -> String {
        self.decided.get(&id).map_or_else(|| "waits".to_owned(), |(outcome, _)| outcome.clone())
    }

    fn decide(&mut self, id: u32, authority: String, since: Option<u64>) {
        let request = http(&authority);
        let is_unanswered = self.config.resolve(request, None).reason() == Reason::Unanswered;
        let mut actions = Vec::new();
        if is_unanswered && self.config.ask(request, (id, since), self.now, &mut actions) {
            self.waiting.insert(id, (authority, since.unwrap_or(self.now)));
        } else {
            let outcome = ask(&self.config, &authority);
            self.decided.insert(id, (outcome, since.map_or(0, |since| self.now - since)));
        }
        self.carry_out(actions);
    }

    /// The client of a request has left.
    pub(crate) fn leave(&mut self, id: u32) {
        self.waiting.remove(&id);
        self.discovery().0.done(id);
    }

    pub(crate) fn discovery(&mut self) -> (&mut Discovery, &mut Table) {
        self.config.discover().expect("the configuration has a server")
    }

    fn carry_out(&mut self, actions: Vec<StreamAction>) {
        for action in actions {
            match action {
                StreamAction::Open => self.opens += 1,
                StreamAction::Send(message) => self.sent.push(ReadRequest::read(&message)),
                StreamAction::Reset => self.resets += 1,
                StreamAction::Resume(id) => {
                    let (authority, since) = self.waiting.remove(&id).expect("only a request that waits is resumed");
                    self.decide(id, authority, Some(since));
                }
            }
        }
    }

    /// The stream that was to be opened is open.
    pub(crate) fn opened(&mut self) {
        let (now, mut actions) = (self.now, Vec::new());
        let (discovery, table) = self.discovery();
        discovery.opened(now, &NODE, table, &mut actions);
        self.carry_out(actions);
    }

    pub(crate) fn closed(&mut self) {
        let (now, random, mut actions) = (self.now, self.random, Vec::new());
        let (discovery, table) = self.discovery();
        discovery.closed(now, random, table, &mut actions);
        self.carry_out(actions);
    }

    pub(crate) fn answer(&mut self, answer: &Answer) {
        self.receive(&answer.write());
    }

    pub(crate) fn receive(&mut self, message: &[u8]) {
        let (now, random, mut actions) = (self.now, self.random, Vec::new());
        let (discovery, table) = self.discovery();
        discovery.received(now, random, message, table, &mut actions);
        self.carry_out(actions);
    }

    /// Time passes at once, without a tick before its end.
    pub(crate) fn tick_after(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        let (now, random, mut actions) = (self.now, self.random, Vec::new());
        let (discovery, table) = self.discovery();
        discovery.tick(now, random, table, &mut actions);
        self.carry_out(actions);
    }

    /// Time passes, with every tick that the discovery asks for. Returns the number of ticks.
    pub(crate) fn wait(&mut self, milliseconds: u64) -> usize {
        let end = self.now + milliseconds;
        let mut ticks = 0;
        loop {
            let now = self.now;
            match self.next_tick(now) {
                Some(next) if now + next <= end => self.tick_after(next),
                _ => break,
            }
            ticks += 1;
        }
        self.now = end;
        ticks
    }

    /// A configuration push: the stream ends with the earlier configuration.
    pub(crate) fn push(&mut self, fields: Value) {
        let mut earlier = std::mem::replace(&mut self.config, config(on_demand(fields)));
        self.config.go_on(&mut earlier, self.now);
    }

    /// The messages since the last call, without those that only acknowledge.
    pub(crate) fn take_sent(&mut self) -> Vec<String> {
        let shown = std::mem::take(&mut self.sent).into_iter().map(|request| request.shown());
        shown.filter(|shown| !shown.ends_with(": ok")).collect()
    }

    pub(crate) fn next_tick(&self, now: u64) -> Option<u64> {
        self.config.discovery().expect("the configuration has a server").next_tick(now, &self.config.table)
    }

    pub(crate) fn keys(&self) -> usize {
        self.config.table.keys()
    }
}
