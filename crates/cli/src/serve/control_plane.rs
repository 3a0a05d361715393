//! The control plane: owns the protocol's state, and does what it says.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use byname_xds::{
    CloseReason, DeltaResponse, Limits, OpeningCost, Receipt, Rejection, ResourceTypes, Server, ServerAction,
    ServerEvent, StatusCode, StreamId, TypeIndex,
};
use bytes::Bytes;
use tonic::{Code, Status};

use super::{
    class::{ModuleSchema, StreamCaller},
    discovery::{Any, DeltaDiscoveryResponse, Resource, ServerName},
    listener_ports::ListenerPorts,
    metrics::{Label, Metrics, TwoLabels, of_type},
    rejected,
    resources::{ChangedResource, Resources},
    streams::{Outlet, StreamEvent, StreamEventKind},
    types::Types,
};
use crate::daemon::{
    backoff,
    log::{self, LimitedWarnings},
};

/// All streams, and what is served on them.
pub(super) struct ControlPlane {
    started: Instant,
    server: Server<Resources>,
    types: Types,
    pub(super) resources: Resources,
    streams: BTreeMap<StreamId, OpenStream>,
    ports: ListenerPorts,
    metrics: Arc<Metrics>,
    /// The subscriptions that the metrics show, by type.
    subscriptions: [usize; 7],
    /// Why the last update failed, which is told once.
    trouble: Vec<String>,
    /// Why streams are closed.
    closings: LimitedWarnings,
    /// What clients refused.
    refusals: LimitedWarnings,
}

struct OpenStream {
    caller: StreamCaller,
    owner: Option<Arc<str>>,
    /// The port that it is counted with.
    port: Option<u16>,
    peer: SocketAddr,
    outlet: Outlet,
    opened: Instant,
    /// The messages that wait for their ACKs, by nonce.
    unacknowledged: HashMap<String, SentMessage>,
    rejections: u64,
    /// What the client refused last, and why.
    last_rejection: Option<String>,
}

struct SentMessage {
    resource_type: TypeIndex,
    sent: Instant,
    /// When the oldest change arrived that the message passes on.
    since: Option<Instant>,
}

impl ControlPlane {
    pub(super) fn new(
        make: impl FnOnce(&mut ResourceTypes) -> (Types, Resources),
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut all = ResourceTypes::default();
        let (types, resources) = make(&mut all);
        let server = Server::new(all, limits);
        Self {
            started: Instant::now(),
            server,
            types,
            resources,
            streams: BTreeMap::new(),
            ports: ListenerPorts::default(),
            metrics,
            subscriptions: [usize::MAX; 7],
            trouble: Vec::new(),
            closings: LimitedWarnings::new("were closed"),
            refusals: LimitedWarnings::new("were refused"),
        }
    }

    /// When [`woken`](Self::woken) is due.
    pub(super) fn next_wake(&self) -> Option<tokio::time::Instant> {
        Some((self.started + self.server.next_wake()?).into())
    }

    pub(super) fn woken(&mut self) {
        self.handle(ServerEvent::Woken);
    }

    /// Passes changes of resources on, the first of which arrived at `since`.
    pub(super) fn changed(&mut self, changed: Vec<ChangedResource>, since: Instant) {
        let since = since.saturating_duration_since(self.started);
        for (resource_type, name) in changed {
            self.handle(ServerEvent::Changed { resource_type, name, since });
        }
    }

    pub(super) fn handle(&mut self, event: ServerEvent<StreamCaller>) {
        let now = self.started.elapsed();
        for action in self.server.handle(now, event, &self.resources) {
            self.act(action);
        }
        let size = self.server.size();
        self.metrics.streams.set(number(size.streams));
        self.metrics.names.set(number(size.names));
        let (_, _, left_out) = self.resources.counts();
        self.metrics.left_out.set(number(left_out));
        let types = self.types.words();
        let subscriptions = types.map(|(resource_type, _)| self.server.subscriptions(resource_type));
        // Most events change none.
        if subscriptions != self.subscriptions {
            self.subscriptions = subscriptions;
            for ((_, word), count) in types.into_iter().zip(subscriptions) {
                self.metrics.subscriptions.get_or_create(&of_type(word)).set(number(count));
            }
        }
    }

