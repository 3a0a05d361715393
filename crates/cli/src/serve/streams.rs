//! gRPC streams of delta xDS: accepts them, and turns their messages into what the control plane takes.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use byname_xds::{DeltaRequest, StreamId};
use hyper::{Request, Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::pki_types::CertificateDer};
use tonic::{Code, Status, body::Body};

use super::{
    authentication::{self, Denial, DenialReason, Trust},
    class::StreamCaller,
    discovery::{DeltaDiscoveryRequest, check_request},
    doorman::Doorman,
    fair_queue::FairQueue,
    grpc::{self, Outgoing, Responses},
    inbox::{HeldBytes, Inbox},
    metrics::Metrics,
    proof::{self, Expiry, Proof},
    stream_tasks::{StreamTask, StreamTasks},
    tls::Tls,
    waiting_room::{self, OpenOn, Place, WaitingRoom},
};

/// The methods that stream deltas: of all types together, and of each type alone.
const METHODS: [&str; 4] = [
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
    "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
    "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
];
/// Time that a client has for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time in which the first message of a stream must come.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// Time without a frame after which a connection is asked whether it lives, and the time that it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(20);
/// Streams that one connection may have open: a sidecar of a mesh brings those of many clients.
const STREAMS_OF_CONNECTION: u32 = 200;
/// Bytes that a client may send ahead on a stream, and on all streams of a connection: they are held before they are counted.
const WINDOW_OF_STREAM: u32 = 64 << 10;
const WINDOW_OF_CONNECTION: u32 = 128 << 10;
/// Time that a client has to read what is left of a stream that has ended.
const LAST_READ: Duration = Duration::from_secs(10);
/// Messages of clients that wait for the control plane.
const WAITING: usize = 1024;
/// Messages to one client that wait for the network: at most one for each type.
const OUTGOING: usize = 8;
/// Wait after a failed accept, which may be due to too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What the control plane sends on a stream. Dropped, it ends the stream.
pub(super) struct Outlet {
    messages: Sender,
    _end: oneshot::Sender<Infallible>,
}

impl Outlet {
    /// Sends a message, or the status that ends the stream, unless the client has not read enough of what was sent before.
    pub(super) fn try_send(&self, message: Outgoing) -> bool {
        self.messages.try_send(message).is_ok()
    }

    /// Whether the client has left.
    pub(super) fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }
}

/// What is to be sent on a stream, from both sides.
type Sender = mpsc::Sender<Outgoing>;
/// What a client sends.
type Requests = grpc::Streaming<DeltaDiscoveryRequest, Incoming>;

/// What happens on a stream.
pub(super) struct StreamEvent {
    pub(super) stream: StreamId,
    /// Whose turn it is when the event is taken.
    owner: Arc<str>,
    pub(super) kind: StreamEventKind,
}

pub(super) enum StreamEventKind {
    /// A stream was opened. Its first message follows.
    Opened {
        caller: StreamCaller,
        /// The verified identity whose share of the server the stream counts against.
        owner: Option<Arc<str>>,
        /// The type URL of its first message.
        first_type: String,
        peer: SocketAddr,
        outlet: Outlet,
    },
    Requested {
        request: DeltaRequest,
        held: MessageUnderWay,
    },
    Closed,
}

/// A message under way to the control plane. Its client's next one is not read before this is dropped.
pub(super) struct MessageUnderWay {
    _bytes: HeldBytes,
    _taken: oneshot::Sender<()>,
}

/// The gRPC server. Dropped, it tells clients to go elsewhere and waits for none.
pub(super) struct Listener {
    events: mpsc::Receiver<StreamEvent>,
    /// The events that have come and wait for their turn.
    waiting: FairQueue<StreamEvent>,
    inbox: Inbox,
    sender: mpsc::Sender<StreamEvent>,
    leaving: watch::Sender<()>,
    last_stream: Arc<AtomicU64>,
    doorman: Arc<Doorman>,
    waiting_room: WaitingRoom,
}

