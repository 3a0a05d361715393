//! A simulated sidecar: one stream of delta ADS, on a connection of its own, that asks and acknowledges as Envoy does.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result};
use byname_test_support::tls::ClientTls;
use bytes::Bytes;
use http::{Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::sleep,
};
use tonic::{Streaming, body::Body, client::Grpc};
use tonic_prost::ProstCodec;

use crate::{
    recorder::{Kind, Recorder},
    synthetic::last_change,
    wire::{Assignment, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Locality, Node},
};

const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// As in the bootstraps of `byname compile`.
const BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(10);
/// What Envoy says of its extensions in the first message of a stream.
const EXTENSIONS_BYTES: usize = 60_000;

/// The control plane that sidecars ask.
pub(crate) struct Upstream {
    /// The servers to choose from.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What a sidecar trusts and shows, if it speaks TLS.
    pub(crate) tls: Option<ClientTls>,
    pub(crate) dialect: Dialect,
}

/// What a sidecar asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The filter, and the clusters of the names in use with their endpoints.
    Byname,
    /// As Istio's sidecars: all clusters, and the endpoints of the names in use.
    Istio,
}

/// A sidecar, and what it has.
pub(crate) struct Sidecar {
    pub(crate) id: usize,
    upstream: Arc<Upstream>,
    /// The clusters that its pod uses.
    pub(crate) clusters: Vec<String>,
    pub(crate) recorder: Arc<Recorder>,
    /// The version of each resource, by kind.
    versions: [HashMap<String, String>; 3],
}

type Sender = mpsc::Sender<DeltaDiscoveryRequest>;

impl Sidecar {
    pub(crate) fn new(id: usize, upstream: Arc<Upstream>, clusters: Vec<String>, recorder: Arc<Recorder>) -> Self {
        Self { id, upstream, clusters, recorder, versions: Default::default() }
    }

    /// Connects, again whenever the stream ends, to the next server.
    pub(crate) async fn run(mut self) {
        let mut failures: u32 = 0;
        for turn in self.id.. {
            let servers = &self.upstream.addresses;
            let Some(server) = servers.get(turn % servers.len().max(1)).copied() else { return };
            let ended = self.stream(server).await;
            match ended {
                Ok(true) => failures = 0,
                Ok(false) | Err(_) => self.recorder.refused(),
            }
            // Envoy waits a random time below a bound that doubles. The turn serves as the random number.
            let bound = BACKOFF.saturating_mul(1 << failures.min(5)).min(MAX_BACKOFF);
            let share = (turn.wrapping_mul(2_654_435_761) >> 8) % 1_000;
            sleep(bound.saturating_mul(u32::try_from(share).unwrap_or_default()) / 1_000).await;
            failures += 1;
        }
    }

