//! `byname serve` with a real API: what it sends is what `compile` makes of a dump, and no request for a name in use fails.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use byname_cluster::{
    Answers, Cluster, ClusterOptions, Part, Peer, Serve, ServedEnvoy, compiled_clusters, compiled_table, eventually,
    wait_until_equal,
};
use byname_test_support::repository;
use serde_json::{Value, json};

/// Longest time from the API server's first answer until what is served is right.
const CURRENT_AFTER: Duration = Duration::from_secs(5);
const WEB: &str = "outbound|80||web.shop.svc.cluster.local";
const API: &str = "outbound|80||api.shop.svc.cluster.local";
/// A cluster whose endpoints are in a slice made by hand.
const FIXED: &str = "outbound|80||fixed.shop.svc.cluster.local";
/// Addresses on the loopback device that no pod gets.
const ENDPOINTS: [&str; 2] = ["10.244.200.1", "10.244.200.2"];
/// Services of the cluster, so that it has as many as the brake acts upon.
const SERVICES: usize = 60;

/// The only right to read the cluster that anything has: the ServiceAccount of the servers of examples/fleet.
fn account(cluster: &Cluster) -> Result<PathBuf> {
    cluster.kubectl(&["create", "namespace", "byname-system"])?;
    let rules = repository().join("examples/fleet/rbac.yaml").display().to_string();
    cluster.kubectl(&["apply", "--validate=strict", "-f", &rules])?;
    cluster.service_account("byname-system", "byname")
}

fn service(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

/// A Deployment whose pods serve on for two seconds when they end, as pods behind any proxy must, and its Service.
fn deployment(name: &str, replicas: usize, image: &str, service_fields: &Value) -> [Value; 2] {
    let metadata = json!({"namespace": "shop", "name": name});
    let container =
        json!({"name": "main", "image": format!("example.com/{image}"), "ports": [{"containerPort": 8080}]});
    let labels = json!({"app": name});
    let pod = json!({"labels": labels, "annotations": {"test.byname.dev/terminate": "2s"}});
    let mut spec = json!({"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]});
    spec.as_object_mut().unwrap().extend(service_fields.as_object().unwrap().clone());
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 2}},
            "template": {"metadata": pod, "spec": {"containers": [container]}},
        },
    });
    [service(name, &spec), deployment]
}

/// A pod that a sidecar serves.
fn caller(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": name},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "main", "image": "example.com/caller"}],
        },
    })
}

fn rolled_out(cluster: &Cluster, name: &str) -> Result<()> {
    let deployment = format!("deployment/{name}");
    cluster.kubectl(&["rollout", "status", &deployment, "-n", "shop", "--timeout=60s"]).map(drop)
}

/// A Service whose endpoints are these addresses, in a slice made by hand.
fn fixed(name: &str, port: u16, addresses: &[&str]) -> [Value; 2] {
    let endpoints: Vec<Value> = addresses.iter().map(|address| json!({"addresses": [address]})).collect();
    [
        service(name, &json!({"ports": [{"name": "http", "port": port}]})),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        }),
    ]
}

/// Waits until the Envoy of each pod has of these clusters what `compile` makes of a dump for the pod. Envoy has a cluster once its
/// name was asked for: `asked` are the names that nothing else asks for.
fn wait_until_current(
    what: &str,
    cluster: &Cluster,
    (names, asked): (&[&str], &[&str]),
    envoys: &[(&str, &ServedEnvoy)],
    serve: &Serve,
) -> Result<()> {
    for (pod, envoy) in envoys {
        let place = format!("{what}: {pod} has what compile makes");
        let has = || {
            for name in asked {
                envoy.loaded.ask(name)?;
            }
            envoy.clusters()
        };
        let after = wait_until_equal(&place, names, has, || compiled_clusters(cluster, pod))
            .with_context(|| format!("{}\n{}", serve.part.tail(), cluster.tails()))?;
        println!("{place} after {} ms", after.as_millis());
        // What the server says that it has sent is what Envoy says that it has.
        let of_server = serve.versions(&envoy.node)?;
        for (resource, version) in envoy.versions()? {
            ensure!(of_server.get(&resource) == Some(&version), "{resource:?}: {version} in Envoy, and {of_server:?}");
        }
    }
    Ok(())
}

fn ensure_all_succeeded(of: &str, answers: &Answers, at_least: usize) -> Result<()> {
    println!("{of}: {} requests meanwhile, {} failed", answers.requests, answers.failed);
    ensure!(answers.failed == 0, "{} requests failed: {:#?}", answers.failed, answers.by_answer);
    ensure!(answers.requests > at_least, "only {} requests", answers.requests);
    Ok(())
}

