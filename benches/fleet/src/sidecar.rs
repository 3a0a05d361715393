//! A stream of a simulated sidecar: delta ADS on a connection of its own, which asks and acknowledges as Envoy or the filter does.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use anyhow::{Context as _, Result};
use byname_test_support::tls::ClientTls;
use http::{Request, Response, Uri};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
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
    dialect::Dialect,
    recorder::{Kind, Recorder},
    wire::{DeltaDiscoveryRequest, DeltaDiscoveryResponse},
};

const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// The control plane that sidecars ask.
pub(crate) struct Upstream {
    /// The servers to choose from.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What a sidecar trusts and shows, if it speaks TLS.
    pub(crate) tls: Option<ClientTls>,
    pub(crate) dialect: Dialect,
}

/// A sidecar, or one of its workers, and what it has.
pub(crate) struct Sidecar {
    id: usize,
    upstream: Arc<Upstream>,
    /// The resources that the names of its pod need: clusters, or keys.
    names: Vec<String>,
    recorder: Arc<Recorder>,
    /// The version of each resource, by kind.
    versions: [HashMap<String, String>; Kind::ALL.len()],
}

type Sender = mpsc::Sender<DeltaDiscoveryRequest>;

impl Sidecar {
    pub(crate) fn new(id: usize, upstream: Arc<Upstream>, names: Vec<String>, recorder: Arc<Recorder>) -> Self {
        Self { id, upstream, names, recorder, versions: Default::default() }
    }

    /// Connects, again whenever the stream ends, to the next server. The first one depends on the number of the `stream`.
    pub(crate) async fn run(mut self, stream: usize) {
        let mut failures: u32 = 0;
        for turn in stream.. {
            let servers = &self.upstream.addresses;
            let Some(server) = servers.get(turn % servers.len().max(1)).copied() else { return };
            let ended = self.stream(server).await;
            match ended {
                Ok(true) => failures = 0,
                Ok(false) | Err(_) => {
                    failures += 1;
                    self.recorder.refused();
                }
            }
            // The turn serves as the random number.
            sleep(self.upstream.dialect.pause(failures, turn)).await;
        }
    }

    /// One stream, until it ends or is lost. Returns whether anything came on it.
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
        for request in self.first_requests() {
            sender.send(request).await?;
        }
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

    /// The requests with which a stream begins. A later stream asks for all that the sidecar has, with the versions.
    fn first_requests(&self) -> Vec<DeltaDiscoveryRequest> {
        let dialect = self.upstream.dialect;
        let mut node = Some(dialect.node(self.id));
        let request_for = |kind: &Kind| {
            let known = self.versions_of(*kind);
            let names = dialect.first_names(*kind, &self.names, known)?;
            let (node, initial_resource_versions) = (node.take(), known.clone());
            Some(DeltaDiscoveryRequest { node, initial_resource_versions, ..subscribe(*kind, names) })
        };
        dialect.kinds().iter().filter_map(request_for).collect()
    }

    async fn receive(&mut self, mut responses: Streaming<DeltaDiscoveryResponse>, sender: &Sender) -> Result<bool> {
        let (mut has_received, dialect) = (false, self.upstream.dialect);
        // What this stream has brought: only a later change of it is the answer to a change.
        let mut seen: HashSet<String> = self.versions_of(dialect.endpoints()).keys().cloned().collect();
        // A lost stream ends as one that was of use, if it was.
        while let Ok(Some(response)) = responses.message().await {
            has_received = true;
            let kind = Kind::of(&response.type_url).context("a type that was asked for")?;
            let bytes = response.encoded_len();
            self.recorder.received(kind, response.resources.len(), bytes);
            sender.send(acknowledge(&response)).await?;
            let mut new_clusters = Vec::new();
            for resource in response.resources {
                match kind {
                    // The filter tells no version of them.
                    Kind::Namespaces => continue,
                    Kind::Filter => {}
                    Kind::Cluster => new_clusters.push(resource.name.clone()),
                    Kind::Endpoints | Kind::ServiceEndpoints => {
                        let change = dialect.last_change(resource.resource.unwrap_or_default().value)?;
                        let is_change = !seen.insert(resource.name.clone());
                        if let Some(change) = change.filter(|_| is_change) {
                            self.recorder.changed(change);
                        }
                    }
                }
                if let Some(versions) = self.versions.get_mut(kind as usize) {
                    versions.insert(resource.name, resource.version);
                }
            }
            if dialect == Dialect::Istio {
                new_clusters.retain(|name| self.names.contains(name));
            }
            if kind == Kind::Filter && self.versions_of(Kind::Cluster).is_empty() {
                sender.send(subscribe(Kind::Cluster, self.names.clone())).await?;
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
        let [filter, cluster, endpoints, namespaces, service_endpoints] = &self.versions;
        match kind {
            Kind::Filter => filter,
            Kind::Cluster => cluster,
            Kind::Endpoints => endpoints,
            Kind::Namespaces => namespaces,
            Kind::ServiceEndpoints => service_endpoints,
        }
    }
}

fn subscribe(kind: Kind, resource_names_subscribe: Vec<String>) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.url().to_owned(), resource_names_subscribe, ..Default::default() }
}

