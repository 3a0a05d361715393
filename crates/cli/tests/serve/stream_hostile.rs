//! A server that means harm to the filter that asks it. It writes the bytes of its responses itself, so that they may be no messages.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use byname_test_support::Envoy;
use bytes::{Buf, Bytes, BytesMut};
use envoy_types::pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource},
    google::protobuf::Any,
};
use futures_util::stream::unfold;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc, task::AbortHandle, time::sleep};

use crate::{
    client::{ADDRESS, NAMESPACES, SERVICE_ENDPOINTS},
    failures::World,
    hostile::ROOM_OF_ENVOY,
    load::Load,
    network::Network,
    program::{ServeProcess, all_workers_answer, eventually, upstream},
    stream::{answers, envoy_of, eventually_answers, objects, settle},
};

const WARM: &str = "shop/payments";

/// What a hostile server answers to a filter's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Half of a message, whose length says that it is whole.
    TornMessage,
    /// A message that ends with the stream before its length.
    TornFrame,
    /// A message that says that it is compressed.
    Compressed,
    /// A whole message of 64 MB.
    Huge,
    /// A message of 4 GiB that never ends.
    Endless,
    /// Random bytes in place of messages.
    Garbage,
    /// A type that nobody asked for.
    UnknownType,
    /// A Service in place of an address, and the other way round.
    WrongType,
    /// A resource without a name, and one that is no JSON.
    BadResources,
    /// Brackets in brackets, until the message is full.
    Nested,
    /// Services and addresses that nobody asked for.
    NeverAskedFor,
    /// One name in ten thousand versions.
    Versions,
    /// Nothing after the subscription.
    Silence,
    /// The stream ends at each request.
    EndsAtOnce,
    /// Not one of [`ATTACKS`]: the filter does as it is told.
    EverythingRemoved,
}

const ATTACKS: [Attack; 14] = [
    Attack::TornMessage,
    Attack::TornFrame,
    Attack::Compressed,
    Attack::Huge,
    Attack::Endless,
    Attack::Garbage,
    Attack::UnknownType,
    Attack::WrongType,
    Attack::BadResources,
    Attack::Nested,
    Attack::NeverAskedFor,
    Attack::Versions,
    Attack::Silence,
    Attack::EndsAtOnce,
];

/// A frame of gRPC over HTTP/2: a flag, a length, and the message.
fn frame(is_compressed: bool, length: u32, message: &[u8]) -> Bytes {
    [&[u8::from(is_compressed)], &length.to_be_bytes()[..], message].concat().into()
}

fn whole(message: &[u8]) -> Bytes {
    frame(false, message.len() as u32, message)
}

fn resource(type_url: &str, name: &str, version: usize, value: &[u8]) -> Resource {
    Resource {
        name: name.to_owned(),
        version: version.to_string(),
        resource: Some(Any { type_url: type_url.to_owned(), value: value.to_vec() }),
        ..Resource::default()
    }
}

fn message(type_url: &str, resources: Vec<Resource>) -> Vec<u8> {
    let (type_url, nonce) = (type_url.to_owned(), "1".to_owned());
    DeltaDiscoveryResponse { type_url, nonce, resources, ..DeltaDiscoveryResponse::default() }.encode_to_vec()
}

/// A Service as no request may reach it: its endpoint refuses connections.
fn stolen() -> Vec<u8> {
    let endpoints = json!({"8080": ["127.0.0.1:1"]});
    json!({"clusterIPs": ["10.96.0.66"], "ports": [{"port": 80}], "endpoints": endpoints}).to_string().into_bytes()
}

