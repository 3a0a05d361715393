//! `byname watch` with a Kubernetes API.

use std::{collections::BTreeSet, time::Duration};

use byname_test_support::{
    TestUpstream,
    kubernetes::{KubernetesApi, kubeconfig},
    repository, yaml_documents,
};
use serde_json::{Value, json};

use crate::program::{WatchProcess, endpoints, eventually, service, slice};

/// A time within which an unwanted event would happen.
pub(crate) const WHILE: Duration = Duration::from_millis(400);

pub(crate) async fn follow(api: &KubernetesApi, more: &[&str]) -> WatchProcess {
    WatchProcess::start(|directory| {
        let mut arguments = vec!["--format".to_owned(), "table".into(), "--kubeconfig".into()];
        arguments.push(api.kubeconfig(directory).display().to_string());
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        arguments
    })
    .await
}

/// A cluster of seven Services in three namespaces. A list of Services has three pages. `shop/cart` has three
/// endpoints.
pub(crate) async fn shop() -> KubernetesApi {
    let api = KubernetesApi::start().await.unwrap();
    for name in ["billing/api", "billing/ledger", "prod/payments", "shop/cart", "shop/db", "shop/payments", "shop/web"]
    {
        api.put(service(name));
    }
    api.put(slice("shop/cart", &endpoints(3)));
    api.put(slice("shop/web", &endpoints(1)));
    api
}

pub(crate) const SHOP: [(&str, usize); 7] = [
    ("billing/api", 0),
    ("billing/ledger", 0),
    ("prod/payments", 0),
    ("shop/cart", 3),
    ("shop/db", 0),
    ("shop/payments", 0),
    ("shop/web", 1),
];

/// `SHOP` with these numbers of endpoints, without the Services that have `None`.
pub(crate) fn shop_with(changes: &[(&'static str, Option<usize>)]) -> Vec<(&'static str, usize)> {
    let mut services: Vec<_> =
        SHOP.into_iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name)).collect();
    services.extend(changes.iter().filter_map(|(name, count)| Some((*name, (*count)?))));
    services
}

fn pod(node: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web-0", "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [], "dnsPolicy": "ClusterFirst"},
        "status": {"podIPs": [{"ip": "10.1.0.1"}]},
    })
}

fn node(name: &str, zone: &str, heartbeat: usize) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": format!("2026-11-25T10:00:{heartbeat:02}Z")}],
            "addresses": [{"type": "InternalIP", "address": "192.168.0.1"}],
            "images": [{"names": [format!("image-{heartbeat}")]}],
        },
    })
}