fn acknowledge(response: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
    DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }
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

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use byname_core::{Config, Defaults, Request, Scheme, StreamAction, StreamNode};
    use prost_types::value;
    use serde_json::json;

    use super::*;
    use crate::{
        synthetic::{namespace, service_key},
        wire::{Any, Resource},
    };

    const ID: usize = 3;
    /// One of the caller's own namespace, two of another one, and one of a third.
    const SERVICES: [usize; 4] = [307, 0, 5, 1_234];

    /// The filter of the sidecar, which steers by endpoint.
    struct Filter(Config);

    impl Filter {
        /// Requests for all Services have come, and the stream is not open yet.
        fn new() -> Self {
            let fields = json!({
                "version": 1, "caller": {"namespace": namespace(307)}, "server": {"cluster": "byname"},
                "steering": {"by": "endpoint"},
            });
            let mut config = Config::read(fields.to_string(), &Defaults::default()).unwrap();
            for (id, service) in (0..).zip(SERVICES) {
                let authority = format!("service-{service}.{}", namespace(service));
                assert!(config.ask(Request::new(&authority, Scheme::Http), (id, None), 0, &mut Vec::new()));
            }
            Self(config)
        }

        fn first_requests(&mut self) -> Vec<DeltaDiscoveryRequest> {
            let node = Dialect::Filter.node(ID);
            let text = |value: &prost_types::Value| match &value.kind {
                Some(value::Kind::StringValue(text)) => text.clone(),
                other => panic!("not a text: {other:?}"),
            };
            let fields = node.metadata.unwrap().fields;
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            let metadata: Vec<_> = fields.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
            let zone = node.locality.unwrap().zone;
            let (id, cluster, zone) = (node.id.as_bytes(), node.cluster.as_bytes(), zone.as_bytes());
            let node = StreamNode { id, cluster, zone, metadata: &metadata };
            let (discovery, table) = self.0.discover().unwrap();
            let mut actions = Vec::new();
            discovery.opened(0, &node, table, &mut actions);
            sent(actions)
        }

        fn receive(&mut self, response: &DeltaDiscoveryResponse) -> Vec<DeltaDiscoveryRequest> {
            let (discovery, table) = self.0.discover().unwrap();
            let mut actions = Vec::new();
            discovery.received(0, 0, &response.encode_to_vec(), table, &mut actions);
            sent(actions)
        }

        /// The stream is lost, and opened again.
        fn reconnect(&mut self) {
            let (discovery, table) = self.0.discover().unwrap();
            let mut actions = Vec::new();
            discovery.closed(0, 0, table, &mut actions);
            discovery.tick(1_000, 0, table, &mut actions);
            assert!(actions.contains(&StreamAction::Open), "{actions:?}");
        }
    }

    fn sent(actions: Vec<StreamAction>) -> Vec<DeltaDiscoveryRequest> {
        let messages = actions.into_iter().filter_map(|action| match action {
            StreamAction::Send(message) => Some(message),
            _ => None,
        });
        let read = |message: Vec<u8>| {
            let request = DeltaDiscoveryRequest::decode(&*message).unwrap();
            assert_eq!(request.encoded_len(), message.len(), "no field is left out: {request:?}");
            sorted(request)
        };
        messages.map(read).collect()
    }

    fn sorted(mut request: DeltaDiscoveryRequest) -> DeltaDiscoveryRequest {
        request.resource_names_subscribe.sort();
        request
    }

    #[test]
    fn asks_as_the_filter_does() {
        let upstream = Upstream { addresses: Vec::new(), tls: None, dialect: Dialect::Filter };
        let names = Dialect::Filter.names(ID, &SERVICES);
        let mut sidecar = Sidecar::new(ID, Arc::new(upstream), names, Arc::default());
        let first = |sidecar: &Sidecar| sidecar.first_requests().into_iter().map(sorted).collect::<Vec<_>>();
        let mut filter = Filter::new();
        assert_eq!(first(&sidecar), filter.first_requests());

        let service = Resource {
            version: "7".to_owned(),
            resource: Some(Any {
                type_url: Kind::ServiceEndpoints.url().to_owned(),
                value: r#"{"ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.1"}]}"#.into(),
            }),
            name: service_key(5),
        };
        let response = DeltaDiscoveryResponse {
            resources: vec![service],
            type_url: Kind::ServiceEndpoints.url().to_owned(),
            nonce: "1".to_owned(),
            removed_resources: Vec::new(),
        };
        assert_eq!(filter.receive(&response), from_ref(&acknowledge(&response)));

        filter.reconnect();
        sidecar.versions[Kind::ServiceEndpoints as usize].insert(service_key(5), "7".to_owned());
        assert_eq!(first(&sidecar), filter.first_requests());
    }
}
