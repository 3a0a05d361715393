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
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tonic::{Status, body::Body};

use super::{
    class::StreamCaller,
    discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
    grpc,
};

/// The methods that stream deltas: of all types together, and of each type alone.
const METHODS: [&str; 4] = [
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "/envoy.service.extension.v3.ExtensionConfigDiscoveryService/DeltaExtensionConfigs",
    "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters",
    "/envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
];
/// Time in which the first message of a stream must come.
const FIRST_MESSAGE: Duration = Duration::from_secs(10);
/// Time without a frame after which a connection is asked whether it lives, and the time that it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(20);
/// Messages of clients that wait for the control plane.
const WAITING: usize = 1024;
/// Messages to one client that wait for the network: at most one for each type.
const OUTGOING: usize = 4;
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
    pub(super) address: SocketAddr,
    pub(super) events: mpsc::Receiver<StreamEvent>,
    leaving: watch::Sender<()>,
}

impl Listener {
    /// Listens on `address`.
    ///
    /// # Errors
    /// If the address is not free.
    pub(super) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}; use a free address and port"))?;
        let address = listener.local_addr().unwrap_or(address);
        let (sender, events) = mpsc::channel(WAITING);
        let (leaving, left) = watch::channel(());
        let last_stream = Arc::new(AtomicU64::new(0));
        tokio::spawn(async move {
            loop {
                let Ok((connection, peer)) = listener.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                drop(connection.set_nodelay(true));
                let streams = Streams { peer, events: sender.clone(), last_stream: Arc::clone(&last_stream) };
                tokio::spawn(serve_connection(connection, streams, left.clone()));
            }
        });
        Ok(Self { address, events, leaving })
    }

    /// Tells all clients that no new stream is served on their connections.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(());
    }
}

async fn serve_connection(connection: tokio::net::TcpStream, streams: Streams, mut left: watch::Receiver<()>) {
    let answer = service_fn(move |request| {
        let streams = streams.clone();
        async move { Ok::<_, Infallible>(streams.answer(request)) }
    });
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE_ANSWER);
    let mut connection = std::pin::pin!(server.serve_connection(TokioIo::new(connection), answer));
    // A connection that a client closes early is no error.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = left.changed() => connection.as_mut().graceful_shutdown(),
    }
    drop(connection.await);
}

/// The streams of one connection.
#[derive(Clone)]
struct Streams {
    peer: SocketAddr,
    events: mpsc::Sender<StreamEvent>,
    last_stream: Arc<AtomicU64>,
}

impl Streams {
    fn answer(self, request: Request<Incoming>) -> Response<Body> {
        if !METHODS.contains(&request.uri().path()) {
            let path = request.uri().path();
            return Status::unimplemented(format!("{path}: not a method of byname; use delta xDS")).into_http();
        }
        grpc::respond(self.open(Requests::new(request.into_body())))
    }

    /// Opens a stream: its events go to the control plane, and what comes back goes to the client.
    fn open(self, requests: Requests) -> Responses {
        let stream = StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed));
        let (sender, responses) = mpsc::channel(OUTGOING);
        tokio::spawn(self.forward(stream, requests, sender));
        responses
    }

    async fn forward(self, stream: StreamId, mut requests: Requests, sender: Sender) {
        let first = match timeout(FIRST_MESSAGE, requests.message()).await {
            Ok(Ok(Some(first))) => first,
            Ok(Ok(None) | Err(_)) => return,
            Err(_elapsed) => {
                let seconds = FIRST_MESSAGE.as_secs();
                let late = Status::deadline_exceeded(format!("no request within {seconds} s; reconnect"));
                return drop(sender.send(Err(late)).await);
            }
        };
        let caller = StreamCaller::of(first.node.clone().unwrap_or_default());
        let closed = sender.clone();
        let mut next = Some(first);
        self.tell(stream, StreamEventKind::Opened { caller, peer: self.peer, sender }).await;
        while let Some(request) = next {
            self.tell(stream, StreamEventKind::Requested(request_of(request))).await;
            next = tokio::select! {
                next = requests.message() => next.ok().flatten(),
                () = closed.closed() => None,
            };
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
