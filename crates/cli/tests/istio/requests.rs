//! Requests through the Envoy of a sidecar whose configuration comes from the folder's objects, as istiod would build
//! it.

use std::{
    fs,
    time::{Duration, Instant},
};

use byname_test_support::{
    CHECKOUT, Envoy, ISTIO_NAMES, RECOMMEND, TestResult, TestUpstream, with_fields, yaml_documents,
};
use serde_json::{Value, json};

use crate::{
    IMAGE, byname, compile, example,
    istiod::{Istio, TYPE},
    mesh::{Applied, Mesh, get},
    objects,
};

async fn every_row(envoy: &Envoy) -> TestResult {
    for (authority, host) in ISTIO_NAMES {
        let reply = get(envoy, authority, &[]).await?;
        let answered = (reply.said("upstream"), reply.said("authority"));
        assert_eq!(
            answered,
            (format!("outbound|80||{host}"), host.to_owned()),
            "{authority}: {} {}",
            reply.status,
            reply.body
        );
        assert_eq!(reply.sent_on("x-byname-cluster"), Vec::<String>::new(), "{authority}");
    }
    Ok(())
}

async fn wait_for(envoy: &Envoy, authority: &str, host: &str) -> TestResult {
    let start = Instant::now();
    loop {
        let reply = get(envoy, authority, &[]).await?;
        if reply.said("authority") == host {
            return Ok(());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{authority}: {} {}", reply.status, reply.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn the_folder_matches_what_the_program_prints() {
    let image = ["--format", "istio-wasmplugin", "--plain", "--image", IMAGE, "--sha256", crate::SUM];
    for way in ["authority", "cluster-header"] {
        let config = format!("examples/istio/{way}/config.yaml");
        let config = ["--config", &config];
        let differs = |file: &str| format!("examples/istio/{way}/{file} is not what its README's command prints");
        assert!(
            example(&format!("{way}/wasmplugin.yaml")) == compile(&[&image[..], &config].concat()),
            "{}",
            differs("wasmplugin.yaml")
        );
        if way == "cluster-header" {
            let filter = compile(&[&["--format", "istio-envoyfilter"], &config[..]].concat());
            assert!(example("cluster-header/envoyfilter.yaml") == filter, "{}", differs("envoyfilter.yaml"));
        }
    }
    let of_server = ["compile", "--server", "byname.byname-system:9905", "--image", IMAGE, "--sha256", crate::SUM];
    let plugin = byname(&[&of_server[..], &["--format", "istio-wasmplugin"]].concat());
    assert!(
        example("stream/wasmplugin.yaml") == plugin,
        "examples/istio/stream/wasmplugin.yaml is not what its README's command prints"
    );
}

#[tokio::test]
async fn every_name_is_reached_by_authority() -> TestResult {
    let mesh = Mesh::start().await?;
    for istio in [Istio::V1_24, Istio::V1_26, Istio::V1_30] {
        let envoy = mesh.envoy(&Applied { istio, ..Applied::authority() }).await?;
        every_row(&envoy).await?;
    }
    let without = mesh.envoy(&Applied { plugin: None, ..Applied::authority() }).await?;
    assert_eq!(get(&without, "_http._tcp.checkout", &[]).await?.status, 502, "Istio alone does not know this name");
    assert_eq!(get(&without, "suggest", &[]).await?.said("authority"), "suggest");
    Ok(())
}

#[tokio::test]
async fn every_name_is_reached_by_cluster_header() -> TestResult {
    let mesh = Mesh::start().await?;
    let envoy = mesh.envoy(&Applied::cluster_header()).await?;
    every_row(&envoy).await?;
    // Another port than the listener's.
    let reply = get(&envoy, "_grpc._tcp.catalog", &[]).await?;
    assert_eq!(reply.said("upstream"), "outbound|9090||catalog.shop.svc.cluster.local", "{}", reply.body);
    let by_authority = mesh.envoy(&Applied::authority()).await?;
    assert_ne!(get(&by_authority, "_grpc._tcp.catalog", &[]).await?.said("upstream"), reply.said("upstream"));
    // A client cannot steer with the control header, with byname or without.
    let forged = [("x-byname-cluster", "outbound|80||web.shop.svc.cluster.local")];
    assert_eq!(get(&envoy, "checkout", &forged).await?.said("authority"), CHECKOUT);
    assert_eq!(get(&envoy, "www.example.org", &forged).await?.status, 502);
    let without = mesh.envoy(&Applied { plugin: None, ..Applied::cluster_header() }).await?;
    assert_eq!(get(&without, "checkout", &forged).await?.said("upstream"), format!("outbound|80||{CHECKOUT}"));
    Ok(())
}

/// The alias uses TLS with the right server name, by a DestinationRule or by the EnvoyFilter's cluster. A certificate
/// for another name fails.
#[tokio::test]
async fn an_alias_reaches_an_external_host_over_tls() -> TestResult {
    for (certificate, status) in [("api.weather.example.com", 200), ("other.example.com", 503)] {
        let mesh = Mesh::start_with(certificate, &objects("authority/external.yaml")).await?;
        for applied in [Applied::authority(), Applied::cluster_header()] {
            let envoy = mesh.envoy(&applied).await?;
            let reply = get(&envoy, "weather", &[]).await?;
            assert_eq!(reply.status, status, "{}", reply.body);
            if status == 200 {
                let answered = (reply.said("upstream"), reply.said("authority"));
                assert_eq!(answered, ("outside".to_owned(), "api.weather.example.com".to_owned()));
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn unknown_names_follow_the_outbound_traffic_policy() -> TestResult {
    let mesh = Mesh::start().await?;
    for allows_any in [false, true] {
        for applied in [Applied::authority(), Applied::cluster_header()] {
            let envoy = mesh.envoy(&Applied { allows_any, ..applied }).await?;
            let reply = get(&envoy, "www.example.org", &[]).await?;
            let expected = if allows_any { (200, "PassthroughCluster") } else { (502, "") };
            assert_eq!((reply.status, &*reply.said("upstream")), expected, "{}", reply.body);
        }
    }
    Ok(())
}

/// An EnvoyFilter may insert an RBAC filter. After the plugin (the example's phase), RBAC sees the name that the
/// authority resolves to. Before the plugin (a later phase), RBAC sees the name that the client sent.
#[tokio::test]
async fn authorization_sees_the_rewritten_name() -> TestResult {
    let mesh = Mesh::start().await?;
    let matches = json!({"header": {"name": ":authority", "string_match": {"exact": RECOMMEND}}});
    let policy = json!({"permissions": [matches], "principals": [{"any": true}]});
    let rbac = json!({"name": "envoy.filters.http.rbac", "typed_config": {
        "@type": format!("{TYPE}.http.rbac.v3.RBAC"), "rules": {"action": "DENY", "policies": {"deny": policy}}}});
    for (phase, status) in [("AUTHN", 403), ("STATS", 200)] {
        let mut applied = Applied { authorizes: vec![rbac.clone()], ..Applied::authority() };
        applied.plugin.as_mut().unwrap()["spec"]["phase"] = phase.into();
        let envoy = mesh.envoy(&applied).await?;
        assert_eq!(get(&envoy, "suggest", &[]).await?.status, status, "{phase}");
        assert_eq!(get(&envoy, "checkout", &[]).await?.status, 200, "{phase}");
    }
    Ok(())
}

#[tokio::test]
async fn a_new_plugin_takes_effect_and_a_refused_one_does_not() -> TestResult {
    let mesh = Mesh::start().await?;
    let applied = Applied::authority();
    let (istio, plugin) = (applied.istio, applied.plugin.clone().unwrap());
    let envoy = mesh.envoy(&applied).await?;
    wait_for(&envoy, "suggest", RECOMMEND).await?;
    let aliased = |to: &str| {
        let mut next = plugin.clone();
        next["spec"]["pluginConfig"]["table"]["services"]["shop/suggest"]["externalName"] = to.into();
        istio.extension_config(&next, &Mesh::module())
    };
    mesh.push(&aliased(CHECKOUT))?;
    wait_for(&envoy, "suggest", CHECKOUT).await?;
    // The filter refuses this configuration as a whole.
    let mut refused = plugin.clone();
    refused["spec"]["pluginConfig"] = with_fields(refused["spec"]["pluginConfig"].clone(), json!({"version": 2}));
    mesh.push(&istio.extension_config(&refused, &Mesh::module()))?;
    let start = Instant::now();
    while envoy.stats("update_rejected").await?.values().sum::<u64>() == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "it was not refused: {}", envoy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(get(&envoy, "suggest", &[]).await?.said("authority"), CHECKOUT);
    mesh.push(&aliased(RECOMMEND))?;
    wait_for(&envoy, "suggest", RECOMMEND).await?;
    // The agent's response if it cannot pull the module or the checksum differs.
    mesh.push(&istio.denied(&plugin))?;
    let start = Instant::now();
    while get(&envoy, "checkout", &[]).await?.status != 403 {
        assert!(start.elapsed() < Duration::from_secs(20), "{}", envoy.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The filter of `byname watch` is read from a file and chooses the endpoint. `byname compile` writes the same file.
#[tokio::test]
async fn the_file_of_watch_steers_to_endpoints() -> TestResult {
    let mesh = Mesh::start().await?;
    let endpoint = TestUpstream::start("an endpoint").await?;
    let service = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name}, "spec": spec});
    let items = json!([
        service("solo", json!({"clusterIP": "10.96.0.77", "ports": [{"name": "http", "port": 80}]})),
        service("empty", json!({"clusterIP": "10.96.0.78", "ports": [{"name": "http", "port": 80}]})),
        service("weather", json!({"type": "ExternalName", "externalName": "api.weather.example.com"})),
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
         "metadata": {"namespace": "shop", "name": "solo-1", "labels": {"kubernetes.io/service-name": "solo"}},
         "ports": [{"name": "http", "port": endpoint.port()}], "endpoints": [{"addresses": ["127.0.0.1"]}]},
    ]);
    let (dump, config) = (mesh.path("dump.json"), mesh.path("config.yaml"));
    fs::write(&dump, json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    // Endpoints on loopback are accepted only with `singleMachine`.
    let on_this_machine =
        example("cluster-header/watch-config.yaml").replace("\ntable:\n", "\ntable:\n  singleMachine: true\n");
    fs::write(&config, on_this_machine)?;
    let (dump, config, module) = (dump.display().to_string(), config.display().to_string(), Mesh::module());
    let of = ["compile", "-n", "shop", "-f", &dump, "--config", &config, "--format"];
    let file = mesh.path("ecds/byname.yaml");
    fs::write(&file, byname(&[&of[..], &["envoy-ecds", "--module", &module]].concat()))?;
    let filter = yaml_documents(&byname(&[&of[..], &["istio-envoyfilter", "--endpoints"]].concat()))?;
    let envoy_filters = [filter, objects("cluster-header/watch.yaml")].concat();
    let envoy = mesh.envoy(&Applied { plugin: None, envoy_filters, ..Applied::cluster_header() }).await?;
    let reply = get(&envoy, "solo", &[]).await?;
    let answered = (reply.said("upstream"), reply.said("authority"));
    assert_eq!(answered, ("an endpoint".to_owned(), "solo.shop.svc.cluster.local".to_owned()), "{}", reply.body);
    let reply = get(&envoy, "empty", &[]).await?;
    assert_eq!((reply.status, reply.header("x-byname-reason")), (503, "no_endpoints"), "{}", reply.body);
    assert_eq!(get(&envoy, "weather", &[]).await?.said("upstream"), "outside");
    Ok(())
}