    /// Takes what happened on a stream.
    pub(super) fn take(&mut self, StreamEvent { stream, kind, .. }: StreamEvent) {
        match kind {
            StreamEventKind::Opened { caller, owner, first_type, peer, outlet } => {
                self.metrics.streams_opened.inc();
                let port = caller.listener_port();
                if let Some(Err(reason)) = port.map(|port| self.ports.open(port, owner.as_ref())) {
                    self.refuse(&caller, peer, &outlet, reason);
                    return;
                }
                let opened = OpenStream {
                    caller: caller.clone(),
                    owner: owner.clone(),
                    port,
                    peer,
                    outlet,
                    opened: Instant::now(),
                    unacknowledged: HashMap::new(),
                    rejections: 0,
                    last_rejection: None,
                };
                self.streams.insert(stream, opened);
                let random = (backoff::random() * f64::from(u32::MAX)) as u32;
                // Envoy gets the names of all Services on its stream; a filter gets the few that it asks for.
                let first_type = self.server.types().find(&first_type);
                let is_of_filter = first_type.is_some_and(|first_type| self.types.is_of_filter(first_type));
                let cost = if is_of_filter { OpeningCost::Half } else { OpeningCost::Whole };
                self.handle(ServerEvent::Opened { stream, caller, owner, random, cost });
            }
            StreamEventKind::Requested { request, held } => {
                let resource_type = self.server.types().find(&request.type_url);
                let opened = self.streams.get_mut(&stream);
                if let Some(message) = opened.and_then(|opened| opened.answered(&request.response_nonce, resource_type))
                {
                    let label = self.label(message.resource_type);
                    self.metrics.ack_seconds.get_or_create(&label).observe(message.sent.elapsed().as_secs_f64());
                    if let Some(since) = message.since.filter(|_| request.error.is_none()) {
                        self.metrics.change_ack_seconds.get_or_create(&label).observe(since.elapsed().as_secs_f64());
                    }
                }
                self.handle(ServerEvent::Requested { stream, request });
                // The client's next message may come.
                drop(held);
            }
            StreamEventKind::Closed => {
                self.forget(stream);
                self.handle(ServerEvent::Closed { stream });
            }
        }
    }

    /// Logs why an update failed, if that is news; without reasons, that it works again.
    pub(super) fn failed(&mut self, reasons: Vec<String>) {
        if self.trouble == reasons {
            return;
        }
        match reasons.is_empty() {
            true => log::note("up to date again"),
            false => {
                reasons.iter().for_each(|reason| log::warn(reason));
                let meanwhile = match self.resources.is_complete() {
                    true => "the last known good names are served",
                    false => "nothing is served yet",
                };
                log::warn(&format!("not up to date: {meanwhile}"));
            }
        }
        self.trouble = reasons;
    }

    /// Whether the last update failed, so that the last known good state is served.
    pub(super) fn is_in_trouble(&self) -> bool {
        !self.trouble.is_empty()
    }

    /// Whether a stream is open.
    pub(super) fn has_streams(&self) -> bool {
        !self.streams.is_empty()
    }

    fn act(&mut self, action: ServerAction<Bytes>) {
        match action {
            ServerAction::Send { stream, message } => self.send(stream, message),
            ServerAction::Close { stream, reason } => self.close(stream, &reason),
            ServerAction::Report(rejection) => {
                self.rejected(rejection);
            }
        }
    }

    fn rejected(&mut self, rejection: Rejection) {
        let Rejection { stream, resource_type, resources, reason, is_final } = rejection;
        let kind = self.word(resource_type);
        let labels: TwoLabels = [("type", kind), ("reason", rejected::word(&reason))];
        self.metrics.rejections.get_or_create(&labels).inc();
        let Some(opened) = self.streams.get_mut(&stream) else { return };
        opened.rejections += 1;
        // A client that refuses to hear that a resource is missing, or unsubscribed meanwhile, keeps nothing back.
        if resources.is_empty() {
            return;
        }
        let names: Vec<&str> = resources.iter().map(|(name, _)| &**name).collect();
        let what = format!("{kind} {}: {reason}", crate::output::some(&names));
        // A module that is older than it says, or of which nothing is known, may take the oldest form.
        let is_older = resource_type == self.types.filter && opened.caller.schema != ModuleSchema::Oldest;
        let then = match (is_older, is_final) {
            (true, _) => "it is sent again in the form for the oldest modules",
            (false, true) if self.types.is_of_filter(resource_type) => {
                "the filter keeps what it had until the content changes"
            }
            (false, true) => "Envoy keeps its last known good one until the content changes",
            (false, false) => "each is sent once more, alone",
        };
        self.refusals.warn(&format!("{} refused {what}; {then}", opened.called()));
        opened.last_rejection = Some(what);
        if is_older {
            opened.caller.schema = ModuleSchema::Oldest;
            let caller = opened.caller.clone();
            self.handle(ServerEvent::CallerChanged { stream, resource_type, caller });
        }
    }

