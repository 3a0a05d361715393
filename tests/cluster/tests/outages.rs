//! What `byname watch` does while the API server is in trouble, and how soon its table is right again.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    net::TcpListener,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use byname_cluster::{API_ADDRESS, Cluster, ClusterOptions, Watch, WatchedEnvoy, eventually};
use serde_json::{Value, json};

/// Longest time from the API server's first answer to a current table.
const CURRENT_AFTER: Duration = Duration::from_secs(5);

/// Services of the cluster, each with two endpoints made by hand.
const SERVICES: usize = 120;

fn service(name: &str, port: u16) -> [Value; 2] {
    let metadata = json!({"namespace": "shop", "name": name});
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"name": format!("p{port}"), "port": port}]}}),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": ["10.244.8.1"]}, {"addresses": ["10.244.8.2"]}],
            "ports": [{"name": format!("p{port}"), "port": port, "protocol": "TCP"}],
        }),
    ]
}

fn fill(cluster: &Cluster) -> Result<()> {
    cluster.kubectl(&["create", "namespace", "shop"])?;
    let objects: Vec<Value> = (0..SERVICES).flat_map(|index| service(&format!("web-{index}"), 80)).collect();
    cluster.apply(&objects)?;
    Ok(())
}

/// Two pods that answer, and their Service.
fn serve(cluster: &Cluster) -> Result<()> {
    let metadata = json!({"namespace": "shop", "name": "served"});
    let container = json!({"name": "main", "image": "example.com/served", "ports": [{"containerPort": 8080}]});
    cluster.apply(&[
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
            "selector": {"app": "served"}, "ports": [{"port": 80, "targetPort": 8080}],
        }}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "served"}},
            "template": {"metadata": {"labels": {"app": "served"}}, "spec": {"containers": [container]}},
        }}),
    ])?;
    cluster.kubectl(&["rollout", "status", "deployment/served", "-n", "shop", "--timeout=60s"])?;
    Ok(())
}

fn wait_until_current(cluster: &Cluster, watch: &Watch) -> Result<Duration> {
    eventually("the table is that of the cluster", || watch.agrees_with(cluster))
        .with_context(|| format!("{}\n{}", watch.part.tail(), cluster.tails()))
}

/// The number of endpoints of a Service in the table, if the port is one of the Service's and of its endpoints.
fn endpoints_at(watch: &Watch, name: &str) -> usize {
    let Some(service) = watch.service(name) else { return 0 };
    let groups = service["endpoints"].as_array().into_iter().flatten();
    groups.map(|group| group["addresses"].as_str().unwrap_or_default().split_whitespace().count()).sum()
}

/// A cluster with Services, and a `watch` whose table is current.
fn start(options: ClusterOptions) -> Result<(Cluster, Watch)> {
    let cluster = Cluster::start(options)?;
    fill(&cluster)?;
    let watch = Watch::start(&cluster.admin(), &["--namespace", "shop"])?;
    wait_until_current(&cluster, &watch)?;
    Ok((cluster, watch))
}

#[test]
fn is_current_soon_after_an_outage_during_which_no_request_fails() -> Result<()> {
    let (mut cluster, watch) = start(ClusterOptions { serves: true })?;
    serve(&cluster)?;
    let envoy = WatchedEnvoy::start(&cluster.admin(), "served")?;
    killed(&mut cluster, &watch)?;
    paused(&cluster, &watch)?;
    compacted(&cluster, &watch)?;
    let answers = envoy.loaded.stop()?;
    println!("requests through Envoy meanwhile: {:?}", answers.by_answer);
    ensure!(answers.requests > 1_000 && answers.failed == 0, "{} requests failed: {answers:?}", answers.failed);
    Ok(())
}

/// The API server is killed, and a Service changes its port and its endpoints while `watch` cannot see it.
fn killed(cluster: &mut Cluster, watch: &Watch) -> Result<()> {
    let before = watch.table();
    cluster.kill_api();
    sleep(Duration::from_secs(5));
    // For the rest of the time something accepts connections there and answers nothing: that is no API that is followed.
    let silent = TcpListener::bind(API_ADDRESS)?;
    sleep(Duration::from_secs(20));
    ensure!(watch.metric("failing")? == 2.0, "the alert cannot fire:\n{}", watch.part.tail());
    drop(silent);
    ensure!(watch.table() == before, "the table changed while the API was away");
    // It comes back with another certificate, which the kubeconfig's authority file then has.
    cluster.rotate_certificate()?;
    cluster.start_api()?;
    let ready = Instant::now();
    cluster.apply(&service("web-0", 8080))?;
    // A mix of the old port and the new slice would have no endpoint at any port.
    let mut fewest = usize::MAX;
    while !watch.agrees_with(cluster)? {
        fewest = fewest.min(endpoints_at(watch, "shop/web-0"));
        ensure!(ready.elapsed() < Duration::from_secs(60), "not current:\n{}\n{}", watch.part.tail(), cluster.tails());
        sleep(Duration::from_millis(20));
    }
    let after = ready.elapsed();
    println!("killed for 25 s: current {after:?} after the API was ready");
    ensure!(after < CURRENT_AFTER, "current after {after:?}:\n{}", watch.part.tail());
    ensure!(watch.metric("failing")? == 0.0, "still failing:\n{}", watch.part.tail());
    ensure!(fewest > 0, "shop/web-0 had no endpoints for a while:\n{}", watch.part.tail());
    Ok(())
}

