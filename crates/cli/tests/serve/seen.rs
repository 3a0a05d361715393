//! What the metrics show.

use std::{iter::zip, time::Duration};

use byname_core::wire;
use byname_test_support::TestUpstream;
use serde_json::json;
use tokio::time::sleep;

use crate::{
    client::{CLUSTER, DeltaResponse, ENDPOINTS, XdsClient, node},
    program::{ServeProcess, ask, eventually, service, service_with, slices, upstream},
    queries::{asked, missing, scraped},
    stream::envoy_of,
};

const WEB: &str = "outbound|80||web.shop.svc.cluster.local";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_timed_from_its_arrival_to_its_ack() {
    let (one, two) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("two").await.unwrap());
    let web = |upstream| [vec![service("shop/web")], slices("shop/web", &[upstream])].concat();
    let program = ServeProcess::start(&web(&one)).await;
    let mut client = XdsClient::open(program.port, node("shop-0", &[("NAMESPACE", "shop")])).await;
    client.take().await.unwrap();
    client.subscribe(CLUSTER, &[WEB]);
    client.take().await.unwrap();
    client.subscribe(ENDPOINTS, &[WEB, "another"]);
    client.take().await.unwrap();
    for (name, wanted) in [("filter", 1.0), ("cluster", 1.0), ("endpoints", 2.0)] {
        let subscriptions = format!("subscriptions{{type=\"{name}\"}}");
        eventually(&subscriptions, async || program.metric(&subscriptions).await == wanted).await;
    }
    let count = "change_ack_seconds_count{type=\"endpoints\"}";
    assert_eq!(program.metric(count).await, 0.0, "an answer passes no change on");
    program.write(&web(&two));
    let change = client.next().await.unwrap();
    assert_eq!(&*change.type_url, ENDPOINTS);
    // A client that takes its time.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(program.metric(count).await, 0.0, "a message that is not acknowledged does not count");
    client.ack(&change);
    eventually("the ACK counts", async || program.metric(count).await == 1.0).await;
    let seconds = program.metric("change_ack_seconds_sum{type=\"endpoints\"}").await;
    assert!((0.31..20.0).contains(&seconds), "10 ms until it is sent, 300 ms until its ACK: {seconds}");
    assert_eq!(program.metric("change_ack_seconds_count{type=\"filter\"}").await, 0.0);
    drop(client);
    eventually("nobody subscribes", async || program.metric("subscriptions{type=\"endpoints\"}").await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_ages_while_files_cannot_be_read() {
    let program = ServeProcess::start(&[service("shop/web")]).await;
    let current = async || program.metric("current_timestamp_seconds").await;
    let first = current().await;
    assert!(first > 0.0);
    eventually("it goes on while all is well", async || current().await > first).await;
    program.write_text("{");
    eventually("it is told", async || program.metric("read_failures_total").await > 0.0).await;
    program.wait_for_log("not up to date").await;
    let stopped = current().await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(current().await, stopped);
    program.write(&[service("shop/web"), service("shop/other")]);
    eventually("it goes on", async || current().await > stopped).await;
}

/// The gauge is set while the state is current, and not only when somebody looks.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_current_before_anybody_looked_has_an_age() {
    let program = ServeProcess::start(&[service("shop/web")]).await;
    program.write_text("{");
    program.wait_for_log("not up to date").await;
    let (current, updated) =
        (program.metric("current_timestamp_seconds").await, program.metric("last_update_timestamp_seconds").await);
    assert!(current >= updated && updated > 0.0, "{current} {updated}");
}

