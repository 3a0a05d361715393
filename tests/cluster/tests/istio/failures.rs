//! Images that cannot be had, tables that the filter refuses, and pushes under load.

use anyhow::{Context, Result};
use byname_cluster::{Pod, eventually};
use serde_json::{Value, json};

use crate::istio::mesh::{AUTHORITY, CHECKOUT, Mesh, RECOMMEND, client, expect, steadily};

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

/// As it is today: a pod that has no last good table answers 500 to all outbound HTTP, and is ready.
pub(crate) fn a_refused_table_keeps_the_last_good_one_in_running_pods(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    let rejections = || Ok::<_, anyhow::Error>(mesh.client.log().matches("rejected").count());
    let before = rejections()?;
    let steers_on = || {
        let answer = mesh.client.get("_http._tcp.checkout")?;
        assert_eq!(answer.said("authority"), CHECKOUT, "{answer:?}");
        Ok::<_, anyhow::Error>(())
    };
    let mut plugin = mesh.plugin(AUTHORITY)?;
    plugin["spec"]["pluginConfig"]["version"] = 2.into();
    mesh.cluster.apply(&[plugin])?;
    eventually("the sidecar refuses the table", || Ok(rejections()? > before))?;
    steers_on()?;
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

pub(crate) fn pushes_under_load_fail_no_request(mesh: &Mesh<'_>) -> Result<()> {
    mesh.apply_with_authority(&[])?;
    let urls = ["http://checkout/", "http://suggest/", "http://ledger.billing/", "http://_http._tcp.cart/"];
    let load = mesh.client.start("load", &[&["load"], &urls[..]].concat())?;
    let plugin = mesh.plugin(AUTHORITY)?;
    for push in 0..PUSHES {
        let host = if push % 2 == 0 { CHECKOUT } else { RECOMMEND };
        let mut next = plugin.clone();
        next["spec"]["pluginConfig"]["table"]["services"]["shop/suggest"]["externalName"] = host.into();
        mesh.cluster.apply(&[next])?;
        mesh.wait_for("suggest", host)?;
    }
    let reports = || -> Vec<Value> { load.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect() };
    let done = reports().len();
    eventually("the load reports once more", || Ok(reports().len() > done + 1))?;
    let report = reports().pop().context("a report")?;
    println!("{PUSHES} pushes: {report}");
    assert_eq!(report["failures"], json!(0), "{report}");
    assert!(report["requests"].as_u64() > Some(1000), "{report}");
    Ok(())
}