/// The API server accepts connections and answers nothing.
fn paused(cluster: &Cluster, watch: &Watch) -> Result<()> {
    let before = watch.table();
    cluster.pause_api()?;
    sleep(Duration::from_secs(20));
    ensure!(watch.table() == before, "the table changed while the API was paused");
    cluster.resume_api()?;
    let ready = Instant::now();
    cluster.apply(&service("web-1", 8081))?;
    let after = wait_until_current(cluster, watch)?;
    println!("paused for 20 s: current {:?} after it went on, {after:?} of them after the change", ready.elapsed());
    Ok(())
}

/// etcd forgets its history while the API server is away, so that `watch` cannot resume where it was.
fn compacted(cluster: &Cluster, watch: &Watch) -> Result<()> {
    for port in 8000..8020 {
        cluster.apply(&service("web-2", port))?;
    }
    cluster.compact()?;
    cluster.apply(&service("web-3", 8083))?;
    let after = wait_until_current(cluster, watch)?;
    println!("compacted: current after {after:?}");
    Ok(())
}

/// As after a disaster. The API server's resourceVersions go back.
#[test]
fn lists_anew_when_etcd_was_restored_from_an_older_copy() -> Result<()> {
    let (mut cluster, watch) = start(ClusterOptions::default())?;
    cluster.stop_and_save("yesterday")?;
    cluster.start_etcd()?;
    cluster.start_api()?;
    let objects: Vec<Value> = (0..30).flat_map(|index| service(&format!("web-{index}"), 9000)).collect();
    for _ in 0..3 {
        cluster.apply(&objects)?;
    }
    cluster.kubectl(&["delete", "service", "web-119", "-n", "shop"])?;
    wait_until_current(&cluster, &watch)?;
    cluster.stop_and_restore("yesterday")?;
    cluster.start_etcd()?;
    cluster.start_api()?;
    let ready = Instant::now();
    wait_until_current(&cluster, &watch)?;
    println!("restored from an older copy: current {:?} after the API was ready", ready.elapsed());
    ensure!(ready.elapsed() < CURRENT_AFTER * 2, "{}", watch.part.tail());
    Ok(())
}

/// The API server comes back with nothing in it: a wrong etcd, or a new cluster under the same address.
#[test]
fn holds_the_table_when_the_cluster_comes_back_empty() -> Result<()> {
    let (mut cluster, watch) = start(ClusterOptions::default())?;
    let before = watch.table();
    cluster.stop_and_restore("nothing")?;
    cluster.start_etcd()?;
    cluster.start_api()?;
    eventually("watch says that it holds the table", || Ok(watch.part.log().contains("vanished")))
        .with_context(|| watch.part.tail())?;
    sleep(Duration::from_secs(10));
    ensure!(watch.table() == before, "an empty list emptied the table:\n{}", watch.part.tail());
    Ok(())
}

#[test]
fn keeps_the_table_when_its_token_is_revoked() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default())?;
    fill(&cluster)?;
    cluster.kubectl(&["create", "serviceaccount", "reader", "-n", "shop"])?;
    cluster.kubectl(&[
        "create",
        "clusterrolebinding",
        "reader",
        "--clusterrole=view",
        "--serviceaccount=shop:reader",
    ])?;
    let account = cluster.service_account("shop", "reader")?;
    let watch = Watch::start(&account, &["--namespace", "shop"])?;
    wait_until_current(&cluster, &watch)?;
    let before = watch.table();
    cluster.kubectl(&["delete", "serviceaccount", "reader", "-n", "shop"])?;
    // Watches that are open stay open until they end; a new API server ends them.
    cluster.kill_api();
    cluster.start_api()?;
    eventually("watch says that it is not let in", || Ok(watch.part.log().contains("401")))
        .with_context(|| watch.part.tail())?;
    ensure!(watch.table() == before, "the table changed");
    Ok(())
}
