//! What a real Envoy shows of the filter's decisions, configured with the very lines of docs/operations.md.

#![allow(clippy::expect_used, clippy::panic, reason = "a panic fails the test")]

use std::fs;

use anyhow::Result;
use byname_test_support::{
    Connection, Envoy, EnvoyBuilder, FORMS, RequestForm, TestResult, TestUpstream, repository, snippet,
};

const OPERATIONS: &str = "docs/operations.md";
const TRACE_HEADER: &str = "x-byname-trace";

/// `envoy/cluster.yaml` with more fields in its plugin configuration, and an alias that is refused.
async fn builder(fields: &str) -> Result<(EnvoyBuilder, Vec<TestUpstream>)> {
    let upstreams = vec![
        TestUpstream::start("passthrough").await?,
        TestUpstream::start("shop").await?,
        TestUpstream::start("prod").await?,
    ];
    let mut builder = Envoy::builder("cluster.yaml")
        .edit("\"version\": 1,\n                      \"steering\"", &format!("\"version\": 1, {fields}, \"steering\""))
        .edit(
            "\"shop/pay\"",
            "\"shop/partner\": {\"type\": \"ExternalName\", \"externalName\": \"a.example.com\", \"alias\": {\"tls\": true}}, \"shop/pay\"",
        );
    for (port, upstream) in (18080..).zip(&upstreams) {
        builder = builder.upstream(port, upstream);
    }
    Ok((builder, upstreams))
}

