//! The first table of an Envoy with a Service that cannot be taken, pushed before and while requests come.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

use anyhow::Result;
use byname_test_support::{Connection, EcdsFile, Envoy, RequestForm, TestResult, TestUpstream};
use serde_json::json;

const LISTENER: u16 = 15001;

/// The filter's file with this version of its table, and with a Service that cannot be taken if `is_bad`.
fn table(filter: &EcdsFile, version: u32, is_bad: bool) -> String {
    let mut filter = filter.clone();
    filter.configuration["firstConfiguration"] = json!("leaveOut");
    filter.configuration["table"]["version"] = version.into();
    if is_bad {
        filter.configuration["table"]["services"]["shop/bad"] = json!({"ports": [{"port": 0}]});
    }
    filter.to_string()
}

/// Asks every worker for a Service that is in each table.
async fn all_serve(envoy: &Envoy) -> TestResult {
    for _ in 0..24 {
        let mut connection = Connection::open(envoy.port(LISTENER), RequestForm::Host).await?;
        let reply = connection.get("payments", &[]).await?;
        assert_eq!((reply.status, reply.said("upstream")), (200, "payments".to_owned()), "{}", reply.body);
    }
    Ok(())
}

async fn gauges(envoy: &Envoy) -> Result<(u64, u64)> {
    let gauge = |name| async move { envoy.stat(&format!("wasmcustom.byname.table.{name}")).await };
    Ok((gauge("version").await?, gauge("left_out").await?))
}

#[tokio::test]
async fn a_first_table_serves_without_its_bad_service() -> TestResult {
    for workers in [1, 4] {
        let (payments, passthrough) =
            (TestUpstream::start("payments").await?, TestUpstream::start("passthrough").await?);
        let bad = "\"services\": {\n                \"shop/bad\": {\"ports\": [{\"port\": 0}]},\n                \"shop/payments\"";
        let envoy = Envoy::builder("endpoint.yaml")
            .concurrency(workers)
            .upstream(18080, &passthrough)
            .edit("\"services\": {\n                \"shop/payments\"", bad)
            .edit(
                "\"version\": 1,\n            \"steering\"",
                "\"version\": 1,\n            \"firstConfiguration\": \"leaveOut\",\n            \"steering\"",
            )
            .edit(
                "[\"127.0.0.1\", \"127.0.0.2\", \"127.0.0.3\"], \"ports\": {\"http\": 18081}",
                &format!("[\"127.0.0.1\"], \"ports\": {{\"http\": {}}}", payments.port()),
            )
            .start()
            .await?;
        envoy.wait_for_log("serves without 1 Services").await?;
        all_serve(&envoy).await?;
        assert_eq!(gauges(&envoy).await?, (1, 1), "{workers} workers");

        let mut filter = envoy.filter("endpoint")?;
        filter.configuration["table"]["services"].as_object_mut().expect("Services").remove("shop/bad");
        // Now there is a last known good table.
        envoy.push_text("endpoint", &table(&filter, 2, true), "update_rejected").await?;
        all_serve(&envoy).await?;
        assert_eq!(gauges(&envoy).await?.0, 1, "the first one serves on");
        // Two pushes in a row: the workers may not have taken the first when the second comes.
        envoy.write_push("endpoint", &table(&filter, 3, false))?;
        envoy.push_text("endpoint", &table(&filter, 4, false), "config_reload").await?;
        all_serve(&envoy).await?;
        envoy.push_text("endpoint", &table(&filter, 5, true), "update_rejected").await?;
        all_serve(&envoy).await?;
        assert_eq!(gauges(&envoy).await?.1, 0, "nothing is left out any more");
    }
    Ok(())
}

#[tokio::test]
async fn a_first_table_is_refused_where_it_does_not_ask_for_less() -> TestResult {
    let passthrough = TestUpstream::start("passthrough").await?;
    let bad = "\"services\": {\n                \"shop/bad\": {\"ports\": [{\"port\": 0}]},\n                \"shop/payments\"";
    let envoy = Envoy::builder("endpoint.yaml")
        .upstream(18080, &passthrough)
        .edit("\"services\": {\n                \"shop/payments\"", bad)
        .start()
        .await?;
    envoy.wait_for_log("configuration refused").await?;
    // The default of the discovery serves: it knows no name.
    let mut connection = Connection::open(envoy.port(LISTENER), RequestForm::Host).await?;
    assert_eq!(connection.get("payments", &[]).await?.said("upstream"), "passthrough");
    Ok(())
}
