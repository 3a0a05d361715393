//! Images that cannot be had, tables that the filter refuses, and pushes under load.

use anyhow::{Context, Result, ensure};
use byname_cluster::{HOST_OUTSIDE, Pod, byname_program, eventually};
use byname_core::wire::Packed;
use byname_test_support::{CHECKOUT, RECOMMEND, Shell, image::sha256, module};
use serde_json::{Value, json};

use crate::istio::{
    mesh::{AUTHORITY, Mesh, client, expect, steadily},
    names::reaches_every_row,
    stream,
    whole_mesh::{table_gauge, wait_for_table},
};

const DENIED: &str = "RBAC: access denied";
const PUSHES: usize = 20;

fn is_denied(pod: &Pod) -> Result<bool> {
    let answer = pod.get("checkout")?;
    expect(answer.status == 403 && answer.text == DENIED, &answer)
}

pub(crate) fn another_image_denies_all_requests(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    let mut plugin = mesh.plugin(AUTHORITY)?;
    plugin["spec"]["sha256"] = "0".repeat(64).into();
    mesh.istio.apply_only(&[plugin.clone()])?;
    eventually("a running pod is denied", || is_denied(&mesh.client))?;
    let pod = mesh.istio.start_pod(&client("without-image"))?;
    eventually("a new pod is denied", || is_denied(&pod))?;
    // FAIL_OPEN lets them through, unsteered.
    plugin["spec"]["failStrategy"] = "FAIL_OPEN".into();
    mesh.istio.apply_only(&[plugin])?;
    for pod in [&mesh.client, &pod] {
        eventually("FAIL_OPEN lets requests through", || {
            let answer = pod.get("suggest")?;
            expect(answer.status == 200 && answer.said("authority") == "suggest", &answer)
        })?;
    }
    mesh.apply_with_authority(&[])
}

pub(crate) fn an_image_that_cannot_be_pulled_denies_all_requests(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    mesh.wait_for("suggest", "suggest")?;
    let mut plugin = mesh.plugin(AUTHORITY)?;
    let image = plugin["spec"]["url"].as_str().context("a URL")?.replace("/byname:", "/nothing:");
    plugin["spec"]["url"] = image.into();
    plugin["spec"].as_object_mut().context("an object")?.remove("sha256");
    mesh.istio.apply_only(&[plugin])?;
    eventually("a running pod is denied", || is_denied(&mesh.client))?;
    // As soon as the image is there all is well.
    mesh.apply_with_authority(&[])
}

/// Changes the table and waits until the client has the change. Returns how often the registry was asked meanwhile.
fn pulls_of_a_change(mesh: &Mesh<'_>, plugin: &Value, suggest: &str) -> Result<usize> {
    let before = mesh.istio.pulls();
    let mut next = plugin.clone();
    next["spec"]["pluginConfig"]["table"]["services"]["shop/suggest"]["externalName"] = suggest.into();
    mesh.cluster.apply(&[next])?;
    mesh.wait_for("suggest", suggest)?;
    Ok(mesh.istio.pulls() - before)
}

pub(crate) fn the_agent_asks_the_registry_again_only_if_the_policy_says_so(mesh: &Mesh<'_>) -> Result<()> {
    let with_digest = mesh.plain_plugin(AUTHORITY)?;
    let mut without_digest = with_digest.clone();
    without_digest["spec"].as_object_mut().context("an object")?.remove("sha256");
    let mut latest = without_digest.clone();
    latest["spec"]["url"] = mesh.istio.latest_image().into();
    let mut always = without_digest.clone();
    always["spec"]["imagePullPolicy"] = "Always".into();
    let rows = [
        ("a digest", with_digest, false),
        ("a tag", without_digest, false),
        ("latest", latest, true),
        ("Always", always, true),
    ];
    for (what, plugin, asks_again) in rows {
        mesh.istio.apply_only(&[])?;
        mesh.wait_for("suggest", "suggest")?;
        pulls_of_a_change(mesh, &plugin, RECOMMEND)?;
        let pulls = pulls_of_a_change(mesh, &plugin, CHECKOUT)?;
        assert_eq!(pulls > 0, asks_again, "{what}: {pulls} pulls");
    }
    Ok(())
}