#[tokio::test]
async fn the_access_log_shows_the_decision() -> TestResult {
    let (builder, _upstreams) = builder("\"accessLog\": true").await?;
    let place = "          stat_prefix: outbound\n";
    let access_log = snippet(OPERATIONS, "Access log", "          ")?;
    let envoy = builder.edit(place, &format!("{place}{access_log}")).start().await?;
    let mut connection = Connection::open(envoy.port(15001), RequestForm::Host).await?;
    for (asked, line) in [
        (
            "pay",
            "GET payments.shop.svc.cluster.local 200 via_upstream reason=alias authority=payments.shop.svc.cluster.local \
             cluster=outbound|80||payments.shop.svc.cluster.local table=1\n",
        ),
        ("partner", "GET partner 403 byname_alias_denied reason=alias_denied table=1\n"),
        ("nope", "GET nope 200 via_upstream reason=name_not_found table=1\n"),
        ("a,b", "GET a,b 400 byname_bad_authority reason=bad_authority table=1\n"),
    ] {
        connection.get(asked, &[]).await?;
        envoy.wait_for_log(line).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_response_has_a_trace_only_on_request() -> TestResult {
    let trace = format!("\"trace\": {{\"requestHeader\": \"{TRACE_HEADER}\", \"responseHeader\": \"{TRACE_HEADER}\"}}");
    let (builder, _upstreams) = builder(&trace).await?;
    let place = "          route_config:\n";
    let header = snippet(OPERATIONS, "A trace in a response", "            ")?;
    let envoy = builder.edit(place, &format!("{place}{header}")).start().await?;
    for form in FORMS {
        let mut connection = Connection::open(envoy.port(15001), form).await?;
        for (asked, status, step) in [
            ("pay", 200, "alias shop/pay -> payments.shop.svc.cluster.local exists; port 80"),
            ("nope", 200, "nope.shop.svc.cluster.local does not exist: no such Service"),
            ("partner", 403, "a.example.com is not in the table and not listed in externalNames.allow"),
        ] {
            let reply = connection.get(asked, &[(TRACE_HEADER, "please")]).await?;
            assert_eq!(reply.status, status, "{form:?} {asked}");
            let shown = reply.header(TRACE_HEADER);
            assert!(shown.starts_with("table version 1; ") && shown.contains(step), "{form:?} {asked}: {shown}");
            let reply = connection.get(asked, &[]).await?;
            assert_eq!((reply.status, reply.header(TRACE_HEADER)), (status, ""), "{form:?} {asked}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_observed_request_goes_on_unchanged_and_shows_what_would_be_different() -> TestResult {
    let fields = format!(
        "\"mode\": \"observe\", \"accessLog\": true, \"trace\": {{\"requestHeader\": \"{TRACE_HEADER}\", \"responseHeader\": \"{TRACE_HEADER}\"}}"
    );
    let (builder, _upstreams) = builder(&fields).await?;
    let (filter, route) = ("          stat_prefix: outbound\n", "          route_config:\n");
    let access_log = snippet(OPERATIONS, "Access log", "          ")?;
    let header = snippet(OPERATIONS, "A trace in a response", "            ")?;
    let envoy =
        builder.edit(filter, &format!("{filter}{access_log}")).edit(route, &format!("{route}{header}")).start().await?;
    let payments = "payments.shop.svc.cluster.local";
    let steered = format!("cluster=outbound|80||{payments} table=1");
    for (asked, line) in [
        ("pay", format!("mode=observe difference=host_and_cluster reason=alias authority={payments} {steered}")),
        (payments, format!("mode=observe difference=cluster reason=service {steered}")),
        ("partner", "mode=observe difference=refused reason=alias_denied table=1".to_owned()),
        ("a,b", "mode=observe difference=refused reason=bad_authority table=1".to_owned()),
        ("nope", "mode=observe difference=none reason=name_not_found table=1".to_owned()),
    ] {
        for form in FORMS.into_iter().filter(|form| asked != "a,b" || *form == RequestForm::Host) {
            let mut connection = Connection::open(envoy.port(15001), form).await?;
            let forged = [(TRACE_HEADER, "1"), ("x-byname-cluster", "outbound|80||payments.prod.svc.cluster.local")];
            let reply = connection.get(asked, &forged).await?;
            assert_eq!((reply.status, reply.said("upstream").as_str()), (200, "passthrough"), "{form:?} {asked}");
            assert_eq!(reply.said("authority"), asked, "the upstream sees the client's Host");
            assert!(reply.sent_on("x-byname-cluster").is_empty());
            assert!(
                reply.header(TRACE_HEADER).contains("; observed: the request goes on unchanged"),
                "{form:?} {asked}"
            );
        }
        envoy.wait_for_log(&format!("GET {asked} 200 via_upstream {line}\n")).await?;
    }
    envoy.wait_for_log("; observed: no local reply was sent").await?;
    let prometheus = envoy.admin("/stats/prometheus").await?.body;
    let forms = FORMS.len();
    for line in [
        format!("byname_observed{{reason=\"alias\",difference=\"host_and_cluster\"}} {forms}"),
        format!("byname_observed{{reason=\"name_not_found\",difference=\"none\"}} {forms}"),
        "byname_observed{reason=\"bad_authority\",difference=\"refused\"} 1".to_owned(),
        format!("byname_reason{{reason=\"alias\"}} {forms}"),
        "byname_observing{} 1".to_owned(),
    ] {
        assert!(prometheus.lines().any(|other| other == line), "{line} is missing in\n{prometheus}");
    }
    Ok(())
}

/// What Envoy's own route would do is compared by the name of its cluster.
#[tokio::test]
async fn a_request_that_envoys_route_sends_to_the_same_cluster_does_not_differ() -> TestResult {
    let (builder, _upstreams) = builder("\"mode\": \"observe\"").await?;
    let own = "outbound|80||payments.shop.svc.cluster.local";
    let envoy = builder
        .edit(
            "- match: {prefix: /}\n                route: {cluster: passthrough}",
            &format!("- match: {{prefix: /}}\n                route: {{cluster: \"{own}\"}}"),
        )
        .start()
        .await?;
    let mut connection = Connection::open(envoy.port(15001), RequestForm::Host).await?;
    for asked in ["payments.shop.svc.cluster.local", "payments", "payments.prod.svc.cluster.local"] {
        assert_eq!(connection.get(asked, &[]).await?.said("upstream"), "shop", "{asked}");
    }
    let observed = envoy.stats("wasmcustom.byname.observed.").await?;
    let counted = |difference: &str| observed.get(&format!("wasmcustom.byname.observed.{difference}.service")).copied();
    assert_eq!([counted("none"), counted("host"), counted("cluster")], [Some(1); 3], "{observed:?}");
    Ok(())
}

#[tokio::test]
async fn services_have_labelled_counters_up_to_a_limit() -> TestResult {
    let (builder, _upstreams) = builder("\"stats\": {\"services\": 1}").await?;
    let envoy = builder.start().await?;
    let mut connection = Connection::open(envoy.port(15001), RequestForm::Host).await?;
    for asked in ["payments", "pay", "payments.prod", "payments.prod", "payments.prod", "nope"] {
        connection.get(asked, &[]).await?;
    }
    let prometheus = envoy.admin("/stats/prometheus").await?.body;
    for line in [
        "byname_service_requests{destination_service_namespace=\"shop\",destination_service_name=\"payments\"} 2",
        "byname_service_requests_other{} 3",
        "byname_reason{reason=\"service\"} 4",
        "byname_reason{reason=\"alias\"} 1",
    ] {
        assert!(prometheus.lines().any(|other| other == line), "{line} is missing in\n{prometheus}");
    }
    assert!(!prometheus.contains("namespace=\"prod\""), "the second Service is beyond the limit");
    Ok(())
}

#[test]
fn every_bootstrap_has_the_documented_labels() -> TestResult {
    let labels = snippet(OPERATIONS, "Labels", "")?;
    let mut bootstraps = vec![repository().join("crates/cli/src/envoy/bootstrap.yaml.in")];
    for entry in fs::read_dir(repository().join("envoy"))? {
        bootstraps
            .extend([entry?.path()].into_iter().filter(|path| path.extension().is_some_and(|name| name == "yaml")));
    }
    assert!(bootstraps.len() > 5, "{bootstraps:?}");
    for bootstrap in bootstraps {
        assert!(fs::read_to_string(&bootstrap)?.contains(&labels), "{} has other labels", bootstrap.display());
    }
    Ok(())
}

#[tokio::test]
async fn log_lines_per_request_are_limited() -> TestResult {
    const REQUESTS: u64 = 300;
    let (builder, _upstreams) = builder("\"trace\": {\"requestHeader\": \"x-byname-trace\"}").await?;
    let envoy = builder.concurrency(1).start().await?;
    let start = std::time::Instant::now();
    let mut connection = Connection::open(envoy.port(15001), RequestForm::Host).await?;
    for _ in 0..REQUESTS {
        assert_eq!(connection.get("partner", &[(TRACE_HEADER, "1")]).await?.status, 403);
    }
    let seconds = start.elapsed().as_secs() + 1;
    let line = "byname: alias_denied: \"partner\" from namespace shop: alias shop/partner -> a.example.com is not in \
                the table and not listed in externalNames.allow, and the alias sets a port or TLS, which a request that goes on \
                would lose; add the host and port to externalNames.allow, or correct the alias; table 1";
    envoy.wait_for_log(line).await?;
    let lines = envoy.log().matches("\"partner\" from namespace shop").count();
    let most = usize::try_from(10 + seconds)?;
    assert!((2..=most).contains(&lines), "{lines} lines for {REQUESTS} requests in {seconds} s");
    // The next allowed line gives the number of suppressed lines.
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    connection.get("partner", &[]).await?;
    envoy.wait_for_log("similar lines were suppressed)").await
}
