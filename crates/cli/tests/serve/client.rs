//! A client of delta xDS that says what a test wants it to say, which no Envoy would.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use byname_test_support::tls::ClientTls;
pub(crate) use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest as DeltaRequest, DeltaDiscoveryResponse as DeltaResponse,
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{Resource, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient},
    },
    google::{
        protobuf::{Struct, Value, value::Kind},
        rpc,
    },
};
use futures_util::stream::unfold;
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tonic::{Status, Streaming, body::Body, metadata::MetadataMap};

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const FILTER: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
pub(crate) const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
pub(crate) const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// What a filter asks for by a stream of its own.
pub(crate) const NAMESPACES: &str = "type.googleapis.com/byname.v1.Namespaces";
pub(crate) const SERVICE: &str = "type.googleapis.com/byname.v1.Service";
pub(crate) const SERVICE_ENDPOINTS: &str = "type.googleapis.com/byname.v1.Endpoints";
pub(crate) const ADDRESS: &str = "type.googleapis.com/byname.v1.Address";

/// The resource's bytes, with a replacement for what is no text.
pub(crate) fn text(resource: &Resource) -> String {
    String::from_utf8_lossy(&resource.resource.as_ref().unwrap().value).into_owned()
}

/// A node with these texts as its metadata.
pub(crate) fn node(id: &str, metadata: &[(&str, &str)]) -> Node {
    let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = metadata.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect();
    Node { id: id.to_owned(), metadata: Some(Struct { fields }), ..Node::default() }
}

/// How a client connects, and what it sends beside its messages.
#[derive(Clone, Default)]
pub(crate) struct Dial {
    pub(crate) tls: Option<ClientTls>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The address that the connection comes from.
    pub(crate) from: Option<std::net::IpAddr>,
}

/// A request that subscribes to these names.
pub(crate) fn subscribe<N: Into<String>>(type_url: &str, names: impl IntoIterator<Item = N>) -> DeltaRequest {
    let resource_names_subscribe = names.into_iter().map(Into::into).collect();
    DeltaRequest { type_url: type_url.to_owned(), resource_names_subscribe, ..DeltaRequest::default() }
}

/// One stream.
pub(crate) struct XdsClient {
    connection: http2::SendRequest<Body>,
    hello: DeltaRequest,
    requests: mpsc::UnboundedSender<DeltaRequest>,
    responses: Streaming<DeltaResponse>,
}

impl XdsClient {
    /// Opens a stream in plaintext that subscribes to the filter.
    pub(crate) async fn open(port: u16, node: Node) -> Self {
        Self::open_with(port, node, &Dial::default()).await.unwrap()
    }

    /// Opens a stream that subscribes to the filter. The error is the server's, or says why there is no connection.
    pub(crate) async fn open_with(port: u16, node: Node, dial: &Dial) -> Result<Self, Status> {
        let hello = DeltaRequest { node: Some(node), ..subscribe(FILTER, ["byname"]) };
        Self::open_asking(port, hello, dial).await
    }

    /// Opens a stream with this first request.
    pub(crate) async fn open_asking(port: u16, hello: DeltaRequest, dial: &Dial) -> Result<Self, Status> {
        let failed = |error: &dyn std::fmt::Display| Status::unknown(format!("no connection: {error}"));
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        if let Some(from) = dial.from {
            socket.bind((from, 0).into()).unwrap();
        }
        let connection = socket.connect(([127, 0, 0, 1], port).into()).await.map_err(|error| failed(&error))?;
        let sender = match &dial.tls {
            Some(tls) => {
                let connection = tls.connect(connection).await.map_err(|error| failed(&error))?;
                handshake(TokioIo::new(connection)).await
            }
            None => handshake::<TokioIo<TcpStream>>(TokioIo::new(connection)).await,
        };
        let connection = sender.map_err(|error| failed(&error))?;
        Self::open_on(connection, hello, dial).await
    }

    /// Opens another stream on the same connection.
    pub(crate) async fn open_another(&self) -> Result<Self, Status> {
        Self::open_on(self.connection.clone(), self.hello.clone(), &Dial::default()).await
    }

    async fn open_on(connection: http2::SendRequest<Body>, hello: DeltaRequest, dial: &Dial) -> Result<Self, Status> {
        let (requests, waiting) = mpsc::unbounded_channel();
        let mut client =
            AggregatedDiscoveryServiceClient::with_origin(Http2(connection.clone()), "http://serve".parse().unwrap());
        let mut headers = hyper::HeaderMap::new();
        for (name, value) in &dial.headers {
            headers.append(*name, hyper::header::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let stream = unfold(waiting, async |mut waiting| waiting.recv().await.map(|request| (request, waiting)));
        let request =
            tonic::Request::from_parts(MetadataMap::from_headers(headers), tonic::Extensions::default(), stream);
        // A server that answers with headers only after the first request must get one.
        requests.send(hello.clone()).unwrap();
        let answer = timeout(PATIENCE, client.delta_aggregated_resources(request)).await.expect("an answer in time")?;
        Ok(Self { connection, hello, requests, responses: answer.into_inner() })
    }

    pub(crate) fn send(&self, request: DeltaRequest) {
        drop(self.requests.send(request));
    }

    pub(crate) fn subscribe(&mut self, type_url: &str, names: &[&str]) {
        self.send(subscribe(type_url, names.iter().copied()));
    }

    /// The next message, which is not acknowledged yet.
    pub(crate) async fn next(&mut self) -> Result<DeltaResponse, Status> {
        let next = timeout(PATIENCE, self.responses.message()).await.expect("a message in time")?;
        next.ok_or_else(|| Status::ok("the stream ended"))
    }

    /// The next message, acknowledged.
    pub(crate) async fn take(&mut self) -> Result<DeltaResponse, Status> {
        let message = self.next().await?;
        self.ack(&message);
        Ok(message)
    }

    /// The next message if one comes soon, acknowledged.
    pub(crate) async fn take_within(&mut self, time: Duration) -> Option<DeltaResponse> {
        let message = timeout(time, self.responses.message()).await.ok()?.unwrap()?;
        self.ack(&message);
        Some(message)
    }

    pub(crate) fn ack(&mut self, message: &DeltaResponse) {
        self.send(answer_to(message));
    }

    pub(crate) fn nack(&mut self, message: &DeltaResponse, reason: &str) {
        let error_detail = Some(rpc::Status { code: 3, message: reason.to_owned(), ..rpc::Status::default() });
        self.send(DeltaRequest { error_detail, ..answer_to(message) });
    }
}

fn answer_to(message: &DeltaResponse) -> DeltaRequest {
    let (type_url, response_nonce) = (message.type_url.clone(), message.nonce.clone());
    DeltaRequest { type_url, response_nonce, ..DeltaRequest::default() }
}

async fn handshake<T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static>(
    io: T,
) -> hyper::Result<http2::SendRequest<Body>> {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One HTTP/2 connection as tonic wants it.
struct Http2(http2::SendRequest<Body>);

impl tower::Service<Request<Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