pub(crate) fn the_module_comes_from_a_web_server(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[])?;
    mesh.wait_for("suggest", "suggest")?;
    let mut plugin = mesh.plugin(AUTHORITY)?;
    plugin["spec"]["url"] = format!("https://{HOST_OUTSIDE}/byname.wasm").into();
    // For https:// it is the digest of the module, not that of an image.
    plugin["spec"]["sha256"] = sha256(&module()?).into();
    mesh.istio.apply_only(&[plugin])?;
    mesh.wait_for("_http._tcp.checkout", CHECKOUT)
}

/// How many tables the pod's Envoy has rejected.
fn rejections(pod: &Pod) -> usize {
    pod.log().matches("TypedExtensionConfig rejected").count()
}

/// As it is today: a pod that has no last known good table answers 500 to all outbound HTTP, and is ready.
pub(crate) fn a_refused_table_keeps_the_last_good_one_in_running_pods(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    // A pod whose Envoy has refused nothing before.
    let running = mesh.istio.start_pod(&client("refuses-once"))?;
    let status = |code: u8| {
        let shell = Shell::new(&[("byname", &byname_program()?)])?.kubeconfig(&mesh.cluster.admin());
        shell.run(&format!("byname status shop/refuses-once; [ $? = {code} ]"))
    };
    eventually("the new pod steers", || {
        let answer = running.get("_http._tcp.checkout")?;
        expect(answer.said("authority") == CHECKOUT, &answer)
    })?;
    let good = status(0)?;
    ensure!(!good.contains("\n  refused "), "{good}");
    let before = rejections(&mesh.client);
    let steers_on = || {
        for pod in [&mesh.client, &running] {
            let answer = pod.get("_http._tcp.checkout")?;
            assert_eq!(answer.said("authority"), CHECKOUT, "{answer:?}");
        }
        Ok::<_, anyhow::Error>(())
    };
    let mut plugin = mesh.plugin(AUTHORITY)?;
    plugin["spec"]["pluginConfig"]["version"] = 2.into();
    mesh.cluster.apply(&[plugin])?;
    eventually("the sidecar refuses the table", || Ok(rejections(&mesh.client) > before))?;
    steers_on()?;
    eventually("status counts the refused push", || {
        let status = status(1)?;
        let line = "\n  refused   1 push since Envoy started; the last known good table serves on\n";
        ensure!(status.contains(line), "{status}");
        Ok(true)
    })?;
    // `start_pod` has waited until the pod is ready.
    let pod = mesh.istio.start_pod(&client("without-table"))?;
    steadily("a new pod answers 500", || {
        let answer = pod.get("checkout")?;
        expect(answer.status == 500 && answer.text.is_empty(), &answer)
    })?;
    steers_on()?;
    mesh.cluster.apply(&[mesh.plugin(AUTHORITY)?])?;
    eventually("the new pod steers with a good table", || {
        let answer = pod.get("_http._tcp.checkout")?;
        expect(answer.said("authority") == CHECKOUT, &answer)
    })?;
    Ok(())
}

/// The plugin with a packed table of this version, as `compile` writes it. If `is_bad`, a port of `catalog` is 0.
fn plugin_with_catalog(mesh: &Mesh<'_>, version: u32, is_bad: bool) -> Result<Value> {
    let mut plugin = mesh.plain_plugin(AUTHORITY)?;
    let config = &mut plugin["spec"]["pluginConfig"];
    assert_eq!(config["firstConfiguration"], "leaveOut", "{config}");
    let mut services = config["table"]["services"].take();
    if is_bad {
        services["shop/catalog"]["ports"][0]["port"] = 0.into();
    }
    config["table"] = json!({"version": version, "packed": Packed::new(&services.to_string())});
    Ok(plugin)
}

/// Waits until the pod reaches `catalog` by some of its names. If byname resolves them, the Host is the whole name; Istio's own routes
/// leave it as it was.
fn reaches_catalog(pod: &Pod, is_resolved: bool) -> Result<()> {
    for name in ["catalog", "catalog.shop", "catalog.shop.svc"] {
        let host = if is_resolved { "catalog.shop.svc.cluster.local" } else { name };
        steadily(&format!("{name} is {host}"), || {
            let answer = pod.get(name)?;
            expect(answer.said("authority") == host && answer.said("pod").starts_with("shop/catalog-"), &answer)
        })?;
    }
    Ok(())
}

