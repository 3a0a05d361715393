//! What happens to servers, to the network and to the API, while an Envoy is under load with names that it knows: no request
//! fails, no connection ends, and a change arrives as soon as it can.

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use byname_test_support::{Envoy, TestUpstream, kubernetes::KubernetesApi};
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    client::{CLUSTER, DeltaRequest, Dial, ENDPOINTS, FILTER, XdsClient, node, subscribe, text},
    clocks::Clocks,
    load::Load,
    network::{Condition, Network},
    program::{ServeProcess, all_workers_answer, eventually, only_slice, service, slice, slices},
    stream,
};

const NAMES: [&str; 3] = ["payments", "orders", "web"];
/// The most memory that a server may have taken at any time, whatever happened to it: it needs some 50 MB.
const MEMORY: u64 = 96 << 20;
pub(crate) const UPSTREAMS: [&str; 2] = ["one", "two"];
/// With the stream of Envoy, and with that of the filter.
const BOOTSTRAPS: [&str; 2] = ["serve.yaml", OF_FILTER];
const OF_FILTER: &str = "stream.yaml";

/// An API, servers that follow it, and an Envoy that reaches them through a network, under load.
pub(crate) struct World {
    pub(crate) load: Load,
    pub(crate) envoy: Envoy,
    pub(crate) network: Network,
    pub(crate) servers: Vec<ServeProcess>,
    pub(crate) api: KubernetesApi,
    pub(crate) upstreams: [TestUpstream; 2],
    pub(crate) passthrough: TestUpstream,
}

impl World {
    pub(crate) async fn start(servers: usize) -> Self {
        Self::start_of("serve.yaml", servers).await
    }

    /// The same with an Envoy of this bootstrap.
    async fn start_of(bootstrap: &str, servers: usize) -> Self {
        Self::start_with(bootstrap, servers, |api| vec![api.address(); servers]).await
    }

    /// The same with a network between the API and the first server.
    async fn start_behind_a_network(bootstrap: &str, servers: usize) -> (Self, Network) {
        let network = Network::to(&[]).await;
        let world = Self::start_with(bootstrap, servers, |api| {
            network.lead_to(&[api.address().port()]);
            let mut addresses = vec![api.address(); servers];
            addresses[0] = ([127, 0, 0, 1], network.port).into();
            addresses
        })
        .await;
        (world, network)
    }

    /// The same with servers that reach the API at these addresses.
    async fn start_with(
        bootstrap: &str,
        servers: usize,
        addresses: impl FnOnce(&KubernetesApi) -> Vec<std::net::SocketAddr>,
    ) -> Self {
        let [one, two] = UPSTREAMS;
        let upstreams = [TestUpstream::start(one).await.unwrap(), TestUpstream::start(two).await.unwrap()];
        let api = KubernetesApi::start().await.unwrap();
        api.list_in_pages_of(500);
        for name in NAMES {
            api.put(service(&format!("shop/{name}")));
            api.put(only_slice(&format!("shop/{name}"), &upstreams[0]));
        }
        let mut all = Vec::new();
        for address in addresses(&api) {
            let mut server = ServeProcess::of_api_at(address, "");
            server.restart().await;
            all.push(server);
        }
        assert_eq!(all.len(), servers);
        let network = Network::to(&all.iter().map(|server| server.port).collect::<Vec<_>>()).await;
        let passthrough = TestUpstream::start("passthrough").await.unwrap();
        let builder = match bootstrap {
            OF_FILTER => stream::builder(network.port, &passthrough, "refuse"),
            _ => Envoy::builder(bootstrap).port(18000, network.port).upstream(18080, &passthrough),
        };
        let envoy = builder.start().await.unwrap();
        for name in NAMES {
            eventually("the name is known", async || all_workers_answer(&envoy, name, "one").await).await;
        }
        let load = Load::start(&envoy, &NAMES, &UPSTREAMS);
        Self { load, envoy, network, servers: all, api, upstreams, passthrough }
    }

    /// A world with one server, whose clocks can be set.
    pub(crate) async fn start_with_clocks() -> (Self, Clocks) {
        let mut world = Self::start(1).await;
        let clocks = Clocks::of(&mut world.servers[0]).await;
        assert_eq!(world.holder().await, 0);
        (world, clocks)
    }

    /// Adds a Service whose endpoint is the first upstream.
    pub(crate) fn add(&self, name: &str) {
        self.api.put(service(&format!("shop/{name}")));
        self.api.put(only_slice(&format!("shop/{name}"), &self.upstreams[0]));
    }