impl Attack {
    /// What is sent for a request of this type, and whether the stream ends then.
    async fn answer(self, request: &DeltaDiscoveryRequest, responses: &mpsc::Sender<Bytes>) -> bool {
        let asked = &*request.type_url;
        let names = &request.resource_names_subscribe;
        let removed = || DeltaDiscoveryResponse {
            type_url: asked.to_owned(),
            nonce: "1".to_owned(),
            removed_resources: names.clone(),
            ..DeltaDiscoveryResponse::default()
        };
        let good = message(SERVICE_ENDPOINTS, vec![resource(SERVICE_ENDPOINTS, "shop/cold", 1, &stolen())]);
        let all: Vec<Bytes> = match self {
            Self::TornMessage => vec![whole(&good[..good.len() / 2])],
            Self::TornFrame => vec![frame(false, 1_000, &good[..10])],
            Self::Compressed => vec![frame(true, good.len() as u32, &good)],
            Self::Huge => vec![whole(&message(asked, vec![resource(asked, WARM, 2, &vec![b' '; 64 << 20])]))],
            Self::Endless => vec![frame(false, u32::MAX, &good)],
            Self::Garbage => vec![whole(&(0..=255).rev().collect::<Vec<u8>>()), Bytes::from_static(&[0xFF; 4_096])],
            Self::UnknownType => vec![whole(&message("type.googleapis.com/no.such.Type", vec![]))],
            Self::WrongType => {
                let (service, address) =
                    (resource(ADDRESS, WARM, 2, b"shop/other"), resource(SERVICE_ENDPOINTS, "10.96.0.1", 2, &stolen()));
                vec![whole(&message(SERVICE_ENDPOINTS, vec![service])), whole(&message(ADDRESS, vec![address]))]
            }
            Self::BadResources => {
                let bad = [("", &b"{}"[..]), (WARM, b"{\"ports\": 1"), (WARM, b"\xFF\xFE"), (WARM, b"null")];
                let bad = bad.map(|(name, value)| resource(SERVICE_ENDPOINTS, name, 2, value));
                vec![whole(&message(SERVICE_ENDPOINTS, bad.into_iter().chain([Resource::default()]).collect()))]
            }
            Self::Nested => {
                vec![whole(&message(asked, vec![resource(asked, WARM, 2, &vec![b'['; 3 << 20])]))]
            }
            Self::NeverAskedFor => {
                let service = resource(SERVICE_ENDPOINTS, "shop/other", 1, &stolen());
                let address = resource(ADDRESS, "10.96.0.9", 1, b"shop/other");
                let namespaces = resource(NAMESPACES, "other", 1, b"other");
                [(SERVICE_ENDPOINTS, service), (ADDRESS, address), (NAMESPACES, namespaces)]
                    .map(|(type_url, resource)| whole(&message(type_url, vec![resource])))
                    .to_vec()
            }
            Self::Versions => {
                let version = |version| resource(SERVICE_ENDPOINTS, "shop/cold", version, &stolen());
                (0..10_000).map(|number| whole(&message(SERVICE_ENDPOINTS, vec![version(number)]))).collect()
            }
            Self::Silence | Self::EndsAtOnce => vec![],
            Self::EverythingRemoved => vec![whole(&removed().encode_to_vec())],
        };
        for bytes in all {
            if responses.send(bytes).await.is_err() {
                return true;
            }
        }
        if self == Self::Endless {
            let part = Bytes::from_static(&[b' '; 64 << 10]);
            while responses.send(part.clone()).await.is_ok() {}
        }
        matches!(self, Self::EndsAtOnce | Self::TornFrame)
    }
}

/// Reads the requests of a stream, and answers each that asks for something.
async fn attack_stream(attack: Attack, mut requests: Incoming, responses: mpsc::Sender<Bytes>, seen: Arc<AtomicUsize>) {
    let mut received = BytesMut::new();
    while let Some(Ok(frame)) = requests.frame().await {
        let Ok(data) = frame.into_data() else { return };
        received.extend_from_slice(&data);
        while received.len() >= 5 {
            let length = u32::from_be_bytes(received[1..5].try_into().unwrap()) as usize;
            if received.len() < 5 + length {
                break;
            }
            received.advance(5);
            let request = DeltaDiscoveryRequest::decode(received.split_to(length)).unwrap();
            let is_answer = !request.response_nonce.is_empty();
            if !is_answer && !request.resource_names_subscribe.is_empty() {
                let ends = attack.answer(&request, &responses).await;
                seen.fetch_add(1, Ordering::Relaxed);
                if ends {
                    return;
                }
            }
        }
    }
}

fn stream_body(receiver: mpsc::Receiver<Bytes>) -> impl Body<Data = Bytes, Error = Infallible> {
    StreamBody::new(unfold(receiver, async |mut receiver| {
        let bytes = receiver.recv().await?;
        Some((Ok(Frame::data(bytes)), receiver))
    }))
}

struct HostileServer {
    port: u16,
    /// Requests that were answered.
    attacked: Arc<AtomicUsize>,
    accept: AbortHandle,
}

