//! The filter's own stream: a real Envoy whose filter asks the real server for the names that its requests need.

use std::time::{Duration, Instant};

use byname_test_support::{Connection, Envoy, EnvoyBuilder, Reply, RequestForm, TestUpstream, write_crashing_module};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    load::Load,
    program::{self, ServeProcess, alias, eventually, service, service_with, slices, upstream},
};

/// The longest wait of a request for the server, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(2);

/// A Service with a cluster IP of its own, by `namespace/name`.
pub(crate) fn objects(name: &str, address: &str, upstreams: &[&TestUpstream]) -> Vec<Value> {
    [vec![service_with(name, &json!({"clusterIP": address, "clusterIPs": [address]}))], slices(name, upstreams)]
        .concat()
}

async fn envoy(program: &ServeProcess, passthrough: &TestUpstream, on_timeout: &str) -> Envoy {
    envoy_of(program.port, passthrough, on_timeout).await
}

/// The same by the port of the server.
pub(crate) async fn envoy_of(server: u16, passthrough: &TestUpstream, on_timeout: &str) -> Envoy {
    builder(server, passthrough, on_timeout).start().await.unwrap()
}

pub(crate) fn builder(server: u16, passthrough: &TestUpstream, on_timeout: &str) -> EnvoyBuilder {
    Envoy::builder("stream.yaml")
        .port(18000, server)
        .upstream(18080, passthrough)
        .edit("\"onTimeout\": \"pass\"", &format!("\"onTimeout\": \"{on_timeout}\""))
        .edit("\"version\": 1,", "\"version\": 1, \"table\": {\"singleMachine\": true},")
}

async fn ask(envoy: &Envoy, authority: &str) -> Reply {
    let start = Instant::now();
    let reply = program::ask(envoy, authority).await;
    assert!(start.elapsed() < BOUND, "{authority} took {:?}", start.elapsed());
    reply
}

/// Which upstream answers, or the status.
pub(crate) async fn answers(envoy: &Envoy, authority: &str) -> String {
    let reply = ask(envoy, authority).await;
    if reply.status == 200 { reply.said("upstream") } else { format!("{} {}", reply.status, reply.body.trim()) }
}

pub(crate) async fn eventually_answers(envoy: &Envoy, authority: &str, wanted: &str) {
    eventually(&format!("{wanted} answers {authority}"), async || answers(envoy, authority).await == wanted).await;
}

/// Each worker has had a tick by then, so that its requests can wait.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_table_reaches_every_kind_of_name() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let program = ServeProcess::start(
        &[
            objects("shop/payments", "10.96.0.1", &[&one]),
            objects("prod/payments", "10.96.0.2", &[&two]),
            vec![alias("shop/pay", "payments.prod.svc.cluster.local")],
        ]
        .concat(),
    )
    .await;
    let envoy = envoy(&program, &passthrough, "pass").await;
    settle().await;
    for (authority, upstream) in [
        ("payments", "one"),
        ("payments.prod", "two"),
        ("payments.prod.svc", "two"),
        ("payments.prod.svc.cluster.local.", "two"),
        ("10.96.0.2", "two"),
        ("pay", "two"),
        ("nothing", "passthrough"),
        ("api.example.com", "passthrough"),
        ("10.96.0.3", "passthrough"),
    ] {
        // Both workers.
        for _ in 0..8 {
            assert_eq!(answers(&envoy, authority).await, upstream, "{authority}: {}\n{}", program.log(), envoy.log());
        }
    }
    let stats = envoy.stats("byname.stream").await.unwrap();
    println!("{stats:?}");
    assert_eq!(envoy.stat("wasmcustom.byname.stream.timeouts").await.unwrap(), 0, "{stats:?}");
    assert!(envoy.stat("wasmcustom.byname.stream.open").await.unwrap() <= 2, "one for each worker: {stats:?}");
}

