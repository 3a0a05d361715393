//! Sidecars whose control plane does not answer: what `--when-no-server` promises.

use std::time::{Duration, Instant};

use anyhow::Result;
use byname_test_support::{Connection, Envoy, RequestForm, TestResult, TestUpstream};
use serde_json::json;

use super::loopback::{LISTENER, get};
use crate::workdir::Workdir;

/// Long enough for an Envoy that waits 1 s for endpoints and 2 s for the filter.
const LONGER_THAN_ANY_TIMEOUT: Duration = Duration::from_secs(6);

/// A sidecar of a server that nothing listens for.
fn alone(workdir: &Workdir, args: &[&str]) -> Result<byname_test_support::EnvoyBuilder> {
    let bootstrap = workdir.path("sidecar.yaml").display().to_string();
    let paths = ["--module", "target/byname.wasm", "--output-file", &bootstrap];
    let format = ["--format", "envoy-bootstrap", "--server", "127.0.0.1:18000"];
    workdir.compile_without_objects(&json!({"version": 1}), &[&format, &paths, args].concat())?;
    Ok(Envoy::builder(&bootstrap).concurrency(1))
}

#[tokio::test]
async fn refuses_every_request_until_a_server_answers() -> TestResult {
    let workdir = Workdir::new()?;
    let start = Instant::now();
    let envoy = alone(&workdir, &["--prefetch", "payments"])?.start().await?;
    assert!(start.elapsed() > Duration::from_secs(3), "Envoy waits for endpoints, then for the filter");
    for authority in ["payments", "www.example.org", "10.96.0.10:8080"] {
        let reply = get(&envoy, authority, &[]).await?;
        assert_eq!((reply.status, &reply.headers["x-byname-reason"]), (503, &"no_table".parse()?), "{authority}");
        assert!(reply.body.starts_with("byname: no_table: this Envoy has no table;"), "{}", reply.body);
    }
    // gRPC clients read the status from a header.
    let grpc = get(&envoy, "payments", &[("content-type", "application/grpc")]).await?;
    assert_eq!((grpc.status, &grpc.headers["grpc-status"]), (200, &"14".parse()?));
    Ok(())
}

#[tokio::test]
async fn is_not_ready_until_a_server_answers() -> TestResult {
    let workdir = Workdir::new()?;
    let envoy = alone(&workdir, &["--when-no-server", "not-ready", "--prefetch", "payments"])?.spawn()?;
    envoy.wait_for_log("all clusters initialized").await?;
    tokio::time::sleep(LONGER_THAN_ANY_TIMEOUT).await;
    let ready = envoy.admin("/ready").await?;
    assert_eq!((ready.status, ready.body.trim()), (503, "INITIALIZING"));
    assert!(Connection::open(envoy.port(LISTENER), RequestForm::Host).await.is_err(), "Envoy does not listen");
    Ok(())
}

/// `envoy/serve.yaml` has the filter of `--when-no-server pass`, and an upstream for what passes that is not the client's.
#[tokio::test]
async fn passes_every_request_until_a_server_answers() -> TestResult {
    let upstream = TestUpstream::start("passthrough").await?;
    let start = Instant::now();
    let envoy = Envoy::builder("serve.yaml").upstream(18080, &upstream).concurrency(1).start().await?;
    assert!(start.elapsed() > Duration::from_secs(2), "Envoy waits for the filter");
    for authority in ["payments", "www.example.org"] {
        let reply = get(&envoy, authority, &[("x-byname-cluster", "byname-server")]).await?;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert!(reply.body.contains("\"passthrough\"") && !reply.body.contains("x-byname-cluster"), "{}", reply.body);
    }
    Ok(())
}
