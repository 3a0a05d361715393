//! Clients that mean a server harm, and a server that means Envoy harm: memory stays bounded, and everybody else is served.
//!
//! Both speak by the messages of `envoy-types`, which nobody here wrote.

use std::{
    pin::Pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use byname_test_support::tls::TestCa;
use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::{Address, Node, SocketAddress, address, socket_address::PortSpecifier},
            endpoint::v3::{
                ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
            },
        },
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
            aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
        },
    },
    google::protobuf::Any,
};
use futures_util::{Stream, StreamExt, future::join_all, stream::unfold};
use prost::Message;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tonic::{Code, Request, Response, Status, Streaming, transport::server::TcpIncoming};

use crate::{
    client::{CLUSTER, Dial, ENDPOINTS, FILTER, XdsClient, node, subscribe},
    failures::{UPSTREAMS, World},
    identities::{self, Secret, spiffe},
    program::{all_workers_answer, ask, eventually, service},
};

const PAYMENTS: &str = "outbound|80||payments.shop.svc.cluster.local";
/// What one stream may ask for.
const NAMES_OF_A_STREAM: usize = 25_000;
/// How much more memory a server may take for what one client does.
const ROOM: u64 = 64 << 20;
/// How much more memory an Envoy may have taken at any time, in kilobytes.
pub(crate) const ROOM_OF_ENVOY: u64 = 48 << 10;

/// A client that does as it likes.
struct Client {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

fn stream_of<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    unfold(receiver, async |mut receiver| receiver.recv().await.map(|item| (item, receiver)))
}