#[test]
fn no_request_fails_while_pods_roll_and_scale() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions { serves: true })?;
    cluster.kubectl(&["create", "namespace", "shop"])?;
    let near = json!({"trafficDistribution": "PreferSameZone"});
    let web = |replicas, image: &str| deployment("web", replicas, image, &near);
    let over_http2 =
        json!({"ports": [{"name": "http", "port": 80, "targetPort": 8080, "appProtocol": "kubernetes.io/h2c"}]});
    cluster.apply(&[&web(3, "web:1")[..], &deployment("api", 2, "api:1", &over_http2)].concat())?;
    cluster.apply(&[caller("caller-1", "node-1"), caller("caller-2", "node-2")])?;
    ["web", "api"].into_iter().try_for_each(|name| rolled_out(&cluster, name))?;
    eventually("the callers have nodes", || {
        Ok(["caller-1", "caller-2"].iter().all(|pod| compiled_clusters(&cluster, pod).is_ok()))
    })?;
    let serve = Serve::start(&account(&cluster)?)?;
    let names = ["web", "api"];
    let first = ServedEnvoy::start(&cluster, "caller-1", &names)?;
    let second = ServedEnvoy::start(&cluster, "caller-2", &names)?;
    let envoys = [("caller-1", &first), ("caller-2", &second)];
    eventually("both names are reached", || Ok(envoys.iter().all(|(_, envoy)| envoy.loaded.answers().requests > 10)))?;
    let is_current = |what: &str| wait_until_current(what, &cluster, (&[WEB, API], &[]), &envoys, &serve);
    is_current("at the start")?;

    cluster.apply(&web(3, "web:2"))?;
    rolled_out(&cluster, "web")?;
    is_current("after a rolling update")?;
    cluster.kubectl(&["scale", "deployment/web", "deployment/api", "--replicas=7", "-n", "shop"])?;
    ["web", "api"].into_iter().try_for_each(|name| rolled_out(&cluster, name))?;
    is_current("scaled up")?;
    cluster.kubectl(&["scale", "deployment/web", "deployment/api", "--replicas=2", "-n", "shop"])?;
    is_current("scaled down, while pods end")?;
    cluster.kubectl(&["rollout", "restart", "deployment/web", "deployment/api", "-n", "shop"])?;
    ["web", "api"].into_iter().try_for_each(|name| rolled_out(&cluster, name))?;
    cluster.kubectl(&[
        "delete",
        "pods",
        "-n",
        "shop",
        "-l",
        "app=web",
        "--field-selector=status.phase=Running",
        "--wait=false",
    ])?;
    rolled_out(&cluster, "web")?;
    // As kube-proxy does, sidecars use endpoints that terminate while no other is ready.
    is_current("after all pods of a Service were deleted")?;
    for (pod, envoy) in [("caller-1", first), ("caller-2", second)] {
        for (statistic, value) in [("control_plane.connected_state", 1), ("cluster.byname-server.upstream_rq_total", 1)]
        {
            ensure!(envoy.loaded.stat(statistic)? == value, "{pod}: {statistic} is not {value}");
        }
        ensure_all_succeeded(pod, &envoy.loaded.stop()?, 100)?;
    }
    Ok(())
}

#[test]
fn no_request_fails_while_the_api_is_away_restored_or_closed() -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::default())?;
    cluster.kubectl(&["create", "namespace", "shop"])?;
    let kubeconfig = account(&cluster)?;
    let mut objects: Vec<Value> =
        (0..SERVICES).flat_map(|index| fixed(&format!("other-{index}"), 80, &ENDPOINTS)).collect();
    objects.extend(fixed("fixed", 80, &ENDPOINTS));
    objects.push(caller("caller-1", "node-1"));
    cluster.apply(&objects)?;
    eventually("the caller has a node", || Ok(compiled_clusters(&cluster, "caller-1").is_ok()))?;
    // They outlive the stand-in for kubelets, which ends with the API.
    let upstream = |(index, address): (usize, &str)| {
        let arguments = ["server".to_owned(), format!("--name=shop/fixed-{index}"), format!("--listen={address}:8080")];
        Part::start("istio", &format!("fixed-{index}"), cluster.directory(), &arguments)
    };
    let _upstreams = ENDPOINTS.into_iter().enumerate().map(upstream).collect::<Result<Vec<_>>>()?;
    let serve = Serve::start(&kubeconfig)?;
    let envoy = ServedEnvoy::start(&cluster, "caller-1", &["fixed"])?;
    eventually("the name is reached", || Ok(envoy.loaded.answers().requests > 10))?;
    let names = [FIXED, "outbound|80||other-0.shop.svc.cluster.local", "outbound|8080||other-0.shop.svc.cluster.local"];
    let is_current = |what: &str, cluster: &Cluster| {
        let names = (&names[..], &["other-0", "other-0:8080"][..]);
        wait_until_current(what, cluster, names, &[("caller-1", &envoy)], &serve)
    };
    is_current("at the start", &cluster)?;

    // The API server is killed, and a Service has other ports and endpoints before the server can see it.
    cluster.kill_api();
    eventually("the server says that it is stale", || Ok(serve.metric("stale")? == 1.0))?;
    ensure!(envoy.loaded.ask("other-1")?.starts_with("200 shop/fixed-"), "a new name is served while the API is away");
    sleep(Duration::from_secs(5));
    cluster.rotate_certificate()?;
    cluster.start_api()?;
    let ready = Instant::now();
    cluster.apply(&fixed("other-0", 8080, &ENDPOINTS[..1]))?;
    is_current("after the API was away", &cluster)?;
    ensure!(ready.elapsed() < CURRENT_AFTER, "current after {:?}:\n{}", ready.elapsed(), serve.part.tail());
    ensure!(serve.metric("stale")? == 0.0, "still stale:\n{}", serve.part.tail());

    // As after a disaster: etcd comes back as it was, and resourceVersions go back.
    cluster.stop_and_save("yesterday")?;
    cluster.start_etcd()?;
    cluster.start_api()?;
    let others = |port| -> Vec<Value> {
        (0..30).flat_map(|index| fixed(&format!("other-{index}"), port, &ENDPOINTS[1..])).collect()
    };
    cluster.apply(&others(80))?;
    is_current("before etcd is restored", &cluster)?;
    cluster.stop_and_restore("yesterday")?;
    cluster.start_etcd()?;
    cluster.start_api()?;
    let ready = Instant::now();
    is_current("after etcd was restored", &cluster)?;
    ensure!(ready.elapsed() < CURRENT_AFTER * 2, "current after {:?}:\n{}", ready.elapsed(), serve.part.tail());

    // The token is revoked. Watches that are open stay open until they end; a new API server ends them.
    cluster.kubectl(&["delete", "serviceaccount", "byname", "-n", "byname-system"])?;
    cluster.kill_api();
    cluster.start_api()?;
    eventually("the server says that it is not let in", || Ok(serve.part.log().contains("401")))
        .with_context(|| serve.part.tail())?;
    ensure!(serve.metric("stale")? == 1.0, "the alert cannot fire:\n{}", serve.part.tail());
    ensure!(envoy.loaded.ask("other-2")?.starts_with("200 shop/fixed-"), "a new name is served without the API");

    ensure!(envoy.loaded.stat("control_plane.connected_state")? == 1, "the stream was lost");
    ensure_all_succeeded("caller-1", &envoy.loaded.stop()?, 1_000)
}