    /// Gives `payments` the other endpoint: 0 or 1.
    pub(crate) fn change(&self, upstream: usize) {
        self.api.put(only_slice("shop/payments", &self.upstreams[upstream]));
    }

    async fn answers(&self, upstream: usize) -> bool {
        all_workers_answer(&self.envoy, "payments", UPSTREAMS[upstream]).await
    }

    pub(crate) async fn eventually_answers(&self, upstream: usize) {
        eventually("the change arrives", async || self.answers(upstream).await).await;
    }

    /// A server that has a stream of Envoy, or of a worker's filter.
    async fn holder(&self) -> usize {
        let has_stream = async |server: &ServeProcess| server.is_running() && server.metric("streams").await > 0.0;
        eventually("a server has the stream", async || {
            join_all(self.servers.iter().map(has_stream)).await.contains(&true)
        })
        .await;
        join_all(self.servers.iter().map(has_stream)).await.iter().position(|has| *has).unwrap()
    }

    /// Ends the load. No request may have failed, and Envoy may have refused nothing.
    pub(crate) async fn end(self) {
        let refused = self.envoy.stats("update_rejected").await.unwrap();
        assert!(refused.values().all(|count| *count == 0), "{refused:?}");
        self.end_with_refusals().await;
    }

    /// The same where Envoy had to refuse what it was sent.
    pub(crate) async fn end_with_refusals(self) {
        sleep(Duration::from_millis(300)).await;
        let requests = self.load.stop().await;
        assert!(requests > 100, "only {requests} requests");
        let peaks: Vec<u64> = self.servers.iter().map(ServeProcess::peak_bytes).collect();
        assert!(peaks.iter().all(|peak| (1..MEMORY).contains(peak)), "{peaks:?} bytes");
        println!("{requests} requests, {} connections to servers of {peaks:?} bytes", self.network.opened());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_killed() {
    let kinds = [(["filter", "cluster"], "endpoints"), (["service", "address"], "service_endpoints")];
    for (bootstrap, (others, changed)) in BOOTSTRAPS.into_iter().zip(kinds) {
        let mut world = World::start_of(bootstrap, 2).await;
        let first = world.holder().await;
        let other = 1 - first;
        let streams = world.servers[first].metric("streams").await + world.servers[other].metric("streams").await;
        let before =
            [kinds_sent(&world.servers[other], &others).await, kinds_sent(&world.servers[other], &[changed]).await];
        world.servers[first].kill();
        world.change(1);
        world.eventually_answers(1).await;
        eventually("all streams are there", async || world.servers[other].metric("streams").await == streams).await;
        // What was known costs no bytes: only the change was sent, on each stream.
        assert_eq!(kinds_sent(&world.servers[other], &others).await, before[0], "{bootstrap}");
        assert_eq!(kinds_sent(&world.servers[other], &[changed]).await - before[1], streams, "{bootstrap}");
        world.servers[other].kill();
        world.change(0);
        sleep(Duration::from_secs(2)).await;
        assert!(world.answers(1).await, "nothing expires");
        for server in &mut world.servers {
            server.restart().await;
        }
        world.eventually_answers(0).await;
        world.end().await;
    }
}

/// A paused server takes connections and answers nothing. Envoy's pings find it, and the next connection leads to another.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_paused() {
    for bootstrap in BOOTSTRAPS {
        let world = World::start_of(bootstrap, 2).await;
        let paused = world.holder().await;
        world.servers[paused].signal("STOP");
        world.change(1);
        world.eventually_answers(1).await;
        world.servers[paused].signal("CONT");
        world.change(0);
        world.eventually_answers(0).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_slow() {
    for (bootstrap, kind) in BOOTSTRAPS.into_iter().zip(["endpoints", "service_endpoints"]) {
        let world = World::start_of(bootstrap, 1).await;
        let messages = format!("messages_total{{type=\"{kind}\"}}");
        let (streams, before) = (world.servers[0].metric("streams").await, world.servers[0].metric(&messages).await);
        world.network.set(Condition::Throttled(2_000));
        for number in 0..40 {
            world.change(number % 2);
            sleep(Duration::from_millis(25)).await;
        }
        world.eventually_answers(1).await;
        let sent = (world.servers[0].metric(&messages).await - before) / streams;
        assert!((1.0..30.0).contains(&sent), "{bootstrap}: {sent} messages for 40 changes: those that wait become one");
        world.network.set(Condition::Good);
        world.change(0);
        world.eventually_answers(0).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_cut() {
    for bootstrap in BOOTSTRAPS {
        let world = World::start_of(bootstrap, 1).await;
        for (number, bytes) in [1, 9, 60, 200, 700, 1_500, 4_000].into_iter().enumerate() {
            world.network.set(Condition::Cut(bytes));
            world.change(number % 2);
            let opened = world.network.opened();
            world.network.end_connections();
            // Envoy knows nearly all of it when it connects again, so that the server has little to send.
            let more = if bytes <= 200 { 2 } else { 1 };
            eventually("connections are cut", async || world.network.opened() >= opened + more).await;
        }
        world.network.set(Condition::Good);
        world.change(1);
        world.eventually_answers(1).await;
        world.end().await;
    }
}

/// Connections stay open and carry nothing, as after a firewall forgot them. Pings of Envoy end them.
#[tokio::test(flavor = "multi_thread")]
async fn the_network_is_silent() {
    for bootstrap in BOOTSTRAPS {
        let world = World::start_of(bootstrap, 1).await;
        let before = world.network.opened();
        world.network.set(Condition::Silent);
        world.change(1);
        eventually("Envoy connects again", async || world.network.opened() > before).await;
        assert!(world.answers(0).await, "nothing expires");
        world.network.set(Condition::Good);
        world.eventually_answers(1).await;
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_away_slow_and_back_in_time() {
    let mut world = World::start(1).await;
    world.api.stop();
    sleep(Duration::from_secs(2)).await;
    world.change(1);
    world.api.listen().await.unwrap();
    world.eventually_answers(1).await;

    world.api.fall_silent(true);
    world.api.cut();
    sleep(Duration::from_secs(2)).await;
    world.change(0);
    world.api.fall_silent(false);
    world.eventually_answers(0).await;

    // Watches that are too old get a 410, and everything is listed again.
    world.api.fail("endpointslices", &[410]);
    world.api.cut();
    world.change(1);
    world.eventually_answers(1).await;

    // A restored etcd is older: what is served follows it, since it is what the cluster is now.
    let backup = world.api.snapshot();
    world.change(0);
    world.eventually_answers(0).await;
    world.api.stop();
    eventually("watches fail", async || world.servers[0].metric("failing").await > 0.0).await;
    world.api.restore(backup);
    world.api.listen().await.unwrap();
    world.eventually_answers(1).await;
    world.end().await;
}

/// Lists and events come at 500 bytes a second: a change is late, and nothing else happens.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_slow() {
    let (world, api) = World::start_behind_a_network("serve.yaml", 1).await;
    api.set(Condition::Throttled(500));
    world.change(1);
    world.eventually_answers(1).await;
    // Everything is listed again, as slowly.
    world.api.fail("endpointslices", &[410]);
    world.api.cut();
    let since = Instant::now();
    world.change(0);
    world.eventually_answers(0).await;
    assert!(since.elapsed() > Duration::from_millis(500), "not slow: {:?}", since.elapsed());
    assert_eq!(world.servers[0].metric("stale").await, 0.0);
    world.end().await;
}

/// The newer server replaces the older one, and then the other way round. Both are of this build, unless `BYNAME_OTHER_PROGRAM` is the path of
/// a program of another version.
#[tokio::test(flavor = "multi_thread")]
async fn servers_are_upgraded_and_rolled_back() {
    let other = env::var_os("BYNAME_OTHER_PROGRAM").map(PathBuf::from);
    let kinds: [&[&str]; 2] = [&["filter", "cluster", "endpoints"], &["service", "service_endpoints", "address"]];
    for (bootstrap, kinds) in BOOTSTRAPS.into_iter().zip(kinds) {
        let mut world = World::start_of(bootstrap, 2).await;
        if let Some(other) = &other {
            world.network.lead_to(&[world.servers[1].port]);
            assert_eq!(world.servers[0].end().await, Some(0), "{}", world.servers[0].log());
            world.servers[0].program.clone_from(other);
            world.servers[0].restart().await;
        }
        world.network.move_to(&[world.servers[0].port]);
        eventually("the first has the stream", async || world.servers[0].metric("streams").await > 0.0).await;
        for (number, [old, new]) in [[0, 1], [1, 0]].into_iter().enumerate() {
            // As in a rolling update: the new one is ready, new connections lead to it, and the old one gets SIGTERM.
            if number > 0 {
                world.servers[new].restart().await;
            }
            let before = kinds_sent(&world.servers[new], kinds).await;
            world.network.lead_to(&[world.servers[new].port]);
            assert_eq!(world.servers[old].end().await, Some(0), "{}", world.servers[old].log());
            eventually("the new one has the stream", async || world.servers[new].metric("streams").await > 0.0).await;
            let sent = kinds_sent(&world.servers[new], kinds).await - before;
            println!("{bootstrap}: {sent} resources were sent again");
            assert!(other.is_some() || sent == 0.0, "{sent}: Envoy knows all of it");
            world.change(1 - number);
            world.eventually_answers(1 - number).await;
        }
        world.end().await;
    }
}

/// How many resources of these kinds a server has sent.
async fn kinds_sent(server: &ServeProcess, kinds: &[&str]) -> f64 {
    let mut sent = 0.0;
    for kind in kinds {
        sent += server.metric(&format!("resources_total{{type=\"{kind}\"}}")).await;
    }
    sent
}

/// Seconds for which a server is cut from the API, unless `BYNAME_CUT_SECONDS` says more: it is stale after 30.
const CUT_SECONDS: usize = 34;

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_server_takes_no_envoy_back_in_time() {
    takes_nobody_back_in_time("serve.yaml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_server_takes_no_filter_back_in_time() {
    takes_nobody_back_in_time(OF_FILTER).await;
}

/// A server whose watches have failed for 30 s may know less than the one before it: it refuses who brings versions.
async fn takes_nobody_back_in_time(bootstrap: &str) {
    let (world, api) = World::start_behind_a_network(bootstrap, 3).await;
    let mut streams = 0.0;
    for server in &world.servers {
        streams += server.metric("streams").await;
    }
    let seconds: usize = env::var("BYNAME_CUT_SECONDS").map_or(CUT_SECONDS, |text| text.parse().unwrap());
    assert!(seconds >= CUT_SECONDS, "BYNAME_CUT_SECONDS={seconds}: a server is not stale before {CUT_SECONDS} s");
    api.set(Condition::Down);
    let fresh = [world.servers[1].port, world.servers[2].port];
    world.network.move_to(&fresh);
    // Names that nobody uses change all the time, so that a whole table would differ too.
    for number in 0..seconds {
        world.api.put(service(&format!("shop/churn-{number}")));
        world.change(number % 2);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.servers[0].metric("stale").await, 1.0);
    world.change(1);
    world.eventually_answers(1).await;
    sleep(Duration::from_millis(200)).await;
    drop(world.load.take_answers("payments"));
    let refused = "streams_closed_total{reason=\"stale\"}";
    for _ in 0..4 {
        world.network.move_to(&[world.servers[0].port, fresh[0], fresh[1]]);
        sleep(Duration::from_secs(2)).await;
    }
    let refusals = world.servers[0].metric(refused).await;
    assert!(refusals > 0.0, "{}", world.servers[0].log());
    assert_eq!(world.load.take_answers("payments"), ["two"], "nobody was taken back in time");
    // It serves again as soon as it knows what the others know.
    let services = world.servers[1].metric("services").await;
    assert!(world.servers[0].metric("services").await < services);
    api.set(Condition::Good);
    let restored = Instant::now();
    eventually("it is current", async || world.servers[0].metric("stale").await == 0.0).await;
    let current_after = restored.elapsed().as_secs_f64();
    assert_eq!(world.servers[0].metric("services").await, services);
    println!("{bootstrap}: cut for {seconds} s: {refusals} streams refused, current again after {current_after:.1} s");
    world.network.move_to(&[world.servers[0].port]);
    eventually("it has the streams", async || world.servers[0].metric("streams").await == streams).await;
    assert_eq!(world.load.take_answers("payments"), ["two"]);
    world.change(0);
    world.eventually_answers(0).await;
    world.end().await;
}

/// The brake is for objects that vanish from a list. A zone that fails is a third of all endpoints, and passes at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_of_three_is_lost() {
    let world = World::start(1).await;
    let lost = TestUpstream::start("of the zone").await.unwrap();
    world.load.expect(&["one", "two", "of the zone"]);
    // `web` has an endpoint in the zone.
    let web = |is_ready: bool| {
        let endpoint = json!({"addresses": ["127.0.0.1"], "zone": "ccc", "conditions": {"ready": is_ready}});
        let mut slice = slice("shop/web", &lost, &endpoint);
        slice["metadata"]["name"] = "web-ccc".into();
        slice
    };
    world.api.put(web(true));
    let zone_answers = || world.load.take_answers("web").iter().any(|upstream| upstream == "of the zone");
    eventually("the zone answers", async || zone_answers()).await;
    let in_zone = |number: usize, zone: &str, is_ready: bool| {
        let address = format!("10.244.{number}.{}", zone.len());
        let mut slice = slice(
            &format!("shop/many-{number}"),
            &world.upstreams[0],
            &json!({"addresses": [address], "zone": zone, "conditions": {"ready": is_ready}}),
        );
        slice["metadata"]["name"] = format!("many-{number}-{zone}").into();
        slice
    };
    let zones = ["a", "bb", "ccc"];
    for number in 0..60 {
        world.api.put(service(&format!("shop/many-{number}")));
        zones.iter().for_each(|zone| world.api.put(in_zone(number, zone, true)));
    }
    let held = async || {
        let mut held = 0.0;
        for kind in ["Service", "EndpointSlice"] {
            held += world.servers[0].metric(&format!("brake_held{{kind=\"{kind}\"}}")).await;
        }
        held
    };
    // Readiness first, and then the objects themselves.
    (0..60).for_each(|number| world.api.put(in_zone(number, "ccc", false)));
    world.api.put(web(false));
    world.change(1);
    world.eventually_answers(1).await;
    assert_eq!(held().await, 0.0);
    eventually("the zone answers no more", async || {
        sleep(Duration::from_millis(100)).await;
        !zone_answers()
    })
    .await;
    world.load.expect(&UPSTREAMS);
    let gone = web(false);
    drop(lost);
    (0..60).for_each(|number| world.api.delete(&in_zone(number, "ccc", false)));
    world.api.delete(&gone);
    world.change(0);
    world.eventually_answers(0).await;
    assert_eq!(held().await, 0.0);
    let slices = "objects{kind=\"EndpointSlice\"}";
    eventually("they are gone", async || world.servers[0].metric(slices).await == 123.0).await;
    world.end().await;
}

/// A day back and forth. What is served goes by versions of content and by a clock that cannot be set.
#[tokio::test(flavor = "multi_thread")]
async fn the_clock_is_set() {
    let mut world = World::start(1).await;
    let clocks = Clocks::of(&mut world.servers[0]).await;
    let now = world.servers[0].metric("last_update_timestamp_seconds").await;
    for (number, seconds) in [-86_400, 86_400, 0].into_iter().enumerate() {
        clocks.set(seconds, 0);
        world.change((number + 1) % 2);
        world.eventually_answers((number + 1) % 2).await;
        let later = world.servers[0].metric("last_update_timestamp_seconds").await;
        assert!((later - now - f64::from(seconds)).abs() < 600.0, "the clock was not set: {now}, {later}");
    }
    assert_eq!(world.servers[0].metric("stale").await, 0.0);
    world.end().await;
}

/// A stream ends after 24 to 36 minutes, so that Envoys spread over servers again. Envoy opens another one, and is told of changes.
#[tokio::test(flavor = "multi_thread")]
async fn streams_age() {
    let (world, clocks) = World::start_with_clocks().await;
    let opened = world.servers[0].metric("streams_opened_total").await;
    clocks.set(0, 37 * 60);
    eventually("the stream has aged", async || {
        world.servers[0].metric("streams_closed_total{reason=\"aged\"}").await > 0.0
    })
    .await;
    eventually("Envoy has another", async || world.servers[0].metric("streams_opened_total").await > opened).await;
    world.change(1);
    world.eventually_answers(1).await;
    world.end().await;
}

/// While a server waits for its streams to end, those that are left are told of changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_tells_changes_to_the_last() {
    const CLIENTS: usize = 8;
    let world = World::start(1).await;
    let (server, name) = (&world.servers[0], "outbound|80||payments.shop.svc.cluster.local");
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = XdsClient::open(server.port, node(&format!("shop-{number}"), &[])).await;
        client.subscribe(CLUSTER, &[name]);
        client.subscribe(ENDPOINTS, &[name]);
        while client.take().await.unwrap().type_url != ENDPOINTS {}
        clients.push(client);
    }
    server.signal("TERM");
    server.wait_for_log("stopping").await;
    world.change(1);
    let told = clients.iter_mut().map(async |client| {
        // A stream that has ended is another server's.
        while let Ok(message) = client.take().await {
            if message.type_url == ENDPOINTS {
                return true;
            }
        }
        false
    });
    let told = join_all(told).await.into_iter().filter(|is_told| *is_told).count();
    assert!(told > CLIENTS / 2, "only {told} of {CLIENTS}; streams end over 30 s");
    drop(clients);
    world.end().await;
}

/// A server whose brake holds may serve an older state than another server has given to an Envoy.
#[tokio::test(flavor = "multi_thread")]
async fn a_stale_server_stays_stale_while_its_brake_holds() {
    let (world, api) = World::start_behind_a_network("serve.yaml", 1).await;
    let many = (0..60).map(|number| format!("many-{number}"));
    many.clone().for_each(|name| world.api.put(service(&format!("shop/{name}"))));
    let server = &world.servers[0];
    eventually("it knows all", async || server.metric("services").await == 63.0).await;
    api.set(Condition::Down);
    eventually("it is stale", async || server.metric("stale").await == 1.0).await;
    many.for_each(|name| world.api.delete(&service(&format!("shop/{name}"))));
    // Its watch is too old by then, so it lists.
    world.api.fail("services", &[410]);
    api.set(Condition::Good);
    eventually("the brake holds", async || server.metric("brake_held{kind=\"Service\"}").await > 0.0).await;
    eventually("the watches run", async || server.metric("failing").await == 0.0).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(server.metric("stale").await, 1.0, "it has not read what it has missed");
    assert!(server.post("/debug/brake/release").await.contains("released"));
    eventually("it is current", async || server.metric("stale").await == 0.0).await;
    assert_eq!(server.metric("services").await, 3.0);
    world.end().await;
}

/// A client that has this version of the filter opens a stream. The status that refuses it, or the text of the filter that it is sent.
async fn come_with(server: &ServeProcess, version: &str) -> Result<String, tonic::Status> {
    let initial_resource_versions = [("byname".to_owned(), version.to_owned())].into();
    let hello =
        DeltaRequest { node: Some(node("shop-0", &[])), initial_resource_versions, ..subscribe(FILTER, ["byname"]) };
    let mut client = XdsClient::open_asking(server.port, hello, &Dial::default()).await?;
    client.subscribe(CLUSTER, &["missing"]);
    let message = client.take().await?;
    Ok(message.resources.first().map(text).unwrap_or_default())
}

/// Another server may know more, whatever keeps one from taking what the cluster has.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_what_it_has_takes_nobody_back_in_time() {
    let upstream = TestUpstream::start("one").await.unwrap();
    let few = [vec![service("shop/web")], slices("shop/web", &[&upstream])].concat();
    let many: Vec<_> = (0..60).map(|number| service(&format!("shop/many-{number}"))).collect();
    let mut server = ServeProcess::start(&[few.clone(), many].concat()).await;
    let (clocks, newer) = (Clocks::of(&mut server).await, "0123456789abcdef");
    let stale = async |wanted: f64| {
        eventually("it is stale, or not", async || server.metric("stale").await == wanted).await;
    };
    let refused = async || {
        let status = come_with(&server, newer).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
        assert!(status.message().contains("this server may be behind the cluster"), "{status}");
    };
    server.write(&few);
    eventually("the brake holds", async || server.metric("brake_held{kind=\"Service\"}").await > 0.0).await;
    stale(1.0).await;
    assert!(come_with(&server, newer).await.unwrap().contains("shop/many-0"), "not yet");
    clocks.set(0, 40);
    refused().await;
    assert!(server.post("/debug/brake/release").await.contains("released"));
    stale(0.0).await;
    let now = come_with(&server, newer).await.unwrap();
    assert!(now.contains("shop/web") && !now.contains("shop/many-0"), "{now}");

    server.write_text("{");
    stale(1.0).await;
    clocks.set(0, 80);
    refused().await;
    // Who knows the same is served.
    let mut client = XdsClient::open(server.port, node("shop-1", &[])).await;
    let version = client.take().await.unwrap().resources[0].version.clone();
    assert_eq!(come_with(&server, &version).await.unwrap(), "");
    server.write(&few);
    stale(0.0).await;
    assert!(come_with(&server, newer).await.unwrap().contains("shop/web"));
}

/// A network that drops what is sent breaks no connection, and a watch may have nothing to say for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_falls_silent_is_noticed() {
    let (world, api) = World::start_behind_a_network("serve.yaml", 1).await;
    let server = &world.servers[0];
    api.set(Condition::Silent);
    let since = Instant::now();
    eventually("the watches fail", async || server.metric("failing").await > 0.0).await;
    println!("noticed after {:.1} s", since.elapsed().as_secs_f64());
    api.set(Condition::Good);
    world.change(1);
    world.eventually_answers(1).await;
    eventually("the watches run", async || server.metric("failing").await == 0.0).await;
    world.end().await;
}
