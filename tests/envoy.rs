//! The shipped module in a real Envoy. A test fails if Envoy or the module is missing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use byname_test_support::{
    Connection, Envoy, FORMS, RequestForm, TestResult, TestUpstream,
    scenario::{self, DemoCaller, ExpectedReply, ROWS, Stage},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test]
async fn every_row_of_the_demo_holds_in_every_form() -> TestResult {
    let stage = Stage::start().await?;
    let mut wrong = Vec::new();
    for form in FORMS {
        for row in &ROWS {
            let outcome = stage.ask(row, &mut stage.connect(row.caller, form).await?).await?;
            if !row.can_be_sent_as(form) {
                assert_eq!((outcome.reply.status, &*outcome.reason), (400, ""), "Envoy itself refuses {}", row.asked);
                continue;
            }
            wrong.extend(outcome.differs(row).map(|differs| format!("{form:?}: {differs}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test]
async fn a_push_takes_effect_on_open_connections() -> TestResult {
    let stage = Stage::start().await?;
    let original = stage.envoy.filter("shop")?;
    let pay = ROWS.iter().find(|row| row.asked == "pay").expect("there is one");
    for form in FORMS {
        let mut connection = stage.connect(DemoCaller::Shop, form).await?;
        assert_eq!(stage.ask(pay, &mut connection).await?.differs(pay), None);
        stage.envoy.push("shop", &scenario::moved(original.clone())?, "config_reload").await?;
        assert_eq!(stage.ask(&scenario::MOVED, &mut connection).await?.differs(&scenario::MOVED), None, "{form:?}");
        assert_eq!(stage.envoy.stat("wasmcustom.byname.table.version").await?, 2);
        stage.envoy.push("shop", &original, "config_reload").await?;
        assert_eq!(stage.ask(pay, &mut connection).await?.differs(pay), None);
    }
    assert_eq!(stage.envoy.stat("http.shop.downstream_cx_destroy_local").await?, 0, "Envoy closed no connection");
    Ok(())
}

/// While clients ask, the mode changes back and forth, and no request fails.
#[tokio::test]
async fn a_push_changes_the_mode_under_load() -> TestResult {
    let stage = Stage::start().await?;
    let enforced = stage.envoy.filter("shop")?;
    let mut observed = enforced.clone();
    observed.configuration["mode"] = json!("observe");
    let (payments, port) = (&ROWS[0], stage.envoy.port(DemoCaller::Shop.port()));
    let (asked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = FORMS
        .into_iter()
        .map(|form| {
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut connection = Connection::open(port, form).await?;
                while !stop.load(Ordering::Relaxed) {
                    let reply = connection.get("payments", &[]).await?;
                    let said = (reply.said("upstream"), reply.said("authority"));
                    let is_observed = said == ("passthrough".to_owned(), "payments".to_owned());
                    let is_steered =
                        said == ("payments in shop".to_owned(), "payments.shop.svc.cluster.local".to_owned());
                    anyhow::ensure!(reply.status == 200 && (is_observed || is_steered), "{} {said:?}", reply.status);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for _ in 0..4 {
        for (filter, is_observed) in [(&observed, true), (&enforced, false)] {
            stage.envoy.push("shop", filter, "config_reload").await?;
            let before = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < before + 50 && clients.iter().all(|client| !client.is_finished()) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Host).await?;
            let upstream = connection.get("payments", &[]).await?.said("upstream");
            assert_eq!(upstream, if is_observed { "passthrough" } else { "payments in shop" });
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await??;
    }
    assert_eq!(
        stage.ask(payments, &mut stage.connect(DemoCaller::Shop, RequestForm::Host).await?).await?.differs(payments),
        None
    );
    assert!(asked.load(Ordering::Relaxed) > 400);
    assert_eq!(stage.envoy.stat("http.shop.downstream_cx_destroy_local").await?, 0, "Envoy closed no connection");
    Ok(())
}

/// While requests of an earlier table are open, Envoy goes back to its root context when it is pushed the same text again, and configures
/// nothing on the worker.
#[tokio::test]
async fn a_push_back_to_an_earlier_table_takes_effect_beside_its_open_requests() -> TestResult {
    const TUNNELS: u64 = 8;
    let stage = Stage::start().await?;
    let original = stage.envoy.filter("shop")?;
    let pay = ROWS.iter().find(|row| row.asked == "pay").expect("there is one");
    let open = async || {
        let mut tunnels = Vec::new();
        for _ in 0..TUNNELS {
            let mut tunnel = TcpStream::connect(("127.0.0.1", stage.envoy.port(DemoCaller::Shop.port()))).await?;
            tunnel.write_all(b"CONNECT pay:80 HTTP/1.1\r\nHost: pay:80\r\n\r\n").await?;
            tunnel.readable().await?;
            tunnels.push(tunnel);
        }
        anyhow::Ok(tunnels)
    };
    // The text that will be pushed again: the file at the start has the same table in other bytes.
    stage.envoy.push("shop", &original, "config_reload").await?;
    let mut tunnels = open().await?;
    for round in 0..4 {
        for (filter, row) in [(scenario::moved(original.clone())?, &scenario::MOVED), (original.clone(), pay)] {
            stage.envoy.push("shop", &filter, "config_reload").await?;
            // From the third round on, both tables have open requests.
            if round == 1 && !std::ptr::eq(row, pay) {
                tunnels.extend(open().await?);
            }
            // Enough connections that each worker has one.
            for _ in 0..8 {
                let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Host).await?;
                assert_eq!(stage.ask(row, &mut connection).await?.differs(row), None);
            }
        }
    }
    let active = stage.envoy.stat("http.shop.downstream_rq_active").await?;
    assert_eq!(active, 2 * TUNNELS, "the tunnels are still open");
    drop(tunnels);
    Ok(())
}

#[tokio::test]
async fn a_bad_push_leaves_the_last_known_good_table() -> TestResult {
    let stage = Stage::start().await?;
    let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Host).await?;
    let payments = &ROWS[0];
    let original = stage.envoy.filter("shop")?;
    let changed = |pointer: &str, value: Value| {
        let mut filter = original.clone();
        *filter.configuration.pointer_mut(pointer).expect("it is there") = value;
        filter.to_string()
    };
    let mut unknown = original.clone();
    unknown.configuration["tables"] = json!({});
    let bad = [
        ("unknown field", unknown.to_string(), "unknown field `tables`"),
        ("wrong version", changed("/version", json!(2)), "version: \"2\" is not a configuration version"),
        (
            "port 0",
            changed("/table/services/shop~1payments/ports/0/port", json!(0)),
            "table.services[\"shop/payments\"].ports[0].port: \"0\"",
        ),
        (
            "alias to an IPv4 address",
            changed("/table/services/shop~1pay/externalName", json!("10.1")),
            "\"10.1\" reads as an IPv4 address",
        ),
        ("broken JSON", original.with_text("{\"version\": 1,"), "EOF while parsing"),
        (
            "cut in a table",
            original.with_text(&original.configuration.to_string().chars().take(900).collect::<String>()),
            "EOF while parsing",
        ),
        ("empty", original.with_text(""), "it is empty"),
        ("not JSON", original.with_text("\u{0}\u{1}"), "cannot be read"),
        (
            "two documents",
            original.with_text("{\"version\": 1, \"caller\": {\"namespace\": \"shop\"}} {}"),
            "the configuration cannot be read: trailing characters",
        ),
        (
            "a struct",
            original
                .to_string()
                .replace("protobuf.StringValue\n", "protobuf.Struct\n")
                .replace("value: \"", "value: {version: 1} #"),
            "write the JSON into a google.protobuf.StringValue",
        ),
    ];
    for (what, text, says) in &bad {
        stage.envoy.push_text("shop", text, "update_rejected").await?;
        stage.envoy.wait_for_log(says).await?;
        assert_eq!(stage.ask(payments, &mut connection).await?.differs(payments), None, "after {what}");
    }
    assert_eq!(stage.envoy.stat("wasmcustom.byname.configurations_refused").await?, bad.len() as u64);
    assert_eq!(stage.envoy.stat("wasmcustom.byname.table.version").await?, 1, "gauges show the table in use");
    // The next good push takes effect.
    stage.envoy.push("shop", &scenario::moved(original)?, "config_reload").await?;
    assert_eq!(stage.ask(&scenario::MOVED, &mut connection).await?.differs(&scenario::MOVED), None);
    Ok(())
}

#[tokio::test]
async fn a_bad_first_push_leaves_the_default_that_passes_everything() -> TestResult {
    let passthrough = TestUpstream::start("passthrough").await?;
    let envoy = Envoy::builder("ecds.yaml")
        .upstream(18080, &passthrough)
        .edit(
            "\"version\": 1,\n            \"caller\": {\"namespace\": \"shop\"}",
            "\"version\": 9, \"caller\": {\"namespace\": \"shop\"}",
        )
        .start()
        .await?;
    envoy.wait_for_log("version: \"9\" is not a configuration version").await?;
    let reply = Connection::open(envoy.port(15001), RequestForm::Host).await?.get("payments", &[]).await?;
    assert_eq!((reply.status, reply.said("upstream").as_str()), (200, "passthrough"));
    Ok(())
}

/// Sets of control headers that would steer to `payments in prod`.
fn forged() -> Vec<Vec<(&'static str, &'static str)>> {
    const TARGET: &str = "outbound|80||payments.prod.svc.cluster.local";
    vec![
        vec![("x-byname-cluster", TARGET)],
        vec![("x-byname-cluster", TARGET), ("x-byname-cluster", TARGET)],
        vec![("x-byname-cluster", "nowhere"), ("x-byname-cluster", TARGET)],
        vec![("x-byname-cluster", "")],
    ]
}

#[tokio::test]
async fn a_clients_control_header_never_steers() -> TestResult {
    let working = Stage::start().await?;
    for form in FORMS {
        for headers in forged() {
            for row in ROWS.iter().filter(|row| matches!(row.asked, "payments" | "www.example.org" | "payments:8080")) {
                let mut connection = working.connect(row.caller, form).await?;
                let reply = connection.get(row.asked, &headers).await?;
                let ExpectedReply::Upstream { name, .. } = row.expected else { panic!("these rows reach upstreams") };
                assert_eq!(reply.said("upstream"), name, "{form:?} {headers:?}");
                assert!(reply.sent_on("x-byname-cluster").is_empty(), "no upstream receives the header");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn local_replies_are_one_line_or_grpc() -> TestResult {
    let stage = Stage::start().await?;
    let grpc_statuses = BTreeMap::from([(400, "3"), (403, "7"), (503, "14"), (508, "9")]);
    for row in &ROWS {
        let ExpectedReply::Local { status } = row.expected else { continue };
        let mut connection = stage.connect(row.caller, RequestForm::Host).await?;
        let plain = connection.get(row.asked, &[]).await?;
        assert_eq!(plain.header("content-type"), "text/plain");
        let begins = format!("byname: {}: \"{}\" from namespace shop: ", row.reason, row.asked);
        assert!(plain.body.starts_with(&begins) && plain.body.ends_with('\n'), "{}", plain.body);

        let mut connection = stage.connect(row.caller, RequestForm::Http2).await?;
        let grpc = connection.get(row.asked, &[("content-type", "application/grpc"), ("te", "trailers")]).await?;
        assert_eq!((grpc.status, grpc.header("grpc-status")), (200, grpc_statuses[&status]), "{}", row.asked);
        assert!(grpc.header("grpc-message").starts_with("byname: "), "{:?}", grpc.headers);
        assert_eq!(grpc.header("x-byname-reason"), row.reason);
    }
    Ok(())
}

#[tokio::test]
async fn steering_by_authority_selects_the_route_again() -> TestResult {
    let names = [(18080, "passthrough"), (18081, "payments in shop"), (18082, "payments in prod")];
    let mut builder = Envoy::builder("authority.yaml");
    let mut upstreams = Vec::new();
    for (port, name) in names {
        let upstream = TestUpstream::start(name).await?;
        builder = builder.upstream(port, &upstream);
        upstreams.push(upstream);
    }
    let envoy = builder.start().await?;
    let rows = [
        ("payments", "payments in shop", "payments.shop.svc.cluster.local"),
        ("PAYMENTS.prod:80", "payments in prod", "payments.prod.svc.cluster.local"),
        ("10.96.0.11", "payments in prod", "payments.prod.svc.cluster.local"),
        ("pay", "payments in shop", "payments.shop.svc.cluster.local"),
        ("payments:81", "passthrough", "payments:81"),
        ("nope", "passthrough", "nope"),
    ];
    for form in FORMS {
        for (asked, name, authority) in rows {
            let mut connection = Connection::open(envoy.port(15001), form).await?;
            for headers in [vec![], forged().swap_remove(0)] {
                let reply = connection.get(asked, &headers).await?;
                assert_eq!(
                    (reply.said("upstream").as_str(), reply.said("authority").as_str()),
                    (name, authority),
                    "{form:?} {asked}"
                );
                assert!(reply.sent_on("x-byname-cluster").is_empty());
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn steering_follows_the_configuration() -> TestResult {
    let stage = Stage::start().await?;
    let mut connection = stage.connect(DemoCaller::Shop, RequestForm::Host).await?;
    let mut filter = stage.envoy.filter("shop")?;
    filter.configuration["steering"] =
        json!({"rewriteAuthority": "never", "passCluster": "outbound|80||payments.prod.svc.cluster.local"});
    filter.configuration["trace"] = json!({"requestHeader": "x-byname-trace"});
    stage.envoy.push("shop", &filter, "config_reload").await?;
    let reply = connection.get("payments", &[]).await?;
    assert_eq!((reply.said("upstream").as_str(), reply.said("authority").as_str()), ("payments in shop", "payments"));
    let reply = connection.get("nope", &[("x-byname-trace", "1")]).await?;
    assert_eq!(reply.said("upstream"), "payments in prod", "passed requests go to passCluster");
    let line = "byname: \"nope\" from namespace shop: name_not_found: table version 1; nope.shop.svc.cluster.local does not exist: no such Service";
    stage.envoy.wait_for_log(line).await?;

    filter.configuration["steering"] = json!({"rewriteAuthority": "alias", "forwardedHost": true});
    filter.configuration["unknownNames"] = json!("refuse");
    stage.envoy.push("shop", &filter, "config_reload").await?;
    let reply = connection.get("pay", &[("x-forwarded-host", "forged")]).await?;
    assert_eq!(reply.said("authority"), "payments.shop.svc.cluster.local");
    assert_eq!(reply.sent_on("x-forwarded-host"), ["pay"]);
    let reply = connection.get("payments", &[]).await?;
    assert_eq!(reply.said("authority"), "payments", "only aliases are rewritten");
    for (asked, reason) in [("nope", "name_not_found"), ("payments:81", "port_not_found")] {
        let reply = connection.get(asked, &[]).await?;
        assert_eq!((reply.status, reply.header("x-byname-reason")), (404, reason));
    }
    Ok(())
}

#[tokio::test]
async fn counters_and_gauges_are_in_envoys_statistics() -> TestResult {
    let stage = Stage::start().await?;
    for row in &ROWS {
        stage.connect(row.caller, RequestForm::Host).await?.get(row.asked, &[]).await?;
    }
    let mut expected = BTreeMap::new();
    for row in &ROWS {
        *expected.entry(row.reason.to_owned()).or_insert(0) += 1;
    }
    let counted: BTreeMap<String, u64> =
        stage.envoy.reasons().await?.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, expected);
    let gauges = stage.envoy.stats("wasmcustom.byname.table.").await?;
    let values: Vec<u64> = ["version", "services", "endpoints", "addresses_dropped"]
        .iter()
        .map(|name| gauges[&format!("wasmcustom.byname.table.{name}")])
        .collect();
    assert_eq!(values, [1, 15, 8, 0]);
    let prometheus = stage.envoy.admin("/stats/prometheus").await?.body;
    for line in ["byname_reason{reason=\"alias\"} 3", "byname_table_services{} 15"] {
        assert!(prometheus.lines().any(|other| other == line), "{line} is missing");
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_configuration_in_a_bootstrap_stops_envoy_with_a_reason() -> TestResult {
    let mut envoy = Envoy::builder("cluster.yaml")
        .edit(
            "\"version\": 1,\n                      \"steering\"",
            "\"version\": 1,\n                      \"stearing\"",
        )
        .spawn()?;
    assert_ne!(envoy.wait_until_ended().await?, 0);
    envoy.wait_for_log("stearing cannot be read: unknown field `stearing`").await
}

#[tokio::test]
async fn the_namespace_comes_from_the_node_and_is_required() -> TestResult {
    let shop = TestUpstream::start("payments in shop").await?;
    let prod = TestUpstream::start("payments in prod").await?;
    let builder = || Envoy::builder("cluster.yaml").upstream(18081, &shop).upstream(18082, &prod);
    for (namespace, name) in [("shop", "payments in shop"), ("prod", "payments in prod")] {
        let envoy =
            builder().edit("{NAMESPACE: shop}", &format!("{{NAMESPACE: {namespace}}}")).concurrency(1).start().await?;
        let reply = Connection::open(envoy.port(15001), RequestForm::Host).await?.get("payments", &[]).await?;
        assert_eq!(reply.said("upstream"), name);
    }
    let mut envoy = builder().edit("{NAMESPACE: shop}", "{}").spawn()?;
    assert_ne!(envoy.wait_until_ended().await?, 0);
    envoy.wait_for_log("caller.namespace is not set, and the node's metadata has no NAMESPACE").await
}

#[tokio::test]
async fn only_external_targets_reach_the_dynamic_forward_proxy() -> TestResult {
    let passthrough = TestUpstream::start("passthrough").await?;
    let clear = TestUpstream::start("clear").await?;
    let (tls, certificate) = TestUpstream::start_tls("tls", "weather.example.com").await?;
    let (other, _) = TestUpstream::start_tls("other", "other.example.com").await?;
    let directory = tempfile::tempdir()?;
    let authority_file = directory.path().join("ca.pem");
    std::fs::write(&authority_file, certificate)?;
    let start = |tls_port: u16| {
        Envoy::builder("external.yaml")
            .upstream(18080, &passthrough)
            .edit("18087", &clear.port().to_string())
            .edit("18443", &tls_port.to_string())
            .edit("/etc/ssl/certs/ca-certificates.crt", &authority_file.display().to_string())
            .start()
    };
    let envoy = start(tls.port()).await?;
    for form in FORMS {
        for (asked, name, port) in [("weather", "clear", clear.port()), ("weather-tls", "tls", tls.port())] {
            let reply = Connection::open(envoy.port(15001), form).await?.get(asked, &[]).await?;
            assert_eq!(reply.said("upstream"), name, "{form:?} {asked}: {}", reply.body);
            assert_eq!(reply.said("authority"), format!("weather.example.com:{port}"));
        }
        for headers in [vec![], vec![("x-byname-cluster", "external")]] {
            let asked = format!("weather.example.com:{}", clear.port());
            let reply = Connection::open(envoy.port(15001), form).await?.get(&asked, &headers).await?;
            assert_eq!(
                reply.said("upstream"),
                "passthrough",
                "the name itself is no alias, and no client reaches the proxy by it"
            );
        }
    }
    // A certificate for another name gives a 503. Plaintext is never used.
    let envoy = start(other.port()).await?;
    let reply = Connection::open(envoy.port(15001), RequestForm::Host).await?.get("weather-tls", &[]).await?;
    assert_eq!((reply.status, reply.said("upstream").as_str()), (503, ""));
    Ok(())
}