/// A client of delta xDS that nobody here wrote, with Envoy's own validation of each message.
#[test]
fn istios_client_has_what_compile_makes() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.kubectl(&["create", "namespace", "shop"])?;
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "port": number, "targetPort": 8080, "appProtocol": protocol});
    let ports = json!([port("http", 80, "http"), port("grpc", 81, "kubernetes.io/h2c"), port("https", 443, "https")]);
    cluster.apply(&deployment("web", 3, "web:1", &json!({"ports": ports, "ipFamilyPolicy": "PreferDualStack"})))?;
    cluster.apply(&[fixed("api", 80, &ENDPOINTS), fixed("other", 80, &ENDPOINTS)].concat())?;
    cluster.apply(&[caller("caller-1", "node-1")])?;
    rolled_out(&cluster, "web")?;
    eventually("the caller has a node", || Ok(compiled_clusters(&cluster, "caller-1").is_ok()))?;
    let serve = Serve::start(&account(&cluster)?)?;
    let names: Vec<String> =
        [80, 81, 443].iter().map(|port| format!("outbound|{port}||web.shop.svc.cluster.local")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain([API]).collect();
    let peer = Peer::start(&names)?;
    let is_current = |what: &str| {
        let after = wait_until_equal(what, &names, || Ok(peer.known()?.1), || compiled_clusters(&cluster, "caller-1"))
            .with_context(|| format!("{}\n{}", serve.part.tail(), peer.part.tail()))?;
        println!("{what}: equal after {} ms", after.as_millis());
        let services = |config: &Value| -> Vec<String> {
            config["table"]["services"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
        };
        let wanted = services(&compiled_table(&cluster)?);
        ensure!(!wanted.is_empty(), "compile has no Service");
        eventually(&format!("{what}: the filter has the names"), || Ok(services(&peer.known()?.0) == wanted)).map(drop)
    };
    is_current("at the start")?;
    let (_, known) = peer.known()?;
    ensure!(names.iter().all(|name| known.contains_key(*name)), "{known:?}");
    ensure!(known[names[0]].endpoints.len() >= 3, "{known:?}");

    cluster.kubectl(&["scale", "deployment/web", "--replicas=5", "-n", "shop"])?;
    rolled_out(&cluster, "web")?;
    is_current("after a change of endpoints")?;
    cluster.kubectl(&["delete", "service,endpointslice", "api", "-n", "shop"])?;
    is_current("after a Service was removed")?;
    ensure!(!peer.known()?.1.contains_key(API), "the removed cluster is still there");
    cluster.apply(&fixed("api", 80, &ENDPOINTS[..1]))?;
    is_current("after it was made again")?;
    ensure!(peer.known()?.1.contains_key(API), "the new cluster is not there");
    ensure!(
        !serve.part.log().contains(" refused "),
        "the client refused a message:
{}",
        serve.part.log()
    );
    ensure!(serve.metric("streams_opened_total")? == 1.0, "the client opened several streams:\n{}", peer.part.tail());
    Ok(())
}