/// Envoy has the clusters, and the names of a namespace are asked for before the first request.
#[tokio::test(flavor = "multi_thread")]
async fn preloaded_names_are_steered_by_cluster_without_a_wait() {
    const PASSTHROUGH: &str = "  - name: passthrough\n";
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let objects =
        [objects("shop/payments", "10.96.0.1", &[&two]), objects("prod/orders", "10.96.0.2", &[&two])].concat();
    let program = ServeProcess::start(&objects).await;
    let cluster = "outbound|80||payments.shop.svc.cluster.local";
    let clusters = format!(
        "  - name: {cluster}\n    type: STATIC\n    load_assignment:\n      cluster_name: {cluster}\n      endpoints: [{{lb_endpoints: \
         [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 18081}}}}}}}}]}}]\n{PASSTHROUGH}"
    );
    let envoy = builder(program.port, &passthrough, "refuse")
        .upstream(18081, &one)
        .edit(PASSTHROUGH, &clusters)
        .edit("\"by\": \"endpoint\"", "\"by\": \"cluster\"")
        .edit("\"onTimeout\":", "\"preload\": [\"shop/*\"], \"onTimeout\":")
        .start()
        .await
        .unwrap();
    // The filter does not know that it runs on the main thread, which handles no requests.
    let keys = "wasmcustom.byname.stream.keys";
    eventually("workers and main thread have it", async || envoy.stat(keys).await.unwrap() == 3).await;
    for authority in ["payments", "payments.shop", "10.96.0.1", "payments.shop.svc.cluster.local:80"] {
        for _ in 0..8 {
            let reply = ask(&envoy, authority).await;
            assert_eq!((reply.status, reply.said("upstream")), (200, "one".to_owned()), "{authority}: {}", reply.body);
            assert_eq!(reply.said("authority"), "payments.shop.svc.cluster.local", "{}", reply.body);
        }
    }
    assert_eq!(envoy.stat("wasmcustom.byname.stream.timeouts").await.unwrap(), 0);
    // A cluster that Envoy lacks.
    assert_eq!(ask(&envoy, "orders.prod").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_appear_move_and_disappear_and_endpoints_follow() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let program = ServeProcess::start(&objects("shop/payments", "10.96.0.1", &[&one])).await;
    let envoy = envoy(&program, &passthrough, "pass").await;
    settle().await;
    eventually_answers(&envoy, "payments", "one").await;
    eventually_answers(&envoy, "orders", "passthrough").await;
    for round in 0..10 {
        let (next, name) = if round % 2 == 0 { (&two, "two") } else { (&one, "one") };
        program.write(&objects("shop/payments", "10.96.0.1", &[next]));
        let start = Instant::now();
        eventually_answers(&envoy, "payments", name).await;
        println!("an endpoint changed after {:?}", start.elapsed());
    }
    program.write(
        &[objects("shop/payments", "10.96.0.1", &[&one]), objects("shop/orders", "10.96.0.2", &[&two])].concat(),
    );
    eventually_answers(&envoy, "orders", "two").await;
    // It becomes an alias, and goes.
    program.write(
        &[
            objects("shop/payments", "10.96.0.1", &[&one]),
            vec![alias("shop/orders", "payments.shop.svc.cluster.local")],
        ]
        .concat(),
    );
    eventually_answers(&envoy, "orders", "one").await;
    program.write(&objects("shop/payments", "10.96.0.1", &[&one]));
    eventually_answers(&envoy, "orders", "passthrough").await;
    assert_eq!(envoy.stat("wasmcustom.byname.stream.rejections").await.unwrap(), 0, "{}", envoy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn known_names_outlive_the_server_and_new_ones_do_not_wait_for_it() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let both = [objects("shop/payments", "10.96.0.1", &[&one]), objects("shop/orders", "10.96.0.2", &[&two])].concat();
    let mut program = ServeProcess::start(&both).await;
    let envoy = envoy(&program, &passthrough, "refuse").await;
    settle().await;
    for _ in 0..8 {
        eventually_answers(&envoy, "payments", "one").await;
    }
    let load = Load::start(&envoy, &["payments"], &["one", "two"]);
    program.kill();
    eventually("both workers see it", async || envoy.stat("wasmcustom.byname.stream.failures").await.unwrap() >= 2)
        .await;
    let start = Instant::now();
    let reply = ask(&envoy, "orders").await;
    assert!(start.elapsed() < Duration::from_millis(250), "it is known that no server answers: {:?}", start.elapsed());
    assert_eq!((reply.status, reply.header("x-byname-reason")), (503, "unanswered"), "{}", reply.body);
    println!("{}", reply.body);
    program.restart().await;
    eventually_answers(&envoy, "orders", "two").await;
    program.write(
        &[objects("shop/payments", "10.96.0.1", &[&two]), objects("shop/orders", "10.96.0.2", &[&two])].concat(),
    );
    eventually_answers(&envoy, "payments", "two").await;
    let requests = load.stop().await;
    println!("{requests} requests, none failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_waits_no_longer_than_the_bound_for_a_server_that_is_silent() {
    const WAITING: u64 = 20;
    let passthrough = upstream("passthrough").await;
    let program = ServeProcess::start(&[service("shop/payments")]).await;
    let envoy = envoy(&program, &passthrough, "pass").await;
    settle().await;
    assert!(answers(&envoy, "payments").await.starts_with("503"), "no endpoint");
    program.signal("STOP");
    for name in ["a", "b", "c"] {
        let start = Instant::now();
        let reply = ask(&envoy, name).await;
        println!("{name}: {} after {:?}", reply.status, start.elapsed());
        assert_eq!(reply.said("upstream"), "passthrough", "{}", reply.body);
    }
    // At once, so that no one waits for the wait of another.
    let (port, before) = (envoy.port(15001), envoy.stat("wasmcustom.byname.stream.waits").await.unwrap());
    let mut waiting = JoinSet::new();
    for number in 0..WAITING {
        waiting.spawn(async move {
            let mut connection = Connection::open(port, RequestForm::Host).await.unwrap();
            let start = Instant::now();
            let reply = connection.get(&format!("silent-{number}"), &[]).await.unwrap();
            assert_eq!(reply.said("upstream"), "passthrough", "{}", reply.body);
            start.elapsed()
        });
    }
    let mut times = waiting.join_all().await;
    times.sort_unstable();
    let (shortest, middle, longest) = (times[0], times[times.len() / 2], times[times.len() - 1]);
    println!("{WAITING} names: {shortest:.0?} (shortest), {middle:.0?} (p50), {longest:.0?} (longest)");
    assert_eq!(envoy.stat("wasmcustom.byname.stream.waits").await.unwrap(), before + WAITING);
    // The wait is 300 ms. The tick that ends it comes within 10 ms, and the rest is for a busy machine.
    assert!(shortest >= Duration::from_millis(290) && middle <= Duration::from_millis(400), "{times:?}");
    assert!(longest < BOUND, "{times:?}");
    program.signal("CONT");
    eventually_answers(&envoy, "d", "passthrough").await;
}

/// Only the VM that paused a request can resume it: a crash strands those that wait in it until their clients leave. All others go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_strands_requests_that_wait_and_no_others() {
    const MANY: i32 = 40;
    const WAITING: u64 = 4;
    let (_directory, module) = write_crashing_module(MANY).unwrap();
    let (one, passthrough) = (upstream("one").await, upstream("passthrough").await);
    let program = ServeProcess::start(&objects("shop/payments", "10.96.0.1", &[&one])).await;
    let builder = builder(program.port, &passthrough, "pass").edit("target/byname.wasm", &module);
    let envoy = builder.concurrency(1).start().await.unwrap();
    settle().await;
    eventually_answers(&envoy, "payments", "one").await;
    let waits = async || envoy.stat("wasmcustom.byname.stream.waits").await.unwrap();
    let before = waits().await;
    program.signal("STOP");
    let port = envoy.port(15001);
    let mut waiting = JoinSet::new();
    for number in 0..WAITING {
        waiting.spawn(async move {
            let mut connection = Connection::open(port, RequestForm::Host).await.unwrap();
            timeout(Duration::from_secs(5), connection.get(&format!("cold-{number}"), &[])).await.is_err()
        });
    }
    eventually("they wait", async || waits().await == before + WAITING).await;
    let mut connection = Connection::open(port, RequestForm::Host).await.unwrap();
    let crash = connection.get("nope", &[("x", "y")].repeat(MANY as usize)).await.unwrap();
    assert_eq!(crash.status, 503, "{}", envoy.log());
    // The next VM knows nothing yet, and does not wait for a server that is silent.
    eventually_answers(&envoy, "payments", "passthrough").await;
    program.signal("CONT");
    eventually_answers(&envoy, "payments", "one").await;
    assert_eq!(waiting.join_all().await, [true; WAITING as usize], "Envoy answers what waited when the VM crashed");
    let active = "http.outbound.downstream_rq_active";
    eventually("nothing is left of them", async || envoy.stat(active).await.unwrap() == 0).await;
    assert_eq!(envoy.stat("wasm.byname.vm_reload_success").await.unwrap(), 1);
    assert_eq!(answers(&envoy, "payments").await, "one");
}
