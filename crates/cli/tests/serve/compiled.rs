//! `byname serve` with the bootstraps of `byname compile --server`. `tests/sidecar/server.rs` has them without a server.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use byname_test_support::{Connection, Envoy, EnvoyBuilder, RequestForm, TestUpstream, free_port, repository};
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::program::{ServeProcess, ask, eventually, service, slices};

/// An Envoy of `program` for a client in `shop`, with a bootstrap that is compiled into `directory`.
fn sidecar(directory: &TempDir, program: &ServeProcess, args: &[&str]) -> EnvoyBuilder {
    let bootstrap = directory.path().join("sidecar.yaml").display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_byname"))
        .args(["compile", "-n", "shop", "--format", "envoy-bootstrap", "--server", "127.0.0.1:18000"])
        .args(["--module", "target/byname.wasm", "--output-file", &bootstrap])
        .args(args)
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Envoy::builder(&bootstrap).port(18000, program.port)
}

async fn shop() -> (TestUpstream, Vec<Value>) {
    let upstream = TestUpstream::start("one").await.unwrap();
    let of = |name: &str| [vec![service(name)], slices(name, &[&upstream])].concat();
    let objects = [of("shop/payments"), of("shop/orders"), vec![service("shop/empty")]].concat();
    (upstream, objects)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stream_brings_names_clusters_and_endpoints() {
    let (_upstream, objects) = shop().await;
    let program = ServeProcess::start(&objects).await;
    let directory = tempdir().unwrap();
    let envoy = sidecar(&directory, &program, &["--prefetch", "payments"]).start().await.unwrap();
    let members = async |name: &str| {
        let name = format!("cluster.outbound|80||{name}.shop.svc.cluster.local.membership_total");
        envoy.stats(&name).await.unwrap().get(&name).copied()
    };
    assert_eq!((members("payments").await, members("orders").await), (Some(1), None), "payments is prefetched");
    for name in ["payments", "orders", "orders.shop:80"] {
        let reply = ask(&envoy, name).await;
        assert_eq!((reply.status, reply.said("upstream")), (200, "one".to_owned()), "{name}: {}", program.log());
    }
    assert_eq!(members("orders").await, Some(1));
    let reply = ask(&envoy, "empty").await;
    assert_eq!((reply.status, reply.header("x-byname-reason")), (503, "no_endpoints"), "{}", reply.body);
    assert!(reply.body.contains("the cluster outbound|80||empty.shop.svc.cluster.local can serve"), "{}", reply.body);
    for count in ["upstream_cx_total", "upstream_rq_total"] {
        assert_eq!(envoy.stat(&format!("cluster.byname-server.{count}")).await.unwrap(), 1, "{count}");
    }
    assert_eq!(
        envoy.reasons().await.unwrap()["service"],
        4,
        "the filter runs once for a request that waits for its cluster"
    );
}

/// The server's table is the same for all, and the bootstrap says how its listener uses it.
#[tokio::test(flavor = "multi_thread")]
async fn the_filter_knows_what_its_listener_does() {
    let (_upstream, objects) = shop().await;
    let program = ServeProcess::start(&objects).await;
    let directory = tempdir().unwrap();
    let envoy = sidecar(&directory, &program, &[]).start().await.unwrap();
    let unknown = ask(&envoy, "payment").await;
    assert_eq!((unknown.status, unknown.header("x-byname-reason")), (404, "name_not_found"), "{}", unknown.body);
    assert!(unknown.body.contains("payment.shop.svc.cluster.local"), "{}", unknown.body);
    let port = ask(&envoy, "payments:81").await;
    assert_eq!((port.status, port.header("x-byname-reason")), (404, "port_not_found"), "{}", port.body);
    let filter = async |envoy: &Envoy| envoy.admin("/config_dump?resource=ecds_filters").await.unwrap().body;
    assert!(!filter(&envoy).await.contains("destinationPort"), "nothing is redirected to this listener");

    // An Envoy of the same server that traffic is redirected to.
    let directory = tempdir().unwrap();
    let port = free_port().unwrap();
    let listen = format!("127.0.0.1:{port}");
    let more = ["--pass", "original-dst", "--listen", &listen];
    let redirected = sidecar(&directory, &program, &more).port(port, port).start().await.unwrap();
    let mut connection = Connection::open(port, RequestForm::Host).await.unwrap();
    let reply = connection.get("payments", &[]).await.unwrap();
    assert_eq!((reply.status, reply.said("upstream")), (200, "one".to_owned()), "{}", reply.body);
    let filter = filter(&redirected).await;
    assert!(filter.contains(&format!(r#"\"destinationPort\": {{\"listenerPort\":{port}}}"#)), "{filter}");
    assert!(!filter.contains("unknownNames"), "{filter}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_cluster_costs_three_tenths_of_a_second() {
    let (_upstream, objects) = shop().await;
    let config = json!({"version": 1, "unknownNames": "pass", "steering": {"passCluster": "nowhere"}, "table": {"singleMachine": true}});
    let program = ServeProcess::start_with(&objects, &config).await;
    let directory = tempdir().unwrap();
    let envoy = sidecar(&directory, &program, &[]).start().await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let reply = ask(&envoy, "unknown").await;
        waits.push(start.elapsed());
        assert_eq!((reply.status, reply.header("x-byname-reason")), (503, "cluster_not_found"), "{}", reply.body);
        assert!(reply.body.contains("no server sent the cluster nowhere in time"), "{}", reply.body);
    }
    // The server answers at once, but Envoy remembers no answer: every later request waits for the timeout. Its default is 5 s.
    waits.sort();
    assert!((Duration::from_millis(290)..Duration::from_millis(600)).contains(&waits[2]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait < Duration::from_secs(2)), "{waits:?}");
    assert_eq!(ask(&envoy, "payments").await.status, 200, "other names are served");
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_requests_until_the_server_starts() {
    let (_upstream, objects) = shop().await;
    let mut program = ServeProcess::start(&objects).await;
    program.kill();
    let directory = tempdir().unwrap();
    let envoy = sidecar(&directory, &program, &["--when-no-server", "refuse"]).start().await.unwrap();
    let reply = ask(&envoy, "payments").await;
    assert_eq!((reply.status, reply.header("x-byname-reason")), (503, "no_table"), "{}", reply.body);
    program.restart().await;
    eventually("the name is reached", async || ask(&envoy, "payments").await.said("upstream") == "one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn becomes_ready_when_the_server_starts() {
    let (_upstream, objects) = shop().await;
    let mut program = ServeProcess::start(&objects).await;
    program.kill();
    let directory = tempdir().unwrap();
    let envoy = sidecar(&directory, &program, &["--when-no-server", "not-ready"]).spawn().unwrap();
    envoy.wait_for_log("all clusters initialized").await.unwrap();
    let status = async || envoy.admin("/ready").await.unwrap().status;
    assert_eq!(status().await, 503);
    assert!(Connection::open(envoy.port(15001), RequestForm::Host).await.is_err(), "Envoy does not listen");
    program.restart().await;
    eventually("Envoy is ready", async || status().await == 200).await;
    assert_eq!(ask(&envoy, "payments").await.said("upstream"), "one");
}