impl Listener {
    /// A server that listens nowhere yet.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let (sender, events) = mpsc::channel(WAITING);
        let (leaving, _) = watch::channel(());
        let (doorman, waiting_room) = (Arc::new(Doorman::new(metrics)), WaitingRoom::new());
        Self {
            events,
            waiting: FairQueue::new(),
            inbox: Inbox::default(),
            sender,
            leaving,
            last_stream: Arc::default(),
            doorman,
            waiting_room,
        }
    }

    /// The next event. Everybody has their turn, however many streams they have.
    pub(super) async fn next(&mut self) -> Option<StreamEvent> {
        loop {
            while let Ok(event) = self.events.try_recv() {
                self.waiting.push(&event.owner.clone(), event);
            }
            if let Some(event) = self.waiting.pop() {
                return Some(event);
            }
            let event = self.events.recv().await?;
            self.waiting.push(&event.owner.clone(), event);
        }
    }

    /// Listens on `address` for whom it trusts, over TLS if there is any. Returns the bound address.
    ///
    /// # Errors
    /// If the address is not free.
    pub(super) async fn listen(
        &self,
        address: SocketAddr,
        trust: Trust,
        tls: Option<Arc<Tls>>,
    ) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; use a free address and port"))?;
        let address = listener.local_addr().unwrap_or(address);
        let (sender, last_stream) = (self.sender.clone(), Arc::clone(&self.last_stream));
        let (doorman, left) = (Arc::clone(&self.doorman), self.leaving.subscribe());
        let (waiting_room, inbox) = (self.waiting_room.clone(), self.inbox.clone());
        tokio::spawn(async move {
            loop {
                let Ok((connection, peer)) = listener.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                if !trust.admits(peer.ip()) {
                    let text =
                        "only this pod's sidecar may connect here, from 127.0.0.6 or ::6; connect through the mesh";
                    doorman.deny(peer, DenialReason::Unauthenticated, text);
                    continue;
                }
                let place = match waiting_room.enter() {
                    Ok(place) => place,
                    Err(turned) => {
                        doorman.close(peer, turned.word(), &turned.text());
                        continue;
                    }
                };
                drop(connection.set_nodelay(true));
                let streams = Streams {
                    peer,
                    trust: trust.clone(),
                    certificate: None,
                    doorman: Arc::clone(&doorman),
                    events: sender.clone(),
                    inbox: inbox.clone(),
                    last_stream: Arc::clone(&last_stream),
                    open: Arc::new(watch::Sender::new(0)),
                };
                let mut left = left.clone();
                match &tls {
                    Some(tls) => {
                        let (acceptor, mut replaced) = tls.acceptor();
                        let retired = async move {
                            tokio::select! {
                                _ = left.changed() => {}
                                _ = replaced.changed() => {}
                            }
                        };
                        drop(tokio::spawn(serve_tls(acceptor, connection, streams, place, retired)));
                    }
                    None => {
                        let retired = async move { drop(left.changed().await) };
                        drop(tokio::spawn(serve_connection(connection, streams, place, retired)));
                    }
                }
            }
        });
        Ok(address)
    }

    /// Tells all clients that no new stream is served on their connections.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(());
    }
}

async fn serve_tls(
    acceptor: TlsAcceptor,
    connection: TcpStream,
    mut streams: Streams,
    place: Place,
    retired: impl Future<Output = ()>,
) {
    match timeout(HANDSHAKE, acceptor.accept(connection)).await {
        Ok(Ok(connection)) => {
            let (_, state) = connection.get_ref();
            streams.certificate =
                state.peer_certificates().and_then(|chain| chain.first()).map(|one| one.clone().into_owned());
            serve_connection(connection, streams, place, retired).await;
        }
        Ok(Err(error)) => streams.doorman.deny(streams.peer, DenialReason::Unauthenticated, &format!("TLS: {error}")),
        // A client that is slow, or a probe that opens a connection and says nothing.
        Err(_elapsed) => {}
    }
}