/// A new pod serves a table without its bad Service, which Istio's own routes reach, while running pods keep the last known good table.
pub(crate) fn a_bad_service_is_left_out_in_new_pods_alone(mesh: &Mesh<'_>) -> Result<()> {
    mesh.istio.apply_only(&[plugin_with_catalog(mesh, 1, false)?])?;
    wait_for_table(&mesh.client, 1)?;
    mesh.wait_for("_http._tcp.checkout", CHECKOUT)?;
    let before = rejections(&mesh.client);
    mesh.cluster.apply(&[plugin_with_catalog(mesh, 2, true)?])?;
    eventually("a running pod rejects the table", || Ok(rejections(&mesh.client) > before))?;

    let pod = mesh.istio.start_pod(&client("with-bad-service"))?;
    wait_for_table(&pod, 2)?;
    assert_eq!(table_gauge(&pod, "left_out")?, 1);
    let why = "serves without 1 Services that cannot be taken; correct them, and push it again: \
               table.services[\"shop/catalog\"].ports[0].port: \"0\" is not a port";
    eventually("the log says which and why", || Ok(pod.log().contains(why)))?;
    reaches_every_row(&pod)?;
    reaches_catalog(&pod, false)?;

    assert_eq!((table_gauge(&mesh.client, "version")?, table_gauge(&mesh.client, "left_out")?), (1, 0));
    reaches_every_row(&mesh.client)?;
    reaches_catalog(&mesh.client, true)?;

    mesh.cluster.apply(&[plugin_with_catalog(mesh, 3, false)?])?;
    for pod in [&pod, &mesh.client] {
        wait_for_table(pod, 3)?;
        assert_eq!(table_gauge(pod, "left_out")?, 0);
        reaches_every_row(pod)?;
        reaches_catalog(pod, true)?;
    }
    Ok(())
}

/// As it is today: Envoy takes no listener whose filter has a refused table, so a Service whose port is the first of its number is
/// not reached. A table that is good again is not enough: istiod sends the listeners before it, and once more with the next push.
pub(crate) fn a_refused_table_holds_up_listeners_of_new_ports(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    let mut plugin = mesh.plugin(AUTHORITY)?;
    plugin["spec"]["pluginConfig"]["version"] = 2.into();
    let before = rejections(&mesh.client);
    mesh.cluster.apply(&[plugin])?;
    eventually("the sidecar refuses the table", || Ok(rejections(&mesh.client) > before))?;
    mesh.cluster.apply(&[json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "late"},
        "spec": {"selector": {"app.kubernetes.io/name": "checkout"}, "ports": [{"name": "http", "port": 8888, "targetPort": 8080}]},
    })])?;
    eventually("the sidecar refuses the listener", || {
        Ok(mesh.client.log().contains("listener '0.0.0.0_8888' config rejected"))
    })?;
    let reaches = || -> Result<bool> {
        let answer = mesh.client.curl(&["-m", "3", "http://late:8888/"])?;
        expect(answer.said("pod").starts_with("shop/checkout-"), &answer)
    };
    assert!(reaches().is_err(), "a listener is there");
    // As `kubectl replace` does.
    let good = mesh.plain_plugin(AUTHORITY)?;
    pulls_of_a_change(mesh, &good, CHECKOUT)?;
    assert!(reaches().is_err(), "istiod sent the listener after the table");
    pulls_of_a_change(mesh, &good, RECOMMEND)?;
    eventually("the Service is reached after another push", reaches)?;
    mesh.cluster.kubectl(&["delete", "service", "late", "-n", "shop"])?;
    Ok(())
}

pub(crate) fn pushes_under_load_fail_no_request(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    let urls = ["http://checkout/", "http://suggest/", "http://ledger.billing/", "http://_http._tcp.cart/"];
    let load = mesh.client.start("load", &[&["load"], &urls[..]].concat())?;
    let plugin = mesh.plain_plugin(AUTHORITY)?;
    for push in 0..PUSHES {
        let host = if push % 2 == 0 { CHECKOUT } else { RECOMMEND };
        let mut next = plugin.clone();
        next["spec"]["pluginConfig"]["table"]["services"]["shop/suggest"]["externalName"] = host.into();
        mesh.cluster.apply(&[next])?;
        mesh.wait_for("suggest", host)?;
    }
    let report = stream::report(&load)?;
    println!("{PUSHES} pushes: {report}");
    assert_eq!(report["failures"], json!(0), "{report}");
    assert!(report["requests"].as_u64() > Some(1000), "{report}");
    // One for each of the four clients and each host: no push closes a connection.
    assert!(report["connections"].as_u64() <= Some(16), "{report}");
    Ok(())
}