    fn send(&mut self, stream: StreamId, message: DeltaResponse<Bytes>) {
        let label = self.label(message.resource_type);
        let type_url = self.server.types().url(message.resource_type).to_owned();
        self.metrics.messages.get_or_create(&label).inc();
        self.metrics.resources.get_or_create(&label).inc_by(count(message.resources.len()));
        self.metrics.removals.get_or_create(&label).inc_by(count(message.removed.len()));
        let bytes = message.resources.iter().map(|resource| resource.body.len()).sum();
        self.metrics.bytes.get_or_create(&label).inc_by(count(bytes));
        let Some(opened) = self.streams.get_mut(&stream) else { return };
        let (sent_as, nonce) = ((message.resource_type, message.nonce), message.nonce.to_string());
        let sent = SentMessage {
            resource_type: message.resource_type,
            sent: Instant::now(),
            since: message.since.map(|since| self.started + since),
        };
        opened.unacknowledged.insert(nonce.clone(), sent);
        let response = DeltaDiscoveryResponse {
            resources: message
                .resources
                .into_iter()
                .map(|resource| Resource {
                    version: resource.version.to_string(),
                    resource: Some(Any { type_url: type_url.clone(), value: resource.body }),
                    name: resource.name.to_string(),
                })
                .collect(),
            type_url,
            nonce,
            removed_resources: message.removed.iter().map(ToString::to_string).collect(),
            control_plane: Some(ServerName { identifier: format!("byname {}", env!("CARGO_PKG_VERSION")) }),
        };
        if opened.outlet.try_send(Ok(Box::new(response))) {
            self.server.went_out(self.started.elapsed(), stream, sent_as);
            return;
        }
        if !opened.outlet.is_closed() {
            // There is room for one message of each type.
            self.metrics.streams_closed.get_or_create(&[("reason", "unread")]).inc();
            self.closings.warn(&format!("{}: closed: it acknowledges what it has not received", opened.called()));
        }
        self.forget(stream);
        self.handle(ServerEvent::Closed { stream });
    }

    fn close(&mut self, stream: StreamId, reason: &CloseReason) {
        let Some(opened) = self.forget(stream) else { return };
        self.metrics.streams_closed.get_or_create(&[("reason", word(reason))]).inc();
        if !matches!(reason, CloseReason::Aged | CloseReason::ShuttingDown) {
            self.closings.warn(&format!("{}: closed: {reason}", opened.called()));
        }
        let code = match reason.status() {
            StatusCode::Ok => return,
            StatusCode::InvalidArgument => Code::InvalidArgument,
            StatusCode::DeadlineExceeded => Code::DeadlineExceeded,
            StatusCode::ResourceExhausted => Code::ResourceExhausted,
            _ => Code::Unavailable,
        };
        // A client that has not read what was sent sees the stream end without the reason.
        let _is_sent = opened.outlet.try_send(Err(Status::new(code, reason.to_string())));
    }

    /// Refuses a stream whose listener asks for a port too many.
    fn refuse(&self, caller: &StreamCaller, peer: SocketAddr, outlet: &Outlet, reason: String) {
        self.metrics.streams_closed.get_or_create(&[("reason", "too_many_listener_ports")]).inc();
        self.closings.warn(&format!("{}: closed: {reason}", called(caller, peer)));
        // The client may have left.
        let _is_sent = outlet.try_send(Err(Status::resource_exhausted(reason)));
    }