    /// One stream, until it ends. Returns whether anything came on it.
    async fn stream(&mut self, server: SocketAddr) -> Result<bool> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = match &self.upstream.tls {
            Some(tls) => handshake(tls.connect(stream).await?).await?,
            None => handshake(stream).await?,
        };
        let (sender, mut requests) = mpsc::channel(16);
        let outgoing = futures_util::stream::poll_fn(move |context| requests.poll_recv(context));
        let origin = Uri::builder().scheme("http").authority(server.to_string()).path_and_query("/").build()?;
        let mut client = Grpc::with_origin(ToServer(connection), origin);
        self.begin(&sender).await?;
        let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
        let path = http::uri::PathAndQuery::from_static(METHOD);
        let answer = client.streaming(tonic::Request::new(outgoing), path, codec).await;
        let result = match answer {
            Ok(answer) => self.receive(answer.into_inner(), &sender).await,
            Err(_) => Ok(false),
        };
        driver.abort();
        result
    }

    /// The first requests: the filter; and on a later stream all that this one has.
    async fn begin(&self, sender: &Sender) -> Result<()> {
        let zone = ["eu-a", "eu-b", "eu-c"].get(self.id % 3).copied().unwrap_or_default().to_owned();
        let node = Node {
            id: match self.upstream.dialect {
                Dialect::Byname => format!("sidecar-{}", self.id),
                // Istio's form has the address and the namespace.
                Dialect::Istio => format!(
                    "sidecar~10.200.{}.{}~sidecar-{}.default~default.svc.cluster.local",
                    self.id / 250,
                    self.id % 250,
                    self.id
                ),
            },
            locality: Some(Locality { zone }),
            extensions: Bytes::from_static(&[b'x'; EXTENSIONS_BYTES]),
        };
        let mut node = Some(node);
        for kind in Kind::ALL {
            let known = self.versions_of(kind);
            let names: Vec<String> = match (kind, self.upstream.dialect) {
                (Kind::Filter, Dialect::Byname) => vec!["byname".to_owned()],
                (Kind::Filter, Dialect::Istio) => continue,
                // No names are all.
                (Kind::Cluster, Dialect::Istio) => Vec::new(),
                (Kind::Cluster | Kind::Endpoints, _) => known.keys().cloned().collect(),
            };
            if names.is_empty() && (kind, self.upstream.dialect) != (Kind::Cluster, Dialect::Istio) {
                continue;
            }
            let request = DeltaDiscoveryRequest {
                node: node.take(),
                initial_resource_versions: known.clone(),
                ..subscribe(kind, names)
            };
            sender.send(request).await?;
        }
        Ok(())
    }

    async fn receive(&mut self, mut responses: Streaming<DeltaDiscoveryResponse>, sender: &Sender) -> Result<bool> {
        let mut has_received = false;
        // What this stream has brought: only a later change of it is the answer to a change.
        let mut seen: HashSet<String> = self.versions_of(Kind::Endpoints).keys().cloned().collect();
        while let Some(response) = responses.message().await? {
            has_received = true;
            let kind = Kind::of(&response.type_url).context("a type that was asked for")?;
            let bytes = response.encoded_len();
            self.recorder.received(kind, response.resources.len(), bytes);
            let acknowledgement = DeltaDiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                ..DeltaDiscoveryRequest::default()
            };
            sender.send(acknowledgement).await?;
            let mut new_clusters = Vec::new();
            for resource in response.resources {
                match kind {
                    Kind::Filter => {}
                    Kind::Cluster => new_clusters.push(resource.name.clone()),
                    Kind::Endpoints => {
                        let body = resource.resource.unwrap_or_default().value;
                        let assignment = Assignment::decode(body)?;
                        let is_change = !seen.insert(resource.name.clone());
                        if let Some(change) = last_change(assignment.addresses()).filter(|_| is_change) {
                            self.recorder.changed(change);
                        }
                    }
                }
                if let Some(versions) = self.versions.get_mut(kind as usize) {
                    versions.insert(resource.name, resource.version);
                }
            }
            if self.upstream.dialect == Dialect::Istio {
                new_clusters.retain(|name| self.clusters.contains(name));
            }
            if kind == Kind::Filter && self.versions_of(Kind::Cluster).is_empty() {
                sender.send(subscribe(Kind::Cluster, self.clusters.clone())).await?;
            }
            let endpoints = self.versions_of(Kind::Endpoints);
            new_clusters.retain(|name| !endpoints.contains_key(name));
            if !new_clusters.is_empty() {
                sender.send(subscribe(Kind::Endpoints, new_clusters)).await?;
            }
        }
        Ok(has_received)
    }

    fn versions_of(&self, kind: Kind) -> &HashMap<String, String> {
        let [filter, cluster, endpoints] = &self.versions;
        match kind {
            Kind::Filter => filter,
            Kind::Cluster => cluster,
            Kind::Endpoints => endpoints,
        }
    }
}

fn subscribe(kind: Kind, resource_names_subscribe: Vec<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.url().to_owned(), resource_names_subscribe, ..Default::default() }
}

/// Begins HTTP/2 on a connection.
async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(http2::SendRequest<Body>, JoinHandle<hyper::Result<()>>)> {
    let (connection, driver) = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
    Ok((connection, tokio::spawn(driver)))
}

/// A connection as tonic wants it.
struct ToServer(http2::SendRequest<Body>);

impl tower::Service<Request<Body>> for ToServer {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
