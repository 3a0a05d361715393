//! When `byname serve` serves, and what it says of itself.

use std::process::Command;

use byname_test_support::{TestUpstream, kubernetes::KubernetesApi};
use serde_json::{Value, json};

use crate::{
    program::{ServeProcess, ask, eventually, service, slices},
    stream,
};

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_byname")).arg("serve").args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn refuses_to_serve_other_machines_without_identities() {
    let (status, error) = run(&["--from-dir", "."]);
    assert_eq!(status, Some(2), "{error}");
    assert!(error.contains("pass --identity certificate, token or xfcc (docs/serve.md), or --insecure"), "{error}");
    for address in [":18000", "10.0.0.1:18000", "0.0.0.0:18000"] {
        let (status, error) = run(&["--insecure", "--from-dir", ".", "--listen", address]);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains("is reachable from other machines"), "{error}");
        assert!(error.contains("listen on 127.0.0.1 or [::1], or pass --identity"), "{error}");
    }
}

#[test]
fn refuses_steering_that_needs_more_than_it_pushes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("base.json");
    for (config, field) in [
        (json!({"steering": {"by": "endpoint"}}), "steering.by"),
        (json!({"table": {"services": {"shop/web": {"steering": {"by": "authority"}}}}}), "table.services"),
    ] {
        let mut config: Value = config;
        config["version"] = 1.into();
        std::fs::write(&file, config.to_string()).unwrap();
        let (status, error) = run(&["--insecure", "--from-dir", ".", "--config", file.to_str().unwrap()]);
        assert_eq!(status, Some(2), "{error}");
        assert!(error.contains(field) && error.contains("steer by cluster, or use byname watch"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_streams_until_the_cluster_is_read() {
    let (one, passthrough) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("pass").await.unwrap());
    let mut api = KubernetesApi::start().await.unwrap();
    api.put(service("shop/payments"));
    slices("shop/payments", &[&one]).into_iter().for_each(|slice| api.put(slice));
    api.stop();
    let mut program = ServeProcess::of_api(&api, "");
    program.spawn();
    program.wait_for_log("byname retries, and makes nothing of them before it succeeds").await;
    assert_eq!(program.get("/readyz").await.status, 503);
    let envoy = program.envoy(&passthrough).await;
    assert_eq!(ask(&envoy, "payments").await.said("upstream"), "pass", "the default configuration passes everything");
    assert!(program.metric("streams_closed_total{reason=\"not_synced\"}").await > 0.0);
    api.listen().await.unwrap();
    eventually("the name is reached", async || ask(&envoy, "payments").await.said("upstream") == "one").await;
    assert_eq!(program.get("/readyz").await.status, 200);
    // Endpoints follow the API too.
    let two = TestUpstream::start("two").await.unwrap();
    slices("shop/payments", &[&two]).into_iter().for_each(|slice| api.put(slice));
    slices("shop/payments", &[&one]).iter().for_each(|slice| api.delete(slice));
    eventually("the new endpoint answers", async || ask(&envoy, "payments").await.said("upstream") == "two").await;
    // What is known is served while the API is away.
    api.stop();
    eventually("it is stale", async || program.metric("stale").await == 1.0).await;
    assert_eq!(ask(&envoy, "payments").await.said("upstream"), "two");
    assert_eq!(program.get("/readyz").await.status, 200, "it fails only before the first sync");
    api.listen().await.unwrap();
    eventually("it is not stale", async || program.metric("stale").await == 0.0).await;
    assert_eq!(envoy.stat("control_plane.connected_state").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brake_holds_what_is_served() {
    let (one, passthrough) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("pass").await.unwrap());
    let many: Vec<Value> = (0..60)
        .map(|number| {
            let address = format!("10.96.1.{number}");
            crate::program::service_with(
                &format!("shop/other-{number}"),
                &json!({"clusterIP": address, "clusterIPs": [address]}),
            )
        })
        .collect();
    let web = [vec![service("shop/web")], slices("shop/web", &[&one])].concat();
    let few = [vec![service("shop/kept")], slices("shop/kept", &[&one])].concat();
    let program = ServeProcess::start(&[many, web].concat()).await;
    // One that asks by itself, and one whose filter asks.
    let envoys = [program.envoy(&passthrough).await, stream::envoy_of(program.port, &passthrough, "pass").await];
    let reached =
        async |name: &str| [ask(&envoys[0], name).await.said("upstream"), ask(&envoys[1], name).await.said("upstream")];
    assert_eq!(ask(&envoys[0], "web").await.said("upstream"), "one");
    // The filter's first requests pass unchanged: nothing would end their wait before a tick.
    eventually("both reach it", async || reached("web").await == ["one", "one"]).await;
    program.write(&few);
    eventually("the brake holds", async || program.metric("brake_held{kind=\"Service\"}").await > 0.0).await;
    assert_eq!(reached("web").await, ["one", "one"]);
    // Not even a filter that asks for the first time is told.
    let new = stream::envoy_of(program.port, &passthrough, "pass").await;
    eventually("a new filter reaches it", async || ask(&new, "web").await.said("upstream") == "one").await;
    assert!(program.post("/debug/brake/release").await.contains("released"));
    eventually("it is gone", async || reached("web").await == ["pass", "pass"]).await;
    eventually("the new one is there", async || reached("kept").await == ["one", "one"]).await;
    // Nothing at all is a mistake at any size.
    program.write(&[service("shop/kept")]);
    program.wait_for_log("the cluster has no EndpointSlice any more").await;
    assert_eq!(reached("kept").await, ["one", "one"]);
    program.write(&few);
    program.wait_for_log("up to date again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn says_who_is_connected_and_what_they_have() {
    let (one, passthrough) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("pass").await.unwrap());
    let mut refused = service("shop/refused");
    refused["spec"]["ports"][0]["protocol"] = "QUIC".into();
    let web = [vec![refused, service("shop/web")], slices("shop/web", &[&one])].concat();
    let mut program = ServeProcess::start(&web).await;
    program.wait_for_log("left out: ").await;
    let counts = async || (program.metric("left_out").await, program.metric("services").await);
    eventually("one is left out", async || counts().await == (1.0, 1.0)).await;
    let envoy = program.envoy(&passthrough).await;
    assert_eq!(ask(&envoy, "web").await.said("upstream"), "one");
    let streams = program.get("/debug/streams").await.body;
    assert!(
        streams.contains("node=shop-0\tnamespace=shop\tservice_account=-\tzone=eu-a\tkubernetes_node=node-1"),
        "{streams}"
    );
    let resources = program.get("/debug/resources?node=shop-0").await.body;
    let wanted =
        ["filter\tbyname\t", "cluster\toutbound|80||web.shop.svc.cluster.local\t", "endpoints\toutbound|80||web.shop"];
    assert!(wanted.iter().all(|part| resources.contains(part)), "{resources}");
    assert_eq!(program.get("/debug/resources?node=nobody").await.body, "");
    assert_eq!(program.get("/debug/else").await.status, 404);
    assert_eq!(program.get("/healthz").await.status, 200);
    assert_eq!((program.metric("streams").await, program.metric("names").await), (1.0, 3.0));
    assert!(program.metric("ack_seconds_count{type=\"filter\"}").await >= 1.0);
    assert_eq!(program.end().await, Some(0), "{}", program.log());
    assert!(program.log().ends_with("stopped by a signal\n"), "{}", program.log());
    // The shape of `byname watch`'s lines: the time, the level and the text.
    let shape = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (note|warning): \S").unwrap();
    for line in program.log().lines() {
        assert!(shape.is_match(line), "{line}");
    }
}
