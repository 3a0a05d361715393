//! Modules of other ages than the server: each gets the filter in a form that it reads.

use byname_core::wire;
use byname_test_support::{Envoy, TestUpstream};
use envoy_types::pb::envoy::config::core::v3::Node;

use crate::{
    client::{FILTER, XdsClient, node, text},
    program::{ServeProcess, ask, eventually, service, slices},
};

const MINOR: &str = "\"minor\"";

fn telling(schema: Option<&str>) -> Node {
    let schema = schema.map(|schema| ("BYNAME_SCHEMA", schema));
    node("shop-0", &[[("NAMESPACE", "shop")].as_slice(), schema.as_slice()].concat())
}

fn current() -> String {
    format!("{}.{}", wire::VERSION, wire::MINOR)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_gets_the_form_of_the_schema_that_it_tells() {
    let program = ServeProcess::start(&[service("shop/web")]).await;
    let newer = format!("{}.{}", wire::VERSION, wire::MINOR + 1);
    let older = format!("{}.{}", wire::VERSION, wire::MINOR - 1);
    for (schema, has_minor) in
        [(None, false), (Some(&*older), false), (Some("new"), false), (Some(&*current()), true), (Some(&*newer), true)]
    {
        let mut client = XdsClient::open(program.port, telling(schema)).await;
        let message = client.take().await.unwrap();
        let text = text(&message.resources[0]);
        assert!(text.contains("\"shop/web\""), "{text}");
        assert_eq!(text.contains(MINOR), has_minor, "{schema:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_refuses_the_filter_gets_the_oldest_form() {
    let program = ServeProcess::start(&[service("shop/web")]).await;
    let mut client = XdsClient::open(program.port, telling(Some(&current()))).await;
    let message = client.next().await.unwrap();
    assert!(text(&message.resources[0]).contains(MINOR));
    client.nack(&message, "Unable to create Wasm plugin byname");
    let oldest = client.next().await.unwrap();
    assert_eq!((&*oldest.type_url, &*oldest.resources[0].name), (FILTER, "byname"));
    assert!(!text(&oldest.resources[0]).contains(MINOR));
    assert_ne!(oldest.resources[0].version, message.resources[0].version);
    program
        .wait_for_log("refused filter byname: Unable to create Wasm plugin byname; it is sent again in the form")
        .await;
    client.ack(&oldest);
    // It stays with that form.
    program.write(&[service("shop/web"), service("shop/other")]);
    let changed = text(&client.take().await.unwrap().resources[0]);
    assert!(changed.contains("\"shop/other\"") && !changed.contains(MINOR), "{changed}");
    // One that refuses this form too gets it again when its content changes, and not before.
    let mut client = XdsClient::open(program.port, telling(None)).await;
    let message = client.next().await.unwrap();
    client.nack(&message, "a text without bounds: 1");
    program.wait_for_log("refused filter byname: a text without bounds: 1; Envoy keeps its last known good one").await;
    program.write(&[service("shop/web")]);
    assert!(text(&client.take().await.unwrap().resources[0]).contains("\"shop/web\""));
    for (reason, wanted) in [("module", 1.0), ("other", 1.0), ("invalid", 0.0)] {
        let name = format!("rejections_total{{type=\"filter\",reason=\"{reason}\"}}");
        assert_eq!(program.metric(&name).await, wanted, "{reason}");
    }
    let streams = program.get("/debug/streams").await.body;
    assert!(streams.contains("rejections=1\tlast_rejection=filter byname: a text without bounds: 1"), "{streams}");
}

/// The oldest form is what the last release's module reads.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_releases_module_serves_from_todays_server() {
    let (one, passthrough) = (TestUpstream::start("one").await.unwrap(), TestUpstream::start("pass").await.unwrap());
    let web = [vec![service("shop/web")], slices("shop/web", &[&one])].concat();
    let program = ServeProcess::start_with_module(&web, "tests/fixtures/last-release/byname.wasm").await;
    for schema in [None, Some(current())] {
        let mut envoy = Envoy::builder("serve.yaml").port(18000, program.port).upstream(18080, &passthrough);
        if let Some(schema) = &schema {
            envoy = envoy.edit("NODE_NAME: node-1", &format!("NODE_NAME: node-1, BYNAME_SCHEMA: '{schema}'"));
        }
        let envoy = envoy.start().await.unwrap();
        eventually("the Service answers", async || ask(&envoy, "web").await.said("upstream") == "one").await;
        let rejected = envoy.stat("extension_config_discovery.http_filter.byname.update_rejected").await.unwrap();
        assert_eq!(rejected, u64::from(schema.is_some()), "{schema:?}: {}", program.log());
    }
    // The reason that Envoy gives has a word.
    assert_eq!(program.metric("rejections_total{type=\"filter\",reason=\"module\"}").await, 1.0, "{}", program.log());
}
