//! Names that workloads use, through each kind of object that carries the filter.

use std::{fs, process::Command};

use anyhow::Result;
use byname_cluster::{Part, Pod, PodOptions, byname_program, eventually};
use byname_test_support::{CHECKOUT, ISTIO_NAMES, repository};
use serde_json::{Value, json};

use crate::istio::mesh::{AUTHORITY, BY_CLUSTER, BY_ENDPOINT, Mesh, client, example, expect};

pub(crate) fn reaches_every_row(pod: &Pod) -> Result<()> {
    for (name, host) in ISTIO_NAMES {
        let answer = pod.get(name)?;
        let mut parts = host.split('.');
        let (service, namespace) = (parts.next().unwrap(), parts.next().unwrap());
        let is_of_service = answer.said("pod").starts_with(&format!("{namespace}/{service}-"));
        assert!(answer.status == 200 && is_of_service, "{name}: {answer:?}");
        assert_eq!(answer.said("authority"), host, "{name}");
        assert!(answer.body["headers"].get("X-Byname-Cluster").is_none(), "{name}: {answer:?}");
    }
    Ok(())
}

pub(crate) fn names_reach_their_services_through_a_wasm_plugin(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    // Istio alone knows the alias and leaves the Host as it is.
    mesh.wait_for("suggest", "suggest")?;
    mesh.apply_with_authority(&[])?;
    reaches_every_row(&mesh.client)
}

pub(crate) fn names_reach_their_services_through_a_traffic_extension(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    mesh.wait_for("suggest", "suggest")?;
    mesh.istio.apply_only(&[mesh.with_image(AUTHORITY, "istio-trafficextension", &[])?])?;
    mesh.wait_for("_http._tcp.checkout", CHECKOUT)?;
    reaches_every_row(&mesh.client)
}

pub(crate) fn the_sidecar_shows_the_metrics_of_the_module(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    eventually("the module's metrics are there", || {
        let metrics = mesh.client.run(&["curl", "-sf", "-m", "10", "http://127.0.0.1:15090/stats/prometheus"])?;
        Ok(metrics.lines().any(|line| line.starts_with("wasmcustom_byname_") || line.starts_with("byname_")))
    })?;
    Ok(())
}

pub(crate) fn names_reach_their_services_by_clusters(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_clusters(&[])?;
    reaches_every_row(&mesh.client)?;
    // A port that is not the listener's; by authority the listener's routes know none.
    let grpc = ["-H", "host: _grpc._tcp.catalog", "http://catalog/"];
    let answer = mesh.client.curl(&grpc)?;
    assert_eq!((answer.status, &answer.body["port"]), (200, &json!(9090)), "{answer:?}");
    mesh.apply_with_authority(&[])?;
    let answer = mesh.client.curl(&grpc)?;
    assert_ne!(answer.body["port"], 9090, "{answer:?}");
    Ok(())
}

pub(crate) fn no_client_steers_by_the_control_header(mesh: &Mesh<'_>) -> Result<()> {
    let forged = ["-H", "x-byname-cluster: outbound|80||web.shop.svc.cluster.local", "http://checkout/"];
    mesh.apply_with_clusters(&[])?;
    let answer = mesh.client.curl(&forged)?;
    assert_eq!(answer.said("authority"), CHECKOUT, "{answer:?}");
    assert!(answer.said("pod").starts_with("shop/checkout-"), "{answer:?}");
    // Nor without the filter.
    mesh.istio.apply_only(&mesh.compile(BY_CLUSTER, &["--format", "istio-envoyfilter"])?)?;
    mesh.wait_for("suggest", "suggest")?;
    let answer = mesh.client.curl(&forged)?;
    assert!(answer.said("pod").starts_with("shop/checkout-"), "{answer:?}");
    Ok(())
}

/// A pod whose filter `byname watch` keeps, and that process.
pub(crate) fn start_watched(mesh: &Mesh<'_>, name: &str) -> Result<(Pod, Part)> {
    // The other pods of the namespace have no file of a filter and would refuse the listener that asks for it.
    let pod = mesh.istio.start_pod(&PodOptions { labels: &[("app", "watched")], ..client(name) })?;
    fs::copy(repository().join("target/byname.wasm"), pod.ecds().join("byname.wasm"))?;
    let mut command = Command::new(byname_program()?);
    command.args(["watch", "--namespace", "shop", "--visible", "shop", "--visible", "billing"]);
    command.arg("--config").arg(repository().join(BY_ENDPOINT));
    command.args(["--module", "/etc/byname/ecds/byname.wasm", "--filter-name", "byname", "--kubeconfig"]);
    command.arg(mesh.cluster.admin()).arg("--output-file").arg(pod.ecds().join("byname.yaml"));
    let mut watch = Part::spawn(command, "watch", &pod.ecds())?;
    watch.wait_until(|_| pod.ecds().join("byname.yaml").is_file())?;
    Ok((pod, watch))
}

/// The EnvoyFilters of steering by endpoint, for the pods of [`start_watched`].
pub(crate) fn by_endpoint(mesh: &Mesh<'_>) -> Result<Vec<Value>> {
    let mut objects = mesh.compile(BY_ENDPOINT, &["--endpoints", "--format", "istio-envoyfilter"])?;
    objects.extend(example("cluster-header/watch.yaml")?);
    for object in &mut objects {
        object["spec"]["workloadSelector"] = json!({"labels": {"app": "watched"}});
    }
    Ok(objects)
}

pub(crate) fn watch_steers_to_endpoints(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    mesh.wait_for("suggest", "suggest")?;
    mesh.cluster.apply(&[json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "empty"},
        "spec": {"selector": {"app": "nothing"}, "ports": [{"name": "http", "port": 80}]},
    })])?;
    let (pod, _watch) = start_watched(mesh, "watched")?;
    mesh.istio.apply_only(&by_endpoint(mesh)?)?;
    eventually("the pod steers to endpoints", || {
        let answer = pod.get("empty")?;
        expect(answer.status == 503 && answer.headers.contains("x-byname-reason: no_endpoints"), &answer)
    })?;
    reaches_every_row(&pod)?;
    let scale = |replicas: &str| {
        mesh.cluster.kubectl(&["scale", "deployment", "checkout", "-n", "shop", "--replicas", replicas])
    };
    scale("1")?;
    eventually("the requests go to the endpoint that is left", || {
        let pods: Result<Vec<Value>> = (0..6).map(|_| Ok(pod.get("checkout")?.body["pod"].clone())).collect();
        let pods = pods?;
        Ok(pods.iter().all(|name| *name == pods[0] && name.is_string()))
    })?;
    scale("2")?;
    mesh.cluster.kubectl(&["delete", "service", "empty", "-n", "shop"])?;
    Ok(())
}