/// The alerts of sidecars that lost their server read these: bytes, because an attempt to connect counts as a connection; and failures.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_shows_that_its_server_is_silent_and_that_it_is_gone() {
    /// Longer than the time between two pings and the time for their answers.
    const WHILE: Duration = Duration::from_secs(17);
    let (upstream, passthrough) = (upstream("one").await, upstream("passthrough").await);
    let mut program =
        ServeProcess::start(&[vec![service("shop/web")], slices("shop/web", &[&upstream])].concat()).await;
    let envoys = [program.envoy(&passthrough).await, envoy_of(program.port, &passthrough, "pass").await];
    for envoy in &envoys {
        eventually("a name is reached", async || ask(envoy, "web").await.said("upstream") == "one").await;
    }
    let received = async || {
        let mut bytes = Vec::new();
        for envoy in &envoys {
            bytes.push(envoy.stat("cluster.byname-server.upstream_cx_rx_bytes_total").await.unwrap());
        }
        bytes
    };
    let failures = async || envoys[1].stat("wasmcustom.byname.stream.failures").await.unwrap();
    let before = (received().await, failures().await);
    sleep(WHILE).await;
    let idle = (received().await, failures().await);
    assert!(zip(&before.0, &idle.0).all(|(before, idle)| before < idle), "pings bring bytes: {before:?} {idle:?}");
    assert_eq!(idle.1, before.1);
    program.signal("STOP");
    sleep(Duration::from_millis(500)).await;
    let silent = received().await;
    sleep(WHILE).await;
    assert_eq!(received().await, silent, "nothing comes from a server that is silent");
    eventually("the filter fails", async || failures().await > idle.1).await;
    program.kill();
    let killed = failures().await;
    eventually("the filter fails again", async || failures().await > killed + 2).await;
    let connected = "control_plane.connected_state";
    eventually("Envoy says so", async || envoys[0].stat(connected).await.unwrap() == 0).await;
    assert_eq!(received().await, silent);
}

/// `tests/watch/monitoring.rs` checks the queries about Envoy and `byname watch`.
#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_use_existing_metrics() {
    let (one, two) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("two").await.unwrap());
    let web = |upstream| [vec![service("shop/web")], slices("shop/web", &[upstream])].concat();
    let many = (0..60).map(|number| {
        let address = format!("10.96.1.{number}");
        service_with(&format!("shop/other-{number}"), &json!({"clusterIP": address, "clusterIPs": [address]}))
    });
    let program = ServeProcess::start(&[web(&one), many.clone().collect()].concat()).await;
    let mut client = XdsClient::open(program.port, node("shop-0", &[("NAMESPACE", "shop")])).await;
    let refused = client.next().await.unwrap();
    client.nack(&refused, "Unable to create Wasm plugin byname");
    client.subscribe(ENDPOINTS, &[WEB]);
    let is_of_endpoints = |message: &DeltaResponse| message.type_url == ENDPOINTS;
    while !is_of_endpoints(&client.take().await.unwrap()) {}
    program.write(&[web(&two), many.collect()].concat());
    while !is_of_endpoints(&client.take().await.unwrap()) {}
    program.write(&web(&two));
    eventually("the brake holds", async || program.metric("brake_held{kind=\"Service\"}").await > 0.0).await;
    // What closes streams, one reason after the other. A client that does not answer for 60 s takes too long for a test.
    client.subscribe("type.googleapis.com/nobody.Knows", &["a"]);
    while client.next().await.is_ok() {}
    let mut client = XdsClient::open(program.port, node("shop-0", &[("NAMESPACE", "shop")])).await;
    let names: Vec<String> = (0..25_001).map(|number| number.to_string()).collect();
    client.subscribe(CLUSTER, &names.iter().map(String::as_str).collect::<Vec<_>>());
    while client.take().await.is_ok() {}
    let mut ports = Vec::new();
    for port in 1..=17 {
        let schema = format!("{}.{}", wire::VERSION, wire::MINOR);
        let metadata = [("BYNAME_SCHEMA", &*schema), ("BYNAME_LISTENER_PORT", &port.to_string())];
        ports.push(XdsClient::open(program.port, node("shop-0", &metadata)).await);
    }
    while ports[16].take().await.is_ok() {}
    let envoy = program.envoy(&one).await;
    let mut there = scraped(&program.get("/metrics").await.body);
    there.extend(scraped(&envoy.admin("/stats/prometheus").await.unwrap().body));
    let counted = there.iter().any(|one| one.name() == "byname_serve_rejections_total" && one.value > 0.0);
    assert!(counted, "{there:#?}");
    let asked = asked(true);
    assert!(asked.len() > 10, "{} queries", asked.len());
    for (expression, shown) in &asked {
        // Streams that servers close at their bounds for all clients, and after a minute.
        let expression = expression.replace("too_many_streams|", "").replace("|not_acknowledged", "");
        assert_eq!(missing(&expression, shown, &there), [""; 0], "in {expression}");
    }
    let wrong = "byname_serve_rejections_total{reason=\"modul\"}";
    assert_eq!(
        missing(wrong, &["pod".to_owned()].into(), &there),
        ["byname_serve_rejections_total{reason=~\"modul\"}"]
    );
}
