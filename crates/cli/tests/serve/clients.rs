//! What happens to clients: they acknowledge nothing, read slowly, or are gone without a word. Their streams end and take no memory, and an
//! Envoy under load is told of changes all the same.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    client::{FILTER, XdsClient, node},
    failures::World,
    network::{Condition, Network},
    program::{eventually, service},
};

/// How much more memory a server may take for 20 clients that read slowly. What each has not read is some 70 kB.
const SLOW_READERS: u64 = 16 << 20;

/// A client that acknowledges nothing for a minute is closed, and may come back. Envoy, which does, keeps its stream.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_acknowledges_nothing_is_closed() {
    let (world, clocks) = World::start_with_clocks().await;
    let mut deaf = XdsClient::open(world.servers[0].port, node("deaf", &[])).await;
    assert_eq!(deaf.next().await.unwrap().type_url, FILTER);
    clocks.set(0, 50);
    world.change(1);
    world.eventually_answers(1).await;
    let closed = "streams_closed_total{reason=\"not_acknowledged\"}";
    assert_eq!(world.servers[0].metric(closed).await, 0.0);
    clocks.set(0, 70);
    // The question wakes the server, which sleeps by the clock of before.
    eventually("it is closed", async || world.servers[0].metric(closed).await == 1.0).await;
    let status = deaf.next().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status}");
    assert_eq!(world.servers[0].metric("streams").await, 1.0);
    XdsClient::open(world.servers[0].port, node("deaf", &[])).await.take().await.unwrap();
    world.change(0);
    world.eventually_answers(0).await;
    world.end().await;
}

/// A client that reads a hundred bytes a second gets its message, and no other while it has not acknowledged that one: what it has not
/// read takes no memory, and its stream ends after a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_is_closed() {
    let (world, clocks) = World::start_with_clocks().await;
    for number in 0..500 {
        world.api.put(service(&format!("shop/many-{number}")));
    }
    eventually("it knows all", async || world.servers[0].metric("services").await == 503.0).await;
    let before = world.servers[0].resident_bytes();
    let network = Network::to(&[world.servers[0].port]).await;
    network.set(Condition::Throttled(100));
    let slow: Vec<_> = (0..20)
        .map(|number| {
            let port = network.port;
            tokio::spawn(async move {
                let mut client = XdsClient::open(port, node(&format!("slow-{number}"), &[])).await;
                client.next().await
            })
        })
        .collect();
    eventually("they have streams", async || world.servers[0].metric("streams").await == 21.0).await;
    for number in 0..20 {
        world.api.put(service(&format!("shop/more-{number}")));
        world.change(number % 2);
        sleep(Duration::from_millis(20)).await;
    }
    world.eventually_answers(1).await;
    let more = world.servers[0].resident_bytes().saturating_sub(before);
    println!("20 slow readers: {more} bytes more");
    assert!(more < SLOW_READERS, "{more} bytes more");
    clocks.set(0, 70);
    let closed = "streams_closed_total{reason=\"not_acknowledged\"}";
    eventually("they are closed", async || world.servers[0].metric(closed).await == 20.0).await;
    assert_eq!(world.servers[0].metric("streams").await, 1.0);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    world.change(0);
    world.eventually_answers(0).await;
    world.end().await;
}

/// A client whose network drops everything looks alive. The server's own pings find that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_without_a_word_is_let_go() {
    let (world, clocks) = World::start_with_clocks().await;
    let network = Network::to(&[world.servers[0].port]).await;
    let acks = async || world.servers[0].metric("ack_seconds_count{type=\"filter\"}").await;
    let before = acks().await;
    let mut gone = XdsClient::open(network.port, node("gone", &[])).await;
    gone.take().await.unwrap();
    eventually("the ACK has come", async || acks().await > before).await;
    assert_eq!(world.servers[0].metric("streams").await, 2.0);
    network.set(Condition::Silent);
    let mut passed = 0;
    while world.servers[0].metric("streams").await == 2.0 {
        // Pings and their time-out go by this clock.
        passed += 1;
        assert!(passed < 80, "after {passed} s");
        clocks.set(0, passed);
        sleep(Duration::from_millis(20)).await;
    }
    assert!(passed >= 30, "after {passed} s");
    world.change(1);
    world.eventually_answers(1).await;
    world.end().await;
}
