//! The alerts and the dashboard of `examples/monitoring`, checked against the metrics of a real Envoy and a real
//! `byname watch`.

use std::{collections::BTreeSet, fs, time::Duration};

use byname_test_support::{
    Connection, Envoy, RequestForm, TestUpstream, kubernetes::KubernetesApi, repository, snippet, yaml_documents,
};
use regex::Regex;
use serde_json::{Value, json};

use crate::{
    program::{WatchProcess, endpoint, service, slice_with_port},
    queries::{MONITORING, Series, asked, missing, scraped},
};

const CONFIG_FAIL: &str = "extension_config_discovery.http_filter.byname-endpoint.config_fail";

/// The shop as the API serves it: `web` has a live and a dead endpoint, and `cart` has only a fallback.
async fn cluster(alive: &TestUpstream, dead: u16) -> KubernetesApi {
    let api = KubernetesApi::start().await.unwrap();
    for name in ["web", "cart", "empty"] {
        api.put(service(&format!("shop/{name}")));
    }
    for port in [alive.port(), dead] {
        api.put(slice_with_port("shop/web", &[endpoint("127.0.0.1", true)], port));
    }
    // The first lists fail.
    api.fail("services", &[500]);
    api.fail("endpointslices", &[410]);
    api
}

async fn watch(api: &KubernetesApi) -> WatchProcess {
    let config = json!({
        "version": 1,
        "steering": {"by": "endpoint", "outlierDetection": {"consecutive5xxErrors": 2}},
        "stats": {"services": 10},
        "fallback": {"services": {"shop/cart": {"service": "shop/web"}}},
        "table": {"singleMachine": true},
    });
    WatchProcess::by_endpoint(api, &config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_and_dashboard_use_existing_metrics() {
    let (alive, passthrough) =
        (TestUpstream::start("web").await.unwrap(), TestUpstream::start("passthrough").await.unwrap());
    let dead = TestUpstream::start("dead").await.unwrap().port();
    let program = watch(&cluster(&alive, dead).await).await;
    let envoy = program.envoy(&passthrough).await;
    let mut connection = Connection::open(envoy.port(15001), RequestForm::Host).await.unwrap();
    for name in ["web", "web", "web", "web", "web", "cart", "empty", "nope", "a,b"] {
        connection.get(name, &[]).await.unwrap();
    }
    // A configuration push that Envoy refuses.
    fs::write(program.directory().join("bad"), "resources: [").unwrap();
    fs::rename(program.directory().join("bad"), &program.output).unwrap();
    let refused = async {
        while envoy.stat(CONFIG_FAIL).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), refused).await.expect("a broken push is counted");
    let mut there = scraped(&envoy.admin("/stats/prometheus").await.unwrap().body);
    there.extend(scraped(&program.get("/metrics").await.1));

    let asked = asked(false);
    assert!(asked.len() > 40, "{} queries", asked.len());
    for (expression, shown) in &asked {
        assert_eq!(missing(expression, shown, &there), [""; 0], "in {expression}");
    }
    // The check finds mistakes.
    for (expression, shown, wrong) in [
        ("sum(rate(byname_reasons[5m]))", "pod", "byname_reasons"),
        ("rate(byname_reason{reason=~\"service|no_endpoint\"}[5m])", "pod", "byname_reason{reason=~\"no_endpoint\"}"),
        ("sum by (why) (byname_reason)", "pod", "why"),
        ("byname_host_errors", "reason", "reason"),
        ("1 + 1", "pod", "any metric"),
    ] {
        assert_eq!(missing(expression, &[shown.to_owned()].into(), &there), [wrong], "in {expression}");
    }
    // The events above are counted under these names.
    for (name, label) in [
        ("byname_reason", "service"),
        ("byname_reason", "no_endpoints"),
        ("byname_reason", "bad_authority"),
        ("byname_reason", "name_not_found"),
        ("byname_reason", "fallback_no_endpoints"),
        ("byname_endpoint_ejections", ""),
        ("envoy_extension_config_discovery_http_filter_config_fail", ""),
        ("byname_watch_errors_total", ""),
    ] {
        let mut of_name = there.iter().filter(|series| series.name() == name);
        let counted = of_name.any(|one| one.value > 0.0 && (label.is_empty() || one.labels["reason"] == label));
        assert!(counted, "{name} {label} is not counted in {there:#?}");
    }
}

/// docs/operations.md explains each alert, alerts.test.yaml tests it, and its runbook is a heading that exists.
#[test]
fn every_alert_has_an_action_a_test_and_a_runbook() {
    let read = |name: &str| fs::read_to_string(repository().join(name)).unwrap();
    let anchor = |heading: &str| heading.replace(' ', "-").to_lowercase();
    let alerts = yaml_documents(&read(&format!("{MONITORING}/alerts.yaml"))).unwrap();
    let (explained, tried) = (read("docs/operations.md"), read(&format!("{MONITORING}/alerts.test.yaml")));
    for rule in alerts[0]["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let name = rule["alert"].as_str().unwrap();
        assert!(explained.contains(&format!("| `{name}` |")), "docs/operations.md does not explain {name}");
        assert!(tried.contains(&format!("alertname=\"{name}\"")), "alerts.test.yaml does not test {name}");
        let annotations = &rule["annotations"];
        assert!(annotations["summary"].is_string() && annotations["action"].is_string(), "{name}");
        let (document, wanted) = annotations["runbook"].as_str().unwrap().split_once('#').unwrap();
        let document = read(document);
        let mut headings =
            document.lines().filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()));
        assert!(headings.any(|heading| anchor(heading) == wanted), "{name} links to #{wanted}, which does not exist");
    }
}