impl Client {
    async fn open(port: u16, node: &str) -> Result<Self, Status> {
        let server = format!("http://127.0.0.1:{port}");
        let mut client = AggregatedDiscoveryServiceClient::connect(server)
            .await
            .map_err(|error| Status::unknown(error.to_string()))?;
        let (requests, receiver) = mpsc::channel(64);
        let node = Some(Node { id: node.to_owned(), ..Node::default() });
        requests.send(DeltaDiscoveryRequest { node, ..subscribe(ENDPOINTS, [PAYMENTS]) }).await.unwrap();
        let responses = client.delta_aggregated_resources(stream_of(receiver)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// Whether the stream still takes requests.
    async fn send(&self, request: DeltaDiscoveryRequest) -> bool {
        self.requests.send(request).await.is_ok()
    }

    /// How the stream ends. Responses before its end are not acknowledged.
    async fn end(&mut self) -> Code {
        let ended = async {
            loop {
                match self.responses.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return Code::Ok,
                    Err(status) => return status.code(),
                }
            }
        };
        timeout(Duration::from_secs(30), ended).await.expect("the stream ends")
    }

    /// The next response, if one comes within a second.
    async fn next(&mut self) -> Option<DeltaDiscoveryResponse> {
        timeout(Duration::from_secs(1), self.responses.message()).await.ok()?.ok()?
    }
}

/// Checks that a name that Envoy has never asked for is served at once, and that the server is no larger than it was.
async fn assert_others_are_served(world: &World, name: &str, before: u64) {
    let start = Instant::now();
    world.add(name);
    eventually("another Service appears", async || ask(&world.envoy, name).await.said("upstream") == "one").await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let now = world.servers[0].resident_bytes();
    assert!(now < before + ROOM, "{before} bytes before, {now} now");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_ask_for_too_much_are_told_so() {
    let world = World::start(1).await;
    let port = world.servers[0].port;
    let before = world.servers[0].resident_bytes();

    // Endless names, as fast as the server takes them. The rate of the client is not bounded.
    let mut flood = Client::open(port, "flood").await.unwrap();
    let names = |message: usize| (0..500).map(move |number| format!("outbound|80||name-{message}-{number}.x"));
    let begun = Instant::now();
    let sent = async {
        for message in 0.. {
            if !flood.send(subscribe(CLUSTER, names(message))).await {
                return message * 500;
            }
        }
        0
    };
    let sent = timeout(Duration::from_secs(30), sent).await.expect("it is stopped");
    assert!(sent >= 20_000, "stopped after {sent} names");
    // Names that the server has not read when it ends the stream do not count.
    let rate = sent.min(NAMES_OF_A_STREAM) as f64 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} names a second");
    assert!(rate >= 10_000.0, "{rate:.0} names a second");
    assert_eq!(flood.end().await, Code::ResourceExhausted);

    // The same name ten thousand times is one name.
    let mut again = Client::open(port, "again").await.unwrap();
    assert!(again.next().await.is_some());
    assert!(again.send(subscribe(ENDPOINTS, vec![PAYMENTS; 10_000])).await);
    assert!(
        again
            .send(DeltaDiscoveryRequest {
                resource_names_unsubscribe: vec!["nothing".to_owned(); 10_000],
                ..subscribe::<String>(ENDPOINTS, [])
            })
            .await
    );
    // Its requests are answered in order.
    assert!(again.send(subscribe(CLUSTER, [PAYMENTS])).await);
    assert!(again.next().await.is_some());
    assert_eq!(world.servers[0].metric("names").await, 7.0, "three clusters, their endpoints, and the filter");

    for (request, code) in [
        (subscribe(CLUSTER, ["x".repeat(600)]), Code::InvalidArgument),
        (subscribe("type.googleapis.com/no.such.Type", ["x"]), Code::InvalidArgument),
        // More than a request may have.
        (subscribe(CLUSTER, ["x".repeat(9 << 20)]), Code::OutOfRange),
    ] {
        let mut client = Client::open(port, "wrong").await.unwrap();
        client.send(request).await;
        assert_eq!(client.end().await, code);
    }
    // Nonces and errors that answer nothing are not heeded.
    let mut confused = Client::open(port, "confused").await.unwrap();
    assert!(confused.next().await.is_some());
    for nonce in ["", "0", "no such nonce"] {
        let error_detail = Some(envoy_types::pb::google::rpc::Status { code: 13, ..Default::default() });
        let request = DeltaDiscoveryRequest {
            response_nonce: nonce.to_owned(),
            error_detail,
            ..subscribe::<String>(ENDPOINTS, [])
        };
        assert!(confused.send(request).await);
    }
    assert!(confused.send(subscribe(CLUSTER, [PAYMENTS])).await);
    assert!(confused.next().await.is_some(), "its stream lives");
    assert_others_are_served(&world, "after-the-flood", before).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_listen_cost_nothing() {
    let world = World::start(1).await;
    let port = world.servers[0].port;
    let before = world.servers[0].resident_bytes();
    // It reads, and acknowledges nothing: it gets one message, and no other however much changes.
    let mut deaf = Client::open(port, "deaf").await.unwrap();
    assert_eq!(deaf.next().await.unwrap().resources.len(), 1);
    // It does not even read.
    let silent = Client::open(port, "silent").await.unwrap();
    for number in 0..200 {
        world.change(number % 2);
        if number % 10 == 0 {
            silent.send(subscribe(CLUSTER, (0..100).map(|name| format!("{number}-{name}")))).await;
        }
        sleep(Duration::from_millis(10)).await;
    }
    world.eventually_answers(1).await;
    assert!(deaf.next().await.is_none(), "one message waits for its ACK");
    assert_others_are_served(&world, "after-the-deaf", before).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_is_let_in_slowly() {
    let world = World::start(1).await;
    let port = world.servers[0].port;
    let before = world.servers[0].resident_bytes();
    // Each under the name of the real sidecar, whose stream is its own all the same.
    let streams = join_all((0..1_000).map(|_| Client::open(port, "shop-0"))).await;
    let mut refused = 0;
    for mut client in streams.into_iter().filter_map(Result::ok) {
        let first = timeout(Duration::from_secs(5), client.responses.message()).await.expect("an answer");
        refused += usize::from(first.is_err_and(|status| status.code() == Code::ResourceExhausted));
    }
    assert!(refused > 100, "only {refused} of 1,000 were refused");
    assert_eq!(world.envoy.stat("control_plane.connected_state").await.unwrap(), 1);

    // What is not gRPC at all.
    let mut open = Vec::new();
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"",
    ] {
        for _ in 0..40 {
            let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            connection.write_all(bytes).await.unwrap();
            open.push(connection);
        }
    }
    assert_others_are_served(&world, "after-the-crowd", before).await;
    world.end().await;
}

/// How long the server keeps a connection.
async fn kept(mut connection: impl AsyncRead + Unpin) -> Duration {
    let begun = Instant::now();
    let read = async { while matches!(connection.read(&mut [0; 1024]).await, Ok(1..)) {} };
    timeout(Duration::from_secs(60), read).await.expect("the connection is closed");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_for_nothing_are_closed() {
    let ca = TestCa::new();
    let secret = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let arguments = secret.arguments(&["--identity", "certificate", "--client-ca-file", "CA"]);
    let program = identities::start(&arguments).await;
    let certificate = ca.issue(&[], &[&spiffe("shop")]);
    let tls = ca.client(Some(&certificate));
    let dial = Dial { tls: Some(tls.clone()), ..Dial::default() };
    let mut client = XdsClient::open_with(program.port, node("envoy-0", &[]), &dial).await.unwrap();
    client.take().await.unwrap();
    let connect = async || TcpStream::connect(("127.0.0.1", program.port)).await.unwrap();
    // TLS, and TLS with the start of HTTP/2: the client's preface and its settings.
    let silent = tls.connect(connect().await).await.unwrap();
    let mut greets = tls.connect(connect().await).await.unwrap();
    greets.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    for kept in join_all([kept(silent), kept(greets)]).await {
        // A client that does not answer the farewell is waited for as long again.
        assert!((9..25).contains(&kept.as_secs()), "kept for {kept:?}");
    }
    assert!(program.metric("connections_closed_total{reason=\"no_stream\"}").await >= 2.0);
    program.wait_for_log("it has had no open stream for 10 s").await;
    program.write(&[service("shop/web"), service("shop/more")]);
    assert_eq!(client.take().await.unwrap().resources.len(), 1, "a connection with a stream stays");
    assert!(client.open_another().await.is_ok());
}

/// New certificates end connections for new streams. Those that never had a stream count on.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_for_nothing_are_closed_after_a_rotation() {
    let ca = TestCa::new();
    let secret = Secret::new(&ca.issue(&["localhost"], &[]), &ca.pem());
    let arguments = secret.arguments(&["--identity", "certificate", "--client-ca-file", "CA"]);
    let program = identities::start(&arguments).await;
    let tls = ca.client(Some(&ca.issue(&[], &[&spiffe("shop")])));
    let silent = tls.connect(TcpStream::connect(("127.0.0.1", program.port)).await.unwrap()).await.unwrap();
    secret.replace(&ca.issue(&["localhost"], &[]), &ca.pem(), 2);
    program.wait_for_log("the certificate files changed").await;
    assert!(kept(silent).await < Duration::from_secs(25));
    assert_eq!(program.metric("connections_closed_total{reason=\"no_stream\"}").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_for_nothing_is_bounded() {
    let id = std::process::id().to_string();
    let limit = Command::new("prlimit").args(["--pid", &id, "--nofile=8192:"]).status().expect("util-linux");
    assert!(limit.success(), "the test opens 2,100 connections");
    let world = World::start(1).await;
    let before = world.servers[0].resident_bytes();
    let mut crowd = Vec::new();
    for _ in 0..2_100 {
        crowd.push(TcpStream::connect(("127.0.0.1", world.servers[0].port)).await.unwrap());
    }
    let turned = "connections_closed_total{reason=\"too_many_without_stream\"}";
    eventually("a part is turned away", async || world.servers[0].metric(turned).await >= 90.0).await;
    assert!(world.servers[0].metric(turned).await <= 110.0);
    // Places are free again after ten seconds, whatever the crowd does.
    eventually("a client is let in", async || Client::open(world.servers[0].port, "late").await.is_ok()).await;
    drop(crowd);
    assert_others_are_served(&world, "after-the-silent", before).await;
    world.end().await;
}

/// What a hostile server sends when a type is first asked for on a stream.
#[derive(Clone, Copy, Debug)]
enum Attack {
    ReusedNonce,
    DuplicateNames,
    Huge,
    UnknownType,
    Garbage,
    WrongType,
    EmptyNames,
    NeverAskedFor,
    TenThousandMessages,
    EndsAtOnce,
    /// Not one of [`ATTACKS`]: Envoy does as it is told.
    EverythingRemoved,
}

const ATTACKS: [Attack; 10] = [
    Attack::ReusedNonce,
    Attack::DuplicateNames,
    Attack::Huge,
    Attack::UnknownType,
    Attack::Garbage,
    Attack::WrongType,
    Attack::EmptyNames,
    Attack::NeverAskedFor,
    Attack::TenThousandMessages,
    Attack::EndsAtOnce,
];

impl Attack {
    /// What it sends. `ports` are those of upstreams.
    fn responses(self, asked: &str, ports: &[u16]) -> Vec<DeltaDiscoveryResponse> {
        let resource = |name: &str, type_url: &str, value: Vec<u8>| Resource {
            name: name.to_owned(),
            version: "1".to_owned(),
            resource: Some(Any { type_url: type_url.to_owned(), value }),
            ..Resource::default()
        };
        let assignment = |name: &str| {
            ClusterLoadAssignment { cluster_name: name.to_owned(), ..ClusterLoadAssignment::default() }.encode_to_vec()
        };
        let response = |nonce: &str, resources: Vec<Resource>| DeltaDiscoveryResponse {
            type_url: asked.to_owned(),
            nonce: nonce.to_owned(),
            resources,
            ..DeltaDiscoveryResponse::default()
        };
        // The filter itself, when Envoy asks for it.
        let name = if asked == FILTER { "byname" } else { PAYMENTS };
        let garbage = || resource(name, asked, (0..255).rev().collect());
        match self {
            Self::ReusedNonce if asked == ENDPOINTS => {
                let good = |(nonce, port): (&&str, &u16)| {
                    let version = format!("{nonce} {port}");
                    let resource = resource(PAYMENTS, ENDPOINTS, endpoint_of(PAYMENTS, *port).encode_to_vec());
                    response(nonce, vec![Resource { version, ..resource }])
                };
                ["1", "1", ""].iter().zip(ports).map(good).collect()
            }
            Self::ReusedNonce => vec![],
            // Each of them is good.
            Self::DuplicateNames if asked == ENDPOINTS => {
                let good = ports.iter().map(|port| endpoint_of(PAYMENTS, *port).encode_to_vec());
                vec![response("1", good.map(|value| resource(PAYMENTS, ENDPOINTS, value)).collect())]
            }
            Self::DuplicateNames => vec![response("1", vec![garbage(), garbage()])],
            Self::Huge => vec![response("1", vec![resource("huge", asked, vec![b' '; 64 << 20])])],
            Self::UnknownType => {
                let type_url = "type.googleapis.com/no.such.Type".to_owned();
                vec![DeltaDiscoveryResponse { type_url, ..response("1", vec![garbage()]) }]
            }
            Self::Garbage => vec![response("1", vec![garbage()])],
            Self::WrongType => {
                vec![response("1", vec![resource(name, "type.googleapis.com/google.protobuf.Empty", vec![])])]
            }
            Self::EmptyNames => vec![response("1", vec![resource("", ENDPOINTS, assignment("")), Resource::default()])],
            Self::NeverAskedFor => vec![response("1", vec![resource("other", ENDPOINTS, assignment("other"))])],
            Self::TenThousandMessages => {
                let removed = |number: usize| DeltaDiscoveryResponse {
                    removed_resources: vec![format!("other-{number}")],
                    ..response(&number.to_string(), vec![])
                };
                (0..10_000).map(removed).collect()
            }
            Self::EndsAtOnce => vec![],
            Self::EverythingRemoved => {
                let names = ["byname", PAYMENTS].map(str::to_owned).to_vec();
                vec![DeltaDiscoveryResponse { removed_resources: names, ..response("1", vec![]) }]
            }
        }
    }
}

/// The only endpoint of a cluster: a port of this machine.
fn endpoint_of(cluster: &str, port: u16) -> ClusterLoadAssignment {
    let address = SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    let endpoint = Endpoint {
        address: Some(Address { address: Some(address::Address::SocketAddress(address)) }),
        ..Endpoint::default()
    };
    let endpoint = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![locality],
        ..ClusterLoadAssignment::default()
    }
}

struct HostileServer {
    attack: Attack,
    ports: [u16; 3],
    attacked: Arc<AtomicUsize>,
}

type Responses = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for HostileServer {
    type StreamAggregatedResourcesStream = Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;
    type DeltaAggregatedResourcesStream = Responses;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let (sender, receiver) = mpsc::channel(16);
        let (attack, ports, attacked) = (self.attack, self.ports, Arc::clone(&self.attacked));
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            let mut asked = Vec::new();
            while let Some(Ok(request)) = requests.next().await {
                attacked.fetch_add(1, Ordering::Relaxed);
                if matches!(attack, Attack::EndsAtOnce) {
                    return;
                }
                if !asked.contains(&request.type_url) {
                    asked.push(request.type_url.clone());
                    for response in attack.responses(&request.type_url, &ports) {
                        if sender.send(Ok(response)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(stream_of(receiver))))
    }
}

/// Leads Envoy to a hostile server, until it has asked for something and got its answer. The server goes on.
async fn attack(world: &World, attack: Attack) -> JoinHandle<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let attacked = Arc::new(AtomicUsize::new(0));
    let ports = [world.upstreams[1].port(), world.upstreams[0].port(), world.passthrough.port()];
    let service =
        AggregatedDiscoveryServiceServer::new(HostileServer { attack, ports, attacked: Arc::clone(&attacked) });
    let server = tonic::transport::Server::builder().add_service(service);
    let server = tokio::spawn(async { server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap() });
    world.network.move_to(&[port]);
    eventually("Envoy asks the hostile server", async || attacked.load(Ordering::Relaxed) > 0).await;
    sleep(Duration::from_secs(1)).await;
    server
}

/// Leads Envoy from the hostile server to the good one again, whose change has to arrive.
async fn recover(world: &World, hostile: JoinHandle<()>, upstream: usize) {
    world.network.move_to(&[world.servers[0].port]);
    hostile.abort();
    world.change(upstream);
    world.eventually_answers(upstream).await;
}

/// Whoever a sidecar takes its configuration from can steer it. What it cannot do is to end the process, or to keep a good server from
/// being heard afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn envoy_outlives_a_hostile_server() {
    let world = World::start(1).await;
    let before = world.envoy.peak_kilobytes().unwrap();
    for (number, one) in ATTACKS.into_iter().enumerate() {
        if matches!(one, Attack::ReusedNonce) {
            world.load.expect(&["one", "two", "passthrough"]);
        }
        let hostile = attack(&world, one).await;
        let reply = ask(&world.envoy, "payments").await;
        assert_eq!(reply.status, 200, "{one:?}");
        // Good resources are taken, whatever their nonces, and the last one counts: this one leads elsewhere.
        let is_taken = reply.said("upstream") == "passthrough";
        assert_eq!(is_taken, matches!(one, Attack::ReusedNonce), "{one:?}: {}", reply.body);
        let more = world.envoy.peak_kilobytes().unwrap() - before;
        println!("{one:?}: {more} kB more at most");
        assert!(more < ROOM_OF_ENVOY, "{one:?}: Envoy took {more} kB more");
        recover(&world, hostile, (number + 1) % 2).await;
        world.load.expect(&UPSTREAMS);
    }
    world.end_with_refusals().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_recovers_when_everything_was_removed() {
    let world = World::start(1).await;
    world.load.expect(&["one", "two", "passthrough"]);
    let hostile = attack(&world, Attack::EverythingRemoved).await;
    // Requests pass as they came: the filter's default configuration has no names.
    assert!(all_workers_answer(&world.envoy, "payments", "passthrough").await, "nothing was removed");
    recover(&world, hostile, 1).await;
    assert_eq!(world.envoy.admin("/ready").await.unwrap().status, 200);
    world.end_with_refusals().await;
}