    /// Drops what is kept for a stream.
    fn forget(&mut self, stream: StreamId) -> Option<OpenStream> {
        let opened = self.streams.remove(&stream)?;
        if let Some(port) = opened.port {
            self.ports.close(port, opened.owner.as_ref());
        }
        Some(opened)
    }

    /// The streams as text for people.
    pub(super) fn describe_streams(&self) -> String {
        let mut text = String::new();
        for (StreamId(id), opened) in &self.streams {
            // A client chooses these texts, and a line is to stay one.
            let said = |text: &Option<String>| text.as_deref().unwrap_or("-").escape_debug().to_string();
            let caller = &opened.caller;
            let _ = write!(
                text,
                "{id}\tnode={}\tnamespace={}\tservice_account={}\tzone={}\tkubernetes_node={}\tpeer={}\tage={}s\tunacknowledged={}\trejections={}",
                caller.id.escape_debug(),
                said(&caller.namespace),
                said(&caller.service_account),
                said(&caller.zone),
                said(&caller.node),
                opened.peer,
                opened.opened.elapsed().as_secs(),
                opened.unacknowledged.len(),
                opened.rejections,
            );
            if let Some(rejection) = &opened.last_rejection {
                let _ = write!(text, "\tlast_rejection={}", rejection.escape_debug());
            }
            text.push('\n');
        }
        text
    }

    /// What the streams of an Envoy with this node id subscribe to, as text for people.
    pub(super) fn describe_resources(&self, node: &str) -> String {
        let mut text = String::new();
        for stream in self.streams.iter().filter(|(_, opened)| opened.caller.id == node).map(|(stream, _)| *stream) {
            for (resource_type, name, version, receipt) in self.server.told(stream) {
                let version = version.map_or_else(|| "-".to_owned(), |version| version.to_string());
                let (resource_type, receipt) = (self.word(resource_type), receipt_word(receipt));
                let _ = writeln!(text, "{}\t{resource_type}\t{}\t{version}\t{receipt}", stream.0, name.escape_debug());
            }
        }
        text
    }

    fn label(&self, resource_type: TypeIndex) -> Label {
        of_type(self.word(resource_type))
    }

    fn word(&self, resource_type: TypeIndex) -> &'static str {
        self.types.word(resource_type)
    }
}

impl OpenStream {
    /// Takes the message of this type and nonce that its client has answered, as [`Server::handle`] does.
    fn answered(&mut self, nonce: &str, resource_type: Option<TypeIndex>) -> Option<SentMessage> {
        let message = self.unacknowledged.get(nonce)?;
        if Some(message.resource_type) != resource_type {
            return None;
        }
        self.unacknowledged.remove(nonce)
    }

    fn called(&self) -> String {
        called(&self.caller, self.peer)
    }
}

fn called(caller: &StreamCaller, peer: SocketAddr) -> String {
    format!("stream of node {:?} at {peer}", caller.id)
}

/// The reason as the value of a label.
fn word(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::NotSynced => "not_synced",
        CloseReason::Stale => "stale",
        CloseReason::TooManyStreams { .. } => "too_many_streams",
        CloseReason::TooManyNewStreams { .. } => "too_many_new_streams",
        CloseReason::TooManyNames { .. } => "too_many_names",
        CloseReason::NameTooLong { .. } => "name_too_long",
        CloseReason::UnknownType { .. } => "unknown_type",
        CloseReason::TooManyStreamsOfOwner { .. } => "too_many_streams_of_identity",
        CloseReason::TooManyNewStreamsOfOwner { .. } => "too_many_new_streams_of_identity",
        CloseReason::TooManyBytesOfOwner { .. } => "too_many_names_of_identity",
        CloseReason::NoSubscription { .. } => "no_subscription",
        CloseReason::NotAcknowledged { .. } => "not_acknowledged",
        CloseReason::Aged => "aged",
        CloseReason::ShuttingDown => "shutting_down",
        _ => "other",
    }
}

/// How far a resource has come, as `byname proxy-config` prints it.
fn receipt_word(receipt: Receipt) -> &'static str {
    match receipt {
        Receipt::NotSent => "not sent",
        Receipt::Sent => "sent",
        Receipt::Acknowledged => "acknowledged",
        Receipt::Refused => "refused",
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
