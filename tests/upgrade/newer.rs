//! Configurations that are newer than the module: it serves them, leaves fields out and says so, or refuses them as a whole.

use std::fs;

use anyhow::{Context, Result};
use byname_core::wire;
use byname_test_support::{
    Connection, Envoy, RequestForm, repository,
    scenario::{BOOTSTRAP, DemoCaller, Stage},
    with_fields, yaml_documents,
};
use serde_json::{Value, json};

use crate::{VERSION, last_release, wait};

const LEFT_OUT: &str = "wasmcustom.byname.fields_left_out";

/// What `byname compile` writes today for the shop in this format. Its own tests compare the snapshot with the program.
fn output(format: &str) -> Result<String> {
    let path = repository().join(format!("crates/cli/tests/snapshots/outputs__{format}.snap"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (_, output) = text.split_once("\n---\n").context("a snapshot without its header")?;
    Ok(output.to_owned())
}

async fn assert_serves_as_before(connection: &mut Connection, what: &str) -> Result<()> {
    let reply = connection.get("payments", &[]).await?;
    assert_eq!((reply.status, &*reply.said("upstream")), (200, "payments in shop"), "{what}");
    Ok(())
}

#[tokio::test]
async fn the_last_releases_module_refuses_newer_output_as_a_whole() -> Result<()> {
    let builder = Envoy::builder(BOOTSTRAP).edit("target/byname.wasm", &last_release::module());
    let stage = Stage::start_with(builder).await?;
    let envoy = &stage.envoy;
    let filter = envoy.filter("shop")?;
    let by_hand = |fields: Value| with_fields(filter.configuration.clone(), fields).to_string();
    let plugin = yaml_documents(&output("istio-wasmplugin")?)?.into_iter().next().context("no WasmPlugin")?;
    let packed = &plugin["spec"]["pluginConfig"];
    assert!(packed["table"]["packed"].is_object() && packed["destinationPort"].is_object(), "{packed}");
    let rows = [
        ("plain output", output("table")?, "minor"),
        ("packed output", packed.to_string(), "destinationPort"),
        ("a destinationPort", by_hand(json!({"destinationPort": {}})), "destinationPort"),
        ("a packed table", by_hand(json!({"table": packed["table"]})), "packed"),
        ("a trial", by_hand(json!({"mode": "observe"})), "mode"),
        ("a required feature", by_hand(json!({"requires": ["table.packed"]})), "requires"),
    ];
    let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Host).await?;
    for (what, text, unknown) in rows {
        envoy.push_text("shop", &filter.with_text(&text), "update_rejected").await?;
        envoy.wait_for_log(&format!("{unknown} cannot be read: unknown field `{unknown}`")).await?;
        assert_eq!(envoy.stat(VERSION).await?, 1, "{what}");
        assert_serves_as_before(&mut connection, what).await?;
    }
    assert_eq!(envoy.stat("wasmcustom.byname.host_errors").await?, 0);
    Ok(())
}

#[tokio::test]
async fn fields_of_a_newer_configuration_are_left_out_or_refused() -> Result<()> {
    let stage = Stage::start().await?;
    let envoy = &stage.envoy;
    let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Host).await?;
    let filter = envoy.filter("shop")?;
    let mut newer = filter.clone();
    newer.configuration["minor"] = (wire::MINOR + 1).into();
    newer.configuration["budgets"] = json!({"retries": 3});
    newer.configuration["table"]["version"] = 2.into();
    newer.configuration["table"]["services"]["shop/payments"]["quota"] = 5.into();

    envoy.push("shop", &newer, "config_reload").await?;
    wait(envoy, VERSION, |now| now == 2).await?;
    assert_eq!(envoy.stat(LEFT_OUT).await?, 2);
    envoy
        .wait_for_log(
            "2 fields of a newer version of byname were left out, the first is \"budgets\"; update the module",
        )
        .await?;
    assert_serves_as_before(&mut connection, "without the fields").await?;

    let mut required = newer.clone();
    required.configuration["requires"] = json!(["table.quota"]);
    required.configuration["table"]["version"] = 3.into();
    let mut by_hand = newer.clone();
    by_hand.configuration["minor"] = Value::Null;
    by_hand.configuration["table"]["version"] = 3.into();
    let rows = [
        (&required, "requires[0]: \"table.quota\" is a feature that this module does not know"),
        (&by_hand, "unknown field `budgets`"),
    ];
    for (refused, words) in rows {
        envoy.push("shop", refused, "update_rejected").await?;
        envoy.wait_for_log(words).await?;
        assert_eq!((envoy.stat(VERSION).await?, envoy.stat(LEFT_OUT).await?), (2, 2), "{words}");
        assert_serves_as_before(&mut connection, words).await?;
    }

    envoy.push("shop", &filter, "config_reload").await?;
    wait(envoy, LEFT_OUT, |now| now == 0).await?;
    Ok(())
}