/// Serves a connection. New streams are for a new connection once this one is `retired`, or its certificate has expired: an Envoy shows a
/// renewed one on a new connection only.
async fn serve_connection<C: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connection: C,
    streams: Streams,
    place: Place,
    retired: impl Future<Output = ()>,
) {
    let (peer, doorman, mut open) = (streams.peer, Arc::clone(&streams.doorman), streams.open.subscribe());
    let expiry = streams.certificate.as_ref().and_then(authentication::expiry);
    let answer = service_fn(move |request| {
        let streams = streams.clone();
        async move { Ok::<_, Infallible>(streams.answer(request).await) }
    });
    let mut server = http2::Builder::new(StreamTasks);
    server.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE_ANSWER);
    server.max_concurrent_streams(STREAMS_OF_CONNECTION);
    server.initial_stream_window_size(WINDOW_OF_STREAM).initial_connection_window_size(WINDOW_OF_CONNECTION);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(connection), answer));
    let mut turned = std::pin::pin!(place.turned(&mut open));
    // A connection that a client closes early is no error.
    let at_once = tokio::select! {
        _ = connection.as_mut() => return,
        () = retired => None,
        () = proof::over(expiry) => None,
        turned = turned.as_mut() => Some(turned),
    };
    connection.as_mut().graceful_shutdown();
    let turned = match at_once {
        Some(turned) => turned,
        // Streams that are open go on. A connection without one is closed as before.
        None => tokio::select! {
            _ = connection.as_mut() => return,
            turned = turned => turned,
        },
    };
    doorman.close(peer, turned.word(), &turned.text());
    // Requests under way are answered. A client that says nothing is not waited for.
    drop(timeout(waiting_room::LONGEST, connection).await);
}

/// The streams of one connection.
#[derive(Clone)]
struct Streams {
    peer: SocketAddr,
    trust: Trust,
    /// The certificate that the client has shown, which TLS has verified.
    certificate: Option<CertificateDer<'static>>,
    doorman: Arc<Doorman>,
    events: mpsc::Sender<StreamEvent>,
    inbox: Inbox,
    last_stream: Arc<AtomicU64>,
    /// How many streams are open on the connection.
    open: Arc<watch::Sender<usize>>,
}