impl HostileServer {
    async fn start(attack: Attack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let attacked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&attacked);
        let accept = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                let service = service_fn(move |request: Request<Incoming>| {
                    let (sender, receiver) = mpsc::channel(16);
                    tokio::spawn(attack_stream(attack, request.into_body(), sender, Arc::clone(&seen)));
                    let response = Response::builder().header("content-type", "application/grpc");
                    async move { Ok::<_, Infallible>(response.body(stream_body(receiver)).unwrap()) }
                });
                tokio::spawn(
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), service),
                );
            }
        });
        Self { port, attacked, accept: accept.abort_handle() }
    }

    async fn wait_until_it_attacked(&self) {
        eventually("the filter asks the hostile server", async || self.attacked.load(Ordering::Relaxed) > 0).await;
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Waits until the filters of both workers have a stream, and send `payments` to this upstream.
async fn both_workers_answer(envoy: &Envoy, upstream: &str) {
    eventually(&format!("both workers send payments to {upstream}"), async || {
        all_workers_answer(envoy, "payments", upstream).await
            && envoy.stat("wasmcustom.byname.stream.open").await.unwrap() == 2
    })
    .await;
}

/// A server can steer the names that it is asked for. It cannot end or stop Envoy, take its memory, answer for other names, make a
/// request wait for longer than the bound, or keep a good server from being heard afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_server_harms_no_other_name() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let good = ServeProcess::start(&objects(WARM, "10.96.0.1", &[&one])).await;
    let network = Network::to(&[good.port]).await;
    let envoy = envoy_of(network.port, &passthrough, "pass").await;
    settle().await;
    both_workers_answer(&envoy, "one").await;
    let before = envoy.peak_kilobytes().unwrap();
    let load = Load::start(&envoy, &["payments"], &["one", "two"]);
    for (number, attack) in ATTACKS.into_iter().enumerate() {
        let hostile = HostileServer::start(attack).await;
        network.move_to(&[hostile.port]);
        // Both workers' filters ask for it, within the bound, and the server may say where it is.
        for _ in 0..4 {
            answers(&envoy, "cold").await;
        }
        hostile.wait_until_it_attacked().await;
        assert_eq!(answers(&envoy, "payments").await, if number % 2 == 0 { "one" } else { "two" }, "{attack:?}");
        for name in [&*format!("never-{number}"), "other", "10.96.0.9", "10.96.0.66"] {
            assert_eq!(answers(&envoy, name).await, "passthrough", "{attack:?}: {name}");
        }
        let peak = envoy.peak_kilobytes().unwrap();
        println!(
            "{attack:?}: {} requests answered, {} kB more at most",
            hostile.attacked.load(Ordering::Relaxed),
            peak - before
        );
        assert!(peak < before + ROOM_OF_ENVOY, "{attack:?}: Envoy took {} kB more", peak - before);

        network.move_to(&[good.port]);
        let (next, name) = if number % 2 == 0 { (&two, "two") } else { (&one, "one") };
        good.write(&objects(WARM, "10.96.0.1", &[next]));
        both_workers_answer(&envoy, name).await;
        eventually_answers(&envoy, "cold", "passthrough").await;
    }
    sleep(Duration::from_millis(300)).await;
    println!("{} requests, none failed", load.stop().await);
    assert_eq!(envoy.stats("vm_reload").await.unwrap().values().sum::<u64>(), 0, "the filter crashed: {}", envoy.log());
}

/// A filter does as its server says: the name passes unchanged, and nothing fails. The good server's word counts again afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_a_hostile_server_removed_come_back() {
    let (one, passthrough) = (upstream("one").await, upstream("passthrough").await);
    let good = ServeProcess::start(&objects(WARM, "10.96.0.1", &[&one])).await;
    let network = Network::to(&[good.port]).await;
    let envoy = envoy_of(network.port, &passthrough, "pass").await;
    settle().await;
    both_workers_answer(&envoy, "one").await;
    let load = Load::start(&envoy, &["payments"], &["one", "passthrough"]);
    let hostile = HostileServer::start(Attack::EverythingRemoved).await;
    network.move_to(&[hostile.port]);
    eventually_answers(&envoy, "payments", "passthrough").await;
    network.move_to(&[good.port]);
    both_workers_answer(&envoy, "one").await;
    println!("{} requests, none failed", load.stop().await);
}

/// Envoy itself takes the messages of its own stream.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_message_takes_no_memory_of_envoy() {
    let world = World::start(1).await;
    let before = world.envoy.peak_kilobytes().unwrap();
    let hostile = HostileServer::start(Attack::Endless).await;
    world.network.move_to(&[hostile.port]);
    hostile.wait_until_it_attacked().await;
    sleep(Duration::from_secs(3)).await;
    let more = world.envoy.peak_kilobytes().unwrap() - before;
    println!("{more} kB more at most");
    assert!(more < ROOM_OF_ENVOY, "Envoy took {more} kB more");
    world.network.move_to(&[world.servers[0].port]);
    world.change(1);
    world.eventually_answers(1).await;
    world.end().await;
}
