//! `byname serve` with a real Envoy.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use byname_test_support::{Envoy, TestUpstream};
use serde_json::{Value, json};

use crate::program::{
    ServeProcess, ask, assert_nothing_is_refused, eventually, eventually_answers, service, service_with, slice, slices,
    upstream,
};

const PAYMENTS: &str = "outbound|80||payments.shop.svc.cluster.local";
const FILTER: &str = "extension_config_discovery.http_filter.byname.";

/// A Service of the namespace `shop` with these endpoints.
fn objects(name: &str, upstreams: &[&TestUpstream]) -> Vec<Value> {
    let name = format!("shop/{name}");
    [vec![service(&name)], slices(&name, upstreams)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_name_is_reached_and_endpoints_follow_the_cluster() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let program = ServeProcess::start(&objects("payments", &[&one])).await;
    let envoy = program.envoy(&passthrough).await;
    let start = Instant::now();
    let reply = ask(&envoy, "payments").await;
    let cold = start.elapsed();
    assert_eq!((reply.status, reply.said("upstream")), (200, "one".to_owned()), "{}\n{}", program.log(), envoy.log());
    let pushes = envoy.stat(&format!("{FILTER}config_reload")).await.unwrap();
    let start = Instant::now();
    program.write(&objects("payments", &[&two]));
    eventually_answers(&envoy, "payments", "two").await;
    println!(
        "first request of a cold name {cold:?}; from the change of a file to the other endpoint {:?}",
        start.elapsed()
    );
    for round in 0..20 {
        let upstream = if round % 2 == 0 { &one } else { &two };
        program.write(&objects("payments", &[upstream]));
        eventually_answers(&envoy, "payments", if round % 2 == 0 { "one" } else { "two" }).await;
    }
    assert_eq!(envoy.stat(&format!("{FILTER}config_reload")).await.unwrap(), pushes, "endpoints are not in the filter");
    assert_nothing_is_refused(&program, &envoy).await;
}

/// The filter, clusters and endpoints may have a stream each, by the method of their type.
#[tokio::test(flavor = "multi_thread")]
async fn each_type_may_have_a_stream_of_its_own() {
    const OWN_STREAM: &str = "api_config_source: {api_type: DELTA_GRPC, transport_api_version: V3, \
                              set_node_on_first_message_only: true, grpc_services: [{envoy_grpc: {cluster_name: byname-server}}]}";
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let program = ServeProcess::start(&objects("payments", &[&one])).await;
    let envoy = Envoy::builder("serve.yaml")
        .port(18000, program.port)
        .upstream(18080, &passthrough)
        .edit(
            "ads: {}\n                resource_api_version",
            &format!("{OWN_STREAM}\n                resource_api_version"),
        )
        .edit(
            "source: {ads: {}, resource_api_version: V3}",
            &format!("source: {{{OWN_STREAM}, resource_api_version: V3}}"),
        )
        .start()
        .await
        .unwrap();
    eventually_answers(&envoy, "payments", "one").await;
    assert_eq!(program.metric("streams").await, 3.0, "{}", program.get("/debug/streams").await.body);
    program.write(&objects("payments", &[&two]));
    eventually_answers(&envoy, "payments", "two").await;
    // A cluster that changes is warm only after its endpoints came again, on another stream.
    let mut http2 = objects("payments", &[&one]);
    http2[0]["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c".into();
    program.write(&http2);
    eventually("the cluster has HTTP/2", async || {
        envoy
            .admin("/config_dump?resource=dynamic_active_clusters")
            .await
            .unwrap()
            .body
            .contains("http2_protocol_options")
    })
    .await;
    program.write(&[objects("payments", &[&one]), objects("orders", &[&two])].concat());
    eventually_answers(&envoy, "orders", "two").await;
    eventually_answers(&envoy, "payments", "one").await;
    assert_nothing_is_refused(&program, &envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_come_and_go_and_come_back() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let payments = objects("payments", &[&one]);
    let program = ServeProcess::start(&payments).await;
    let envoy = program.envoy(&passthrough).await;
    eventually_answers(&envoy, "payments", "one").await;
    eventually_answers(&envoy, "orders", "passthrough").await;
    program.write(&[payments.clone(), objects("orders", &[&two])].concat());
    eventually_answers(&envoy, "orders", "two").await;
    for upstream in [&two, &one] {
        program.write(&objects("orders", &[&two]));
        eventually_answers(&envoy, "payments", "passthrough").await;
        eventually("Envoy has no cluster for it", async || {
            !envoy.admin("/clusters").await.unwrap().body.contains(PAYMENTS)
        })
        .await;
        program.write(&[objects("payments", &[upstream]), objects("orders", &[&two])].concat());
        let name = if std::ptr::eq(upstream, &raw const two) { "two" } else { "one" };
        eventually_answers(&envoy, "payments", name).await;
    }
    assert_nothing_is_refused(&program, &envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_use_outlive_the_server_and_a_new_one_sends_nothing_again() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let mut program = ServeProcess::start(&[objects("payments", &[&one]), objects("orders", &[&two])].concat()).await;
    let envoy = program.envoy(&passthrough).await;
    eventually_answers(&envoy, "payments", "one").await;
    program.kill();
    eventually("Envoy sees it", async || envoy.stat("control_plane.connected_state").await.unwrap() == 0).await;
    for _ in 0..50 {
        assert_eq!(ask(&envoy, "payments").await.said("upstream"), "one");
    }
    let start = Instant::now();
    let cold = ask(&envoy, "orders").await;
    assert_eq!(cold.status, 503, "{}", cold.body);
    let waited = start.elapsed();
    assert!((Duration::from_millis(250)..Duration::from_secs(2)).contains(&waited), "{waited:?}");
    program.restart().await;
    eventually("Envoy is back", async || program.metric("streams").await == 1.0).await;
    // Orders were asked for while no server answered, so that only they are new.
    eventually_answers(&envoy, "orders", "two").await;
    assert_eq!(program.metric("resources_total{type=\"filter\"}").await, 0.0);
    assert_eq!(program.metric("resources_total{type=\"cluster\"}").await, 1.0);
    assert_eq!(program.metric("resources_total{type=\"endpoints\"}").await, 1.0);
    assert_eq!(ask(&envoy, "payments").await.said("upstream"), "one");
    program.write(&[objects("payments", &[&two]), objects("orders", &[&two])].concat());
    eventually_answers(&envoy, "payments", "two").await;
    assert_nothing_is_refused(&program, &envoy).await;
    assert_eq!(program.end().await, Some(0), "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_those_of_the_callers_zone_and_node() {
    let (near, far, passthrough) = (upstream("near").await, upstream("far").await, upstream("passthrough").await);
    let hinted = |name: &str, zone: &str, node: &str, upstream: &TestUpstream| {
        slice(name, upstream, &json!({"zone": zone, "nodeName": node, "hints": {"forZones": [{"name": zone}]}}))
    };
    let local = json!({"clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"], "internalTrafficPolicy": "Local"});
    let program = ServeProcess::start(&[
        service("shop/web"),
        hinted("shop/web", "eu-a", "node-1", &near),
        hinted("shop/web", "eu-b", "node-2", &far),
        service_with("shop/agent", &local),
        hinted("shop/agent", "eu-a", "node-1", &near),
        hinted("shop/agent", "eu-b", "node-2", &far),
    ])
    .await;
    let here = program.envoy(&passthrough).await;
    let there = Envoy::builder("serve.yaml")
        .port(18000, program.port)
        .upstream(18080, &passthrough)
        .edit("zone: eu-a", "zone: eu-b")
        .edit("NODE_NAME: node-1", "NODE_NAME: node-2")
        .start()
        .await
        .unwrap();
    for name in ["web", "agent"] {
        for (envoy, nearest) in [(&here, "near"), (&there, "far")] {
            let mut seen = BTreeSet::new();
            for _ in 0..6 {
                seen.insert(ask(envoy, name).await.said("upstream"));
            }
            assert_eq!(seen, BTreeSet::from([nearest.to_owned()]), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_stateful_set_have_names() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let db = |endpoints: &[(&TestUpstream, Value)]| {
        let headless = service_with("shop/db", &json!({"clusterIP": "None", "clusterIPs": ["None"]}));
        let slices = endpoints.iter().map(|(upstream, endpoint)| slice("shop/db", upstream, endpoint));
        [headless].into_iter().chain(slices).collect::<Vec<_>>()
    };
    let program =
        ServeProcess::start(&db(&[(&one, json!({"hostname": "db-0"})), (&two, json!({"hostname": "db-1"}))])).await;
    let envoy = program.envoy(&passthrough).await;
    for (name, upstream) in [("db-0.db", "one"), ("db-1.db.shop", "two")] {
        eventually_answers(&envoy, name, upstream).await;
    }
    let pushes = envoy.stat(&format!("{FILTER}config_reload")).await.unwrap();
    let not_ready = json!({"hostname": "db-1", "conditions": {"ready": false, "serving": false}});
    program.write(&db(&[(&one, json!({"hostname": "db-0"})), (&two, not_ready)]));
    eventually("Envoy has no endpoint for db-1", async || ask(&envoy, "db-1.db").await.status == 503).await;
    assert_eq!(ask(&envoy, "db-0.db").await.said("upstream"), "one");
    assert_eq!(envoy.stat(&format!("{FILTER}config_reload")).await.unwrap(), pushes, "readiness is not in the filter");
    program.write(&db(&[(&one, json!({"hostname": "db-0"})), (&two, json!({"hostname": "db-1"}))]));
    eventually_answers(&envoy, "db-1.db", "two").await;
    assert_nothing_is_refused(&program, &envoy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_endpoints_is_envoys_503() {
    let passthrough = upstream("passthrough").await;
    let other = upstream("other").await;
    let program = ServeProcess::start(&[vec![service("shop/empty")], objects("other", &[&other])].concat()).await;
    let envoy = program.envoy(&passthrough).await;
    let reply = ask(&envoy, "empty").await;
    assert_eq!((reply.status, reply.header("x-byname-reason")), (503, ""), "{}", reply.body);
    assert!(reply.body.contains("no healthy upstream"), "{}", reply.body);
}

/// The clusters that Envoy has are those that `compile` prints, but for where their endpoints come from.
#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_those_of_compile() {
    let passthrough = upstream("passthrough").await;
    let alias = |name: &str| {
        let spec = json!({"type": "ExternalName", "externalName": format!("{name}.example.com")});
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": spec})
    };
    let port = |name: &str, number: u16, protocol: &str| json!({"name": name, "port": number, "appProtocol": protocol});
    let ports = [port("http", 80, "http"), port("grpc", 81, "kubernetes.io/h2c"), port("https", 443, "https")];
    let list = [
        service_with("shop/web", &json!({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": ports})),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "shop", "name": "web", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 8080}], "endpoints": []}),
        alias("weather"),
        alias("bank"),
    ];
    let allow = ["weather", "bank"].map(|name| json!({"host": format!("{name}.example.com"), "ports": [80, 443]}));
    let over_tls = json!({"services": {"shop/bank": {"alias": {"tls": true}}}});
    let config = json!({"version": 1, "externalNames": {"allow": allow}, "table": over_tls});
    let program = ServeProcess::start_with(&list, &config).await;
    let compiled = program.compiled_clusters();
    let envoy = program.envoy(&passthrough).await;
    for authority in ["web", "web:81", "web:443", "weather", "bank:443"] {
        drop(ask(&envoy, authority).await);
    }
    let dump = envoy.admin("/config_dump?resource=dynamic_active_clusters").await.unwrap().body;
    let dump: Value = serde_json::from_str(&dump).unwrap();
    let source = json!({"ads": {}, "initial_fetch_timeout": "1s", "resource_api_version": "V3"});
    let mut names = BTreeSet::new();
    for mut cluster in dump["configs"].as_array().unwrap().iter().map(|one| one["cluster"].clone()) {
        let name = cluster["name"].as_str().unwrap().to_owned();
        let wanted = &compiled[&name];
        if cluster["type"] == "EDS" {
            assert_eq!(cluster["eds_cluster_config"], json!({"eds_config": source}));
            let fields = cluster.as_object_mut().unwrap();
            fields.remove("eds_cluster_config");
            fields.insert("type".to_owned(), wanted["type"].clone());
            if let Some(assignment) = wanted.get("load_assignment") {
                fields.insert("load_assignment".to_owned(), assignment.clone());
            }
        }
        cluster.as_object_mut().unwrap().remove("@type");
        // Envoy leaves out default values.
        if cluster["type"].is_null() {
            cluster["type"] = "STATIC".into();
        }
        assert_eq!(&cluster, wanted, "{name}");
        names.insert(name);
    }
    let asked = [80, 81, 443].map(|port| format!("outbound|{port}||web.shop.svc.cluster.local"));
    let outside = ["external|80|weather.example.com", "external-tls|443|bank.example.com"].map(str::to_owned);
    assert_eq!(names, asked.into_iter().chain(outside).collect(), "{}", program.log());
    assert_nothing_is_refused(&program, &envoy).await;
}