impl Streams {
    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        if !METHODS.contains(&request.uri().path()) {
            let path = request.uri().path();
            return Status::unimplemented(format!("{path}: not a method of byname; use delta xDS")).into_http();
        }
        let verified = self.trust.verify(self.peer.ip(), self.certificate.as_ref(), request.headers()).await;
        match verified {
            Ok(proof) => {
                let owner = proof.as_ref().map(|proof| Arc::from(proof.identity.to_string()));
                let requests = Requests::new(request.into_body(), self.inbox.hold(owner.clone()), check_request);
                self.open(proof, owner, requests).into_http()
            }
            Err(denial) => self.refuse(&denial).into_http(),
        }
    }

    fn refuse(&self, denial: &Denial) -> Status {
        self.doorman.deny(self.peer, denial.reason, &denial.text);
        denial.status()
    }

    /// Opens a stream: its events go to the control plane, and what comes back goes to the client.
    fn open(self, proof: Option<Proof>, owner: Option<Arc<str>>, requests: Requests) -> Responses {
        let stream = StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed));
        let (sender, responses) = mpsc::channel(OUTGOING);
        let (read, is_read) = oneshot::channel();
        let task = StreamTask::current();
        tokio::spawn(async move {
            self.forward(stream, (proof, owner), requests, sender).await;
            // What a client does not read would be held for as long as its connection.
            if timeout(LAST_READ, is_read).await.is_err()
                && let Some(task) = task
            {
                task.end();
            }
        });
        Responses::new(responses, read)
    }

    async fn forward(
        self,
        stream: StreamId,
        (proof, owner): (Option<Proof>, Option<Arc<str>>),
        mut requests: Requests,
        sender: Sender,
    ) {
        let (first, bytes) = match timeout(FIRST_MESSAGE, requests.message()).await {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None)) => return,
            Ok(Err(status)) => {
                self.warn("", &status);
                return drop(sender.send(Err(status)).await);
            }
            Err(_elapsed) => {
                let seconds = FIRST_MESSAGE.as_secs();
                let late = Status::deadline_exceeded(format!("no request within {seconds} s; reconnect"));
                return drop(sender.send(Err(late)).await);
            }
        };
        let (identity, expiry) = proof.map_or((None, None), |proof| (Some(proof.identity), proof.expiry));
        let caller = match StreamCaller::of(first.node.clone().unwrap_or_default(), identity) {
            Ok(caller) => caller,
            Err(denial) => return drop(sender.send(Err(self.refuse(&denial))).await),
        };
        let (responses, node) = (sender.clone(), caller.id.clone());
        let first_type = first.type_url.clone();
        let _open = OpenOn::new(&self.open);
        let mut expired = std::pin::pin!(proof::over(expiry));
        let mut next = Some((first, bytes));
        // Where nobody is verified, namespaces take turns by what they say.
        let turn = owner.clone().unwrap_or_else(|| Arc::from(caller.viewer()));
        let tell = async |kind| {
            // The control plane is gone when the process ends.
            drop(self.events.send(StreamEvent { stream, owner: Arc::clone(&turn), kind }).await);
        };
        let (end, mut has_ended) = oneshot::channel();
        let outlet = Outlet { messages: sender, _end: end };
        tell(StreamEventKind::Opened { caller, owner, first_type, peer: self.peer, outlet }).await;
        while let Some((request, bytes)) = next {
            let (taken, is_taken) = oneshot::channel();
            let held = MessageUnderWay { _bytes: bytes, _taken: taken };
            tell(StreamEventKind::Requested { request: request_of(request), held }).await;
            // Dropped, not sent to.
            drop(is_taken.await);
            let received = tokio::select! {
                received = requests.message() => received,
                () = responses.closed() => Ok(None),
                // `responses` must go too: the body ends with the last sender.
                _ = &mut has_ended => Ok(None),
                () = expired.as_mut() => {
                    self.doorman.metrics.streams_closed.get_or_create(&[("reason", "proof_expired")]).inc();
                    let text = expiry.map(Expiry::text).unwrap_or_default();
                    Err(Denial::unauthenticated(text).status())
                }
            };
            next = received.unwrap_or_else(|status| {
                self.warn(&node, &status);
                drop(responses.try_send(Err(status)));
                None
            });
        }
        tell(StreamEventKind::Closed).await;
    }

    /// Warns of a stream that ends because of what its client sends, and counts it.
    fn warn(&self, node: &str, status: &Status) {
        let reason = match status.code() {
            Code::OutOfRange => "message_too_long",
            Code::Internal | Code::Unimplemented => "no_message",
            Code::DeadlineExceeded => "unfinished_message",
            Code::ResourceExhausted => "too_many_messages",
            // The end of a connection is nobody's fault, and the end of a proof is counted already.
            _ => return,
        };
        self.doorman.metrics.streams_closed.get_or_create(&[("reason", reason)]).inc();
        self.doorman.close_stream(self.peer, node, status.message());
    }
}

fn request_of(request: DeltaDiscoveryRequest) -> DeltaRequest {
    DeltaRequest {
        type_url: request.type_url,
        subscribe: request.resource_names_subscribe,
        unsubscribe: request.resource_names_unsubscribe,
        initial_resource_versions: request.initial_resource_versions,
        response_nonce: request.response_nonce,
        error: request.error_detail.map(|error| error.message),
    }
}