fn caller(program: &WatchProcess) -> Value {
    let text = std::fs::read_to_string(&program.output).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["caller"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_reaches_the_file() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    assert!(api.count(&["/services?", "continue=6"]) == 1, "the list has several pages: {:?}", api.requests());
    api.put(slice("shop/cart", &endpoints(2)));
    program.wait_for(&shop_with(&[("shop/cart", Some(2))])).await;
    api.put(service("shop/new"));
    api.put(slice("shop/new", &endpoints(4)));
    api.delete(&service("shop/db"));
    let now = shop_with(&[("shop/cart", Some(2)), ("shop/new", Some(4)), ("shop/db", None)]);
    program.wait_for(&now).await;
    api.delete(&slice("shop/cart", &[]));
    program.wait_for(&shop_with(&[("shop/cart", Some(0)), ("shop/new", Some(4)), ("shop/db", None)])).await;
    program.wait_for_log("first table written: 7 Services, 4 ready endpoints, version ").await;
    program.wait_for_log("written: shop/cart: 3 → 2 endpoints\n").await;
    program.wait_for_metric("restarts_total{kind=\"Service\"}", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_nothing_before_all_kinds_are_listed() {
    let api = shop().await;
    api.put(pod(Some("node-1")));
    api.put(node("node-1", "eu-a", 0));
    api.put(node("node-2", "eu-b", 0));
    api.hold("endpointslices");
    api.hold("nodes");
    let program = follow(&api, &["--pod", "shop/web-0"]).await;
    eventually("Services are watched", || api.count(&["/services?", "watch=true"]) == 1).await;
    eventually("Nodes are asked for", || api.count(&["/nodes?"]) == 1).await;
    tokio::time::sleep(WHILE).await;
    assert_eq!((program.services(), program.get("/readyz").await.0), (None, 503));
    api.release("endpointslices");
    eventually("EndpointSlices are watched", || api.count(&["/endpointslices?", "watch=true"]) == 1).await;
    tokio::time::sleep(WHILE).await;
    assert_eq!((program.services(), program.get("/readyz").await.0), (None, 503));
    api.release("nodes");
    program.wait_for(&SHOP).await;
    assert_eq!(caller(&program), json!({"namespace": "shop", "zone": "eu-a", "node": "node-1", "podIP": "10.1.0.1"}));
    // The watch asks for its own Pod and Node only.
    let of_others =
        api.requests().into_iter().filter(|request| request.contains("/pods") || request.contains("/nodes"));
    for request in of_others {
        assert!(request.contains("fieldSelector=metadata.name%3D"), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_allows_exactly_the_requests() {
    let api = shop().await;
    api.put(pod(Some("node-1")));
    api.put(node("node-1", "eu-a", 0));
    let program = follow(&api, &["--pod", "shop/web-0"]).await;
    program.wait_for(&SHOP).await;
    eventually("Nodes are watched", || api.count(&["/nodes?", "watch=true"]) == 1).await;
    // Group, resource, namespace of the Role, verb.
    type ApiAccess = (String, String, Option<String>, &'static str);
    let asked = |request: String| -> ApiAccess {
        let (path, query) = request.split_once('?').unwrap();
        let parts: Vec<&str> = path.split('/').collect();
        let group = if parts[1] == "apis" { parts[2] } else { "" };
        let namespace = parts.iter().position(|part| *part == "namespaces").map(|at| parts[at + 1].to_owned());
        let verb = if query.contains("watch=true") { "watch" } else { "list" };
        (group.to_owned(), parts.last().unwrap().to_string(), namespace, verb)
    };
    let asked: BTreeSet<ApiAccess> = api.requests().into_iter().map(asked).collect();
    let mut allowed: BTreeSet<ApiAccess> = BTreeSet::new();
    for document in
        yaml_documents(&std::fs::read_to_string(repository().join("examples/kubernetes/rbac.yaml")).unwrap()).unwrap()
    {
        let namespace = document["metadata"]["namespace"].as_str().map(str::to_owned);
        for rule in document["rules"].as_array().into_iter().flatten() {
            assert_eq!(rule["verbs"], json!(["list", "watch"]));
            let (group, kind) = (rule["apiGroups"][0].as_str().unwrap(), rule["resources"][0].as_str().unwrap());
            assert_eq!(
                (rule["apiGroups"].as_array().unwrap().len(), rule["resources"].as_array().unwrap().len()),
                (1, 1)
            );
            allowed.extend(["list", "watch"].map(|verb| (group.to_owned(), kind.to_owned(), namespace.clone(), verb)));
        }
    }
    assert_eq!(asked, allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_of_nodes_cause_no_compilation() {
    let api = shop().await;
    api.put(pod(Some("node-1")));
    api.put(node("node-1", "eu-a", 0));
    let program = follow(&api, &["--pod", "shop/web-0"]).await;
    program.wait_for(&SHOP).await;
    let compiles = program.metric("compiles_total").await;
    for heartbeat in 1..50 {
        api.put(node("node-1", "eu-a", heartbeat));
    }
    // A later change arrives in the same watch, so the heartbeats were read before it.
    tokio::time::sleep(WHILE).await;
    assert_eq!(program.metric("compiles_total").await, compiles);
    api.put(node("node-1", "eu-c", 50));
    eventually("the zone is another one", || caller(&program)["zone"] == "eu-c").await;
    program.wait_for_log("written: no Service changed").await;
    program.wait_for_metric("writes_total", 2.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_zone_follows_the_pods_node() {
    let api = shop().await;
    api.put(pod(None));
    api.put(node("node-1", "eu-a", 0));
    api.put(node("node-2", "eu-b", 0));
    let program = follow(&api, &["--pod", "shop/web-0"]).await;
    program.wait_for(&SHOP).await;
    assert_eq!(caller(&program), json!({"namespace": "shop", "podIP": "10.1.0.1"}));
    for (node, zone) in [("node-1", "eu-a"), ("node-2", "eu-b")] {
        api.put(pod(Some(node)));
        eventually("its zone is known", || caller(&program)["zone"] == zone).await;
    }
    // Without the pod, the caller is unknown and the last known good table stays.
    api.delete(&pod(None));
    program.wait_for_log("Pod shop/web-0").await;
    assert_eq!(caller(&program)["zone"], "eu-b");
    assert_eq!(program.get("/readyz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_watch_resumes_at_its_last_version() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    for count in 4..8 {
        api.put(slice("shop/cart", &endpoints(count)));
        api.cut();
        api.put(slice("shop/web", &endpoints(count)));
        program.wait_for(&shop_with(&[("shop/cart", Some(count)), ("shop/web", Some(count))])).await;
    }
    // The watch resumes from a bookmark, although its own objects have not changed since.
    let version = api.bookmark();
    let resumed = |version: u64| api.count(&["/services?", "watch=true", &format!("resourceVersion={version}")]);
    tokio::time::sleep(WHILE).await;
    api.cut();
    eventually("it goes on from the bookmark", || resumed(version) > 0).await;
    api.put(slice("shop/cart", &endpoints(1)));
    program.wait_for(&shop_with(&[("shop/cart", Some(1)), ("shop/web", Some(7))])).await;
    assert_eq!(api.count(&["/services?", "limit=200"]), 3, "one list, of three pages");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_list_drops_deleted_objects() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    // The API's own response: the watch succeeds, and its first event is the error 410.
    api.delete_unseen(&service("shop/db"));
    api.delete_unseen(&slice("shop/cart", &[]));
    // The old state stays in use until the new list is complete.
    api.hold("services");
    api.hold("endpointslices");
    api.cut();
    eventually("Services are listed anew", || api.count(&["/services?", "limit=200"]) > 3).await;
    tokio::time::sleep(WHILE).await;
    program.wait_for(&SHOP).await;
    // Nor is a mix of the new Services and the old EndpointSlices written.
    api.release("services");
    tokio::time::sleep(WHILE).await;
    program.wait_for(&SHOP).await;
    api.release("endpointslices");
    program.wait_for(&shop_with(&[("shop/db", None), ("shop/cart", Some(0))])).await;
    // A proxy in front of the API answers with the status 410 instead.
    api.delete_unseen(&service("shop/web"));
    api.fail("services", &[410]);
    api.cut();
    program.wait_for(&shop_with(&[("shop/db", None), ("shop/cart", Some(0)), ("shop/web", None)])).await;
    assert!(program.metric("restarts_total{kind=\"Service\"}").await >= 2.0);
    assert_eq!(program.count_in_log("warning"), 0, "an expired watch is normal:\n{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_last_table_while_the_api_is_down() {
    let mut api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    api.stop();
    program.wait_for_log("the last known objects stay in use").await;
    api.put(slice("shop/cart", &endpoints(5)));
    tokio::time::sleep(WHILE).await;
    program.wait_for(&SHOP).await;
    assert_eq!((program.get("/readyz").await.0, program.get("/healthz").await.0), (200, 200));
    assert!(program.metric("failing").await >= 1.0);
    api.fail("services", &[500, 429, 503]);
    api.fail("endpointslices", &[503, 500]);
    api.listen().await.unwrap();
    program.wait_for(&shop_with(&[("shop/cart", Some(5))])).await;
    eventually("all failures were met", || api.has_failed()).await;
    program.wait_for_log("EndpointSlices: watching again").await;
    program.wait_for_metric("failing", 0.0).await;
    assert!(program.metric("errors_total{kind=\"Service\"}").await >= 3.0);
    assert_eq!(program.count_in_log("Connection refused"), 1, "once for all kinds:\n{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_an_api_that_starts_later() {
    let mut api = shop().await;
    api.stop();
    let program = follow(&api, &[]).await;
    program.wait_for_log("makes nothing of them before it succeeds").await;
    assert_eq!((program.get("/readyz").await.0, program.get("/healthz").await.0), (503, 200));
    api.fail("services", &[403, 500]);
    api.fail("endpointslices", &[429]);
    api.listen().await.unwrap();
    program.wait_for(&SHOP).await;
    program
        .wait_for_log("grant \"list\" and \"watch\" on services in all namespaces; examples/kubernetes/rbac.yaml")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_object_does_not_stop_the_others() {
    let api = shop().await;
    let mut bad = service("shop/bad");
    bad["spec"]["ports"][0]["port"] = "eighty".into();
    api.put(bad.clone());
    // Labels of the wrong type fail in the metadata that all objects share.
    let mut labels = slice("shop/bad", &endpoints(1));
    labels["metadata"]["labels"]["kubernetes.io/service-name"] = 7.into();
    api.put(labels);
    // This Service can be parsed, but the filter would refuse it.
    let mut refused = service("shop/refused");
    refused["spec"]["ports"][0]["port"] = 0.into();
    api.put(refused);
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    bad["metadata"]["annotations"] = json!({"touched": "once more"});
    api.put(bad);
    api.put(slice("shop/cart", &endpoints(1)));
    program.wait_for(&shop_with(&[("shop/cart", Some(1))])).await;
    let said = "left out: Kubernetes API: Service shop/bad, spec.ports[0].port: is the string";
    assert_eq!(program.count_in_log(said), 1, "{}", program.log());
    assert_eq!(program.count_in_log("left out: Kubernetes API: Service shop/refused, spec.ports[0].port"), 1);
    program.wait_for_metric("unreadable_objects", 2.0).await;
    program.wait_for_metric("left_out", 1.0).await;
    api.put(service("shop/bad"));
    api.put(service("shop/refused"));
    let now = [("shop/cart", Some(1)), ("shop/bad", Some(0)), ("shop/refused", Some(0))];
    program.wait_for(&shop_with(&now)).await;
    program.wait_for_metric("unreadable_objects", 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_only_visible_namespaces() {
    let api = shop().await;
    let program = follow(&api, &["--visible", "shop", "--visible", "prod"]).await;
    let here = |(name, _): &(&str, usize)| !name.starts_with("billing");
    program.wait_for(&SHOP.into_iter().filter(here).collect::<Vec<_>>()).await;
    api.delete_unseen(&service("prod/payments"));
    api.cut();
    let here = |(name, _): &(&str, usize)| name.starts_with("shop");
    program.wait_for(&SHOP.into_iter().filter(here).collect::<Vec<_>>()).await;
    for request in api.requests() {
        let is_own = ["/namespaces/shop/", "/namespaces/prod"].iter().any(|part| request.contains(part));
        assert!(is_own && !request.contains("nodes") && !request.contains("pods"), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subsets_by_labels_follow_the_pods() {
    let api = shop().await;
    let mut endpoint = endpoints(1);
    endpoint[0]["targetRef"] = json!({"kind": "Pod", "namespace": "shop", "name": "web-0"});
    api.put(slice("shop/web", &endpoint));
    let program = WatchProcess::start(|directory| {
        let base = directory.join("base.yaml");
        let text = "version: 1\ntable: {services: {shop/web: {subsets: {canary: {labels: {track: canary}}}}}}\n";
        std::fs::write(&base, text).unwrap();
        let kubeconfig = api.kubeconfig(directory).display().to_string();
        let base = base.display().to_string();
        vec!["--format".into(), "table".into(), "--kubeconfig".into(), kubeconfig, "--config".into(), base]
    })
    .await;
    program.wait_for(&SHOP).await;
    let labels = || {
        let config: Value = serde_json::from_str(&std::fs::read_to_string(&program.output).unwrap()).unwrap();
        config["table"]["services"]["shop/web"]["endpoints"][0]["labels"].clone()
    };
    assert_eq!(labels(), Value::Null);
    let mut labelled = pod(None);
    labelled["metadata"]["labels"]["track"] = "canary".into();
    api.put(labelled);
    eventually("the label is in the table", || labels() == json!({"track": "canary"})).await;
    assert!(api.count(&["/pods?"]) > 0 && api.requests().iter().all(|one| !one.contains("/api/v1/pods")));
    // The configuration names a Service that is gone. The other Services stay.
    api.delete(&service("shop/web"));
    program.wait_for(&shop_with(&[("shop/web", None)])).await;
    program.wait_for_log("the cluster has no Service shop/web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn constant_changes_are_written_within_the_maximum_delay() {
    let api = shop().await;
    let program = follow(&api, &["--debounce-ms", "50"]).await;
    program.wait_for(&SHOP).await;
    let writes = program.metric("writes_total").await;
    // The changes never pause for the debounce time, so the maximum delay has to end the wait.
    let mut count = 0;
    while program.metric("writes_total").await < writes + 3.0 {
        count = count % 200 + 1;
        api.put(slice("shop/cart", &endpoints(count)));
    }
    program.wait_for(&shop_with(&[("shop/cart", Some(count))])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_at_once_are_retried_slowly() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    api.end_watches(true);
    api.cut();
    let before = api.requests().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let more = api.requests().len() - before;
    assert!(more > 10 && more <= 200, "{more} requests in three seconds");
    api.end_watches(false);
    api.put(slice("shop/cart", &endpoints(2)));
    program.wait_for(&shop_with(&[("shop/cart", Some(2))])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trusts_the_certificate_authority_of_the_kubeconfig() {
    // The servers are no APIs. A parse error shows that the certificate was trusted.
    let (upstream, certificate) = TestUpstream::start_tls("no API", "127.0.0.1").await.unwrap();
    let (other, _) = TestUpstream::start_tls("another", "127.0.0.1").await.unwrap();
    for (port, said) in [(upstream.port(), "the API's list cannot be read"), (other.port(), "invalid peer certificate")]
    {
        let program = WatchProcess::start(|directory| {
            let authority = directory.join("ca.pem");
            std::fs::write(&authority, &certificate).unwrap();
            let server = format!("https://127.0.0.1:{port}");
            let cluster = json!({"server": server, "certificate-authority": authority});
            let file = kubeconfig(directory, cluster).display().to_string();
            vec!["--kubeconfig".into(), file, "--context".into(), "test".into()]
        })
        .await;
        program.wait_for_log(said).await;
    }
}

/// Another server may answer in the API's place, or a role may be gone: the list is complete and empty.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_does_not_empty_the_table() {
    let api = shop().await;
    let program = follow(&api, &[]).await;
    program.wait_for(&SHOP).await;
    let writes = program.metric("writes_total").await;
    for (name, _) in SHOP {
        api.delete_unseen(&service(name));
    }
    api.cut();
    program.wait_for_log("the new table has no Service").await;
    tokio::time::sleep(WHILE).await;
    program.wait_for(&SHOP).await;
    assert_eq!(program.metric("writes_total").await, writes);
}