/// Applies `rules`, Prometheus' `metric_relabel_configs`, to a series of an Envoy without stats tags.
fn relabelled(mut series: Series, rules: &Value) -> Series {
    for rule in rules.as_array().unwrap() {
        let field = |name: &str| rule[name].as_str().unwrap();
        assert_eq!(rule["source_labels"], json!(["__name__"]));
        let pattern = Regex::new(&format!("^(?:{})$", field("regex"))).unwrap();
        let name = series.name().to_owned();
        if let Some(found) = pattern.captures(&name) {
            let mut value = String::new();
            found.expand(field("replacement"), &mut value);
            series.labels.insert(field("target_label").to_owned(), value);
        }
    }
    series
}

/// The labels of the filter's series and of its discovery, with the filter's name as Prometheus spells it.
fn series_of(mut all: Vec<Series>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for series in &mut all {
        if let Some(label) = series.labels.get_mut("filter") {
            *label = label.replace('-', "_");
        }
        // These two series are not about the filter, although they begin with a prefix below.
        let is_odd = ["version", "init_fetch_timeout"].iter().any(|end| series.name().ends_with(end));
        let is_ours =
            ["byname_", "envoy_extension_config", "envoy_wasm_"].iter().any(|part| series.name().starts_with(part));
        if is_ours && (!is_odd || series.name().starts_with("byname_")) {
            names.insert(format!("{:?}", series.labels));
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn relabelling_in_prometheus_gives_the_same_labels() {
    let labels = snippet("docs/operations.md", "Labels", "").unwrap();
    let document = format!("{MONITORING}/README.md");
    let rules = yaml_documents(&snippet(&document, "Where the bootstrap is not yours", "").unwrap()).unwrap();
    let with = Envoy::builder("ecds.yaml").start().await.unwrap();
    let without = Envoy::builder("ecds.yaml").edit(&labels, "").start().await.unwrap();
    let text = |text: String| scraped(&text);
    let expected = series_of(text(with.admin("/stats/prometheus").await.unwrap().body));
    let plain = text(without.admin("/stats/prometheus").await.unwrap().body);
    assert!(plain.iter().all(|series| !series.labels.contains_key("reason")), "the labels are gone");
    let made = plain.into_iter().map(|series| relabelled(series, &rules[0]["metric_relabel_configs"])).collect();
    assert!(expected.iter().any(|series| series.contains("byname_shop")) && expected.len() > 50, "{expected:#?}");
    assert_eq!(series_of(made), expected);
}
