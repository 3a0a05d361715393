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
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::pki_types::CertificateDer};
use tonic::{Code, Status, body::Body};

use super::{
    authentication::{self, Denial, DenialReason, Trust},
    class::StreamCaller,
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    doorman::Doorman,
    grpc,
    metrics::Metrics,
    proof::{self, Expiry, Proof},
    tls::Tls,
    waiting_room::{self, OpenOn, Place, WaitingRoom},
};
use crate::daemon::log;

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
/// Messages of clients that wait for the control plane.
const WAITING: usize = 1024;
/// Messages to one client that wait for the network: at most one for each type.
const OUTGOING: usize = 8;
/// Wait after a failed accept, which may be due to too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// What is sent on a stream. Its end closes the stream.
pub(super) type Sender = mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>;

/// What is to be sent on a stream.
type Responses = mpsc::Receiver<Result<DeltaDiscoveryResponse, Status>>;
/// What a client sends.
type Requests = grpc::Streaming<DeltaDiscoveryRequest, Incoming>;

/// What happens on a stream.
pub(super) struct StreamEvent {
    pub(super) stream: StreamId,
    pub(super) kind: StreamEventKind,
}

pub(super) enum StreamEventKind {
    /// A stream was opened. Its first message follows.
    Opened {
        caller: StreamCaller,
        peer: SocketAddr,
        sender: Sender,
    },
    Requested(DeltaRequest),
    Closed,
}

/// The gRPC server. Dropped, it tells clients to go elsewhere and waits for none.
pub(super) struct Listener {
    pub(super) events: mpsc::Receiver<StreamEvent>,
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
        Self { events, sender, leaving, last_stream: Arc::default(), doorman, waiting_room }
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
        let waiting_room = self.waiting_room.clone();
        tokio::spawn(async move {
            loop {
                let Ok((connection, peer)) = listener.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                if !trust.admits(peer.ip()) {
                    let text = "the address is not the one from which the sidecar of this pod connects (127.0.0.6)";
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
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE_ANSWER);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(connection), answer));
    // A connection that a client closes early is no error.
    let turned = tokio::select! {
        _ = connection.as_mut() => return,
        () = retired => None,
        () = proof::over(expiry) => None,
        turned = place.turned(&mut open) => Some(turned),
    };
    connection.as_mut().graceful_shutdown();
    match turned {
        // Streams that are open go on.
        None => drop(connection.await),
        Some(turned) => {
            doorman.close(peer, turned.word(), &turned.text());
            // Requests under way are answered. A client that says nothing is not waited for.
            drop(timeout(waiting_room::LONGEST, connection).await);
        }
    }
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
            Ok(proof) => grpc::respond(self.open(proof, Requests::new(request.into_body()))),
            Err(denial) => self.refuse(&denial).into_http(),
        }
    }

    fn refuse(&self, denial: &Denial) -> Status {
        self.doorman.deny(self.peer, denial.reason, &denial.text);
        denial.status()
    }

    /// Opens a stream: its events go to the control plane, and what comes back goes to the client.
    fn open(self, proof: Option<Proof>, requests: Requests) -> Responses {
        let stream = StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed));
        let (sender, responses) = mpsc::channel(OUTGOING);
        tokio::spawn(self.forward(stream, proof, requests, sender));
        responses
    }

    async fn forward(self, stream: StreamId, proof: Option<Proof>, mut requests: Requests, sender: Sender) {
        let first = match timeout(FIRST_MESSAGE, requests.message()).await {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None) | Err(_)) => return,
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
        let _open = OpenOn::new(&self.open);
        let mut expired = std::pin::pin!(proof::over(expiry));
        let mut next = Some(first);
        self.tell(stream, StreamEventKind::Opened { caller, peer: self.peer, sender }).await;
        while let Some(request) = next {
            self.tell(stream, StreamEventKind::Requested(request_of(request))).await;
            let received = tokio::select! {
                received = requests.message() => received,
                () = responses.closed() => Ok(None),
                () = expired.as_mut() => {
                    self.doorman.metrics.streams_closed.get_or_create(&[("reason", "proof_expired")]).inc();
                    let text = expiry.map(Expiry::text).unwrap_or_default();
                    Err(Denial::unauthenticated(text).status())
                }
            };
            next = received.unwrap_or_else(|status| {
                // Too large, or no message at all. The end of a connection is an error too, and nobody's fault.
                if matches!(status.code(), Code::OutOfRange | Code::Internal) {
                    log::warn(&format!("stream of node {node:?} at {}: closed: {}", self.peer, status.message()));
                }
                drop(responses.try_send(Err(status)));
                None
            });
        }
        self.tell(stream, StreamEventKind::Closed).await;
    }

    async fn tell(&self, stream: StreamId, kind: StreamEventKind) {
        // The control plane is gone when the process ends.
        drop(self.events.send(StreamEvent { stream, kind }).await);
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
