//! Hostile clients in a real Envoy, with the filter working, refused, crashed or missing. No request crashes the filter
//! or steers itself by a forged header, and the VM answers afterwards.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a panic fails the test")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use byname_test_support::{
    Connection, Envoy, EnvoyBuilder, FORMS, Http2Outcome, RequestForm, TestResult, TestUpstream, raw_http1, raw_http2,
    write_crashing_module,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

type HeaderFields<'a> = &'a [(&'a [u8], &'a [u8])];

/// The cluster that a hostile client tries to reach.
const FORGED: &str = "outbound|80||payments.prod.svc.cluster.local";
/// The upstream of the cluster [`FORGED`].
const VICTIM: &str = "payments in prod";

/// `envoy/cluster.yaml` with upstreams. [`VICTIM`] must never answer.
async fn builder() -> Result<(EnvoyBuilder, Vec<TestUpstream>)> {
    builder_of("cluster.yaml").await
}

async fn builder_of(bootstrap: &str) -> Result<(EnvoyBuilder, Vec<TestUpstream>)> {
    let mut builder = Envoy::builder(bootstrap);
    let mut upstreams = Vec::new();
    for (port, name) in [(18080, "passthrough"), (18081, "payments in shop"), (18082, VICTIM)] {
        let upstream = TestUpstream::start(name).await?;
        builder = builder.upstream(port, &upstream);
        upstreams.push(upstream);
    }
    Ok((builder, upstreams))
}

/// The outcome of a request over HTTP/1: `closed`, or the status with the reason, the upstream, or `-`.
fn outcome(answer: &str) -> String {
    let Some(status) = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) else {
        return if answer.is_empty() { "closed".to_owned() } else { answer.to_owned() };
    };
    let between = |start: &str, end: &str| Some(answer.split_once(start)?.1.split_once(end)?.0);
    let by = between("x-byname-reason: ", "\r").or_else(|| between("\"upstream\":\"", "\"")).unwrap_or("-");
    format!("{status} {by}")
}

/// The outcome of a request over HTTP/2, without the status.
fn outcome_http2(outcome: &Http2Outcome) -> String {
    match outcome {
        Http2Outcome::Reset => "reset".to_owned(),
        Http2Outcome::Closed => "closed".to_owned(),
        Http2Outcome::Body(body) => {
            let between = |start: &str, end: &str| Some(body.split_once(start)?.1.split_once(end)?.0);
            let by = between("byname: ", ":").or_else(|| between("\"upstream\":\"", "\""));
            by.map_or_else(|| format!("Envoy: {body}"), str::to_owned)
        }
    }
}

/// Asserts that new connections, enough to reach all workers, still get the right reply.
async fn assert_alive(envoy: &Envoy, after: &str) -> TestResult {
    for _ in 0..8 {
        let reply = Connection::open(envoy.port(15001), RequestForm::Host).await?.get("payments", &[]).await?;
        assert_eq!(reply.said("upstream"), "payments in shop", "after {after}");
    }
    Ok(())
}

/// Control headers as a client may send them over HTTP/1, and whether HTTP allows them: names in any case, once or
/// several times.
fn forged_http1() -> Vec<(String, bool)> {
    let one = |name: &str| format!("{name}: {FORGED}\r\n");
    vec![
        (one("x-byname-cluster"), true),
        (one("X-BYNAME-CLUSTER"), true),
        (one("X-Byname-Cluster") + &one("x-byname-cluster"), true),
        (one("x-byname-cluster").repeat(20), true),
        (format!("x-byname-cluster:\r\n{}", one("x-byname-cluster")), true),
        (format!("x-byname-cluster:{FORGED}\t\r\n"), true),
        (format!("x_byname_cluster: {FORGED}\r\n"), true),
        (format!("Connection: x-byname-cluster\r\n{}", one("x-byname-cluster")), true),
        (format!("x-byname-cluster : {FORGED}\r\n"), false),
    ]
}

#[tokio::test]
async fn hostile_hosts_over_http1_are_refused() -> TestResult {
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.start().await?;
    let long = "a".repeat(64 << 10);
    let labels = "a.".repeat(30 << 10);
    // A reply without a reason is Envoy's own.
    let hosts: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a name", b"Host: payments\r\n".to_vec(), "200 payments in shop"),
        ("an empty host", b"Host: \r\n".to_vec(), "400 bad_authority"),
        ("two hosts", b"Host: payments\r\nHost: payments.prod\r\n".to_vec(), "400 bad_authority"),
        ("two hosts in one", b"Host: payments,payments.prod\r\n".to_vec(), "400 bad_authority"),
        ("no host", b"".to_vec(), "400 -"),
        ("NUL", b"Host: pay\0ments\r\n".to_vec(), "400 -"),
        ("bytes that are not UTF-8", b"Host: \xff\xfe\r\n".to_vec(), "400 -"),
        ("a letter that is not ASCII", "Host: zählung\r\n".as_bytes().to_vec(), "400 -"),
        ("64 kB", format!("Host: {long}\r\n").into_bytes(), "431 -"),
        ("30,000 labels", format!("Host: {labels}\r\n").into_bytes(), "431 -"),
        ("300 bytes", format!("Host: {}\r\n", "a".repeat(300)).into_bytes(), "400 bad_authority"),
        ("userinfo", b"Host: user@payments.prod\r\n".to_vec(), "400 bad_authority"),
        ("a port of letters", b"Host: payments:http\r\n".to_vec(), "400 bad_authority"),
        ("a tab inside", b"Host: pay\tments\r\n".to_vec(), "400 -"),
        ("a folded line", b"Host: payments\r\n .prod\r\n".to_vec(), "400 -"),
        ("a cluster's name", format!("Host: {FORGED}\r\n").into_bytes(), "400 -"),
    ];
    for (what, host, expected) in hosts {
        let request = [b"GET / HTTP/1.1\r\n", &*host, b"Connection: close\r\n\r\n"].concat();
        let answer = raw_http1(envoy.port(15001), &request).await?;
        assert_eq!(outcome(&answer), expected, "{what}");
        assert_alive(&envoy, what).await?;
    }
    Ok(())
}

#[tokio::test]
async fn hostile_fields_over_http2_never_steer() -> TestResult {
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.start().await?;
    let long = vec![b'a'; 64 << 10];
    let ask = async |fields: HeaderFields<'_>| {
        let common: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")];
        raw_http2(envoy.port(15001), &[&common, fields].concat()).await
    };
    // By RFC 9113, bytes that are no header value close the connection. The filter refuses the rest.
    let authorities: [(&str, &[u8], &str); 13] = [
        ("a name", b"payments", "payments in shop"),
        ("nothing", b"", "closed"),
        ("NUL", b"pay\0ments", "closed"),
        ("only NUL", b"\0", "closed"),
        ("bytes that are not UTF-8", b"\xff\xfe\x80", "closed"),
        ("an overlong slash", b"payments\xc0\xaf", "closed"),
        ("a line break", b"payments\r\nx-byname-cluster: forged", "closed"),
        ("64 kB", &long, "reset"),
        ("two hosts", b"payments,payments.prod", "bad_authority"),
        ("userinfo", b"user@payments.prod", "closed"),
        ("a space", b"payments .prod", "closed"),
        ("a zone of an address", b"[fe80::1%25eth0]", "bad_authority"),
        ("a cluster's name", FORGED.as_bytes(), "closed"),
    ];
    for (what, authority, expected) in authorities {
        let outcome = ask(&[(b":authority", authority)]).await?;
        assert_eq!(outcome_http2(&outcome), expected, "{what}");
        assert_alive(&envoy, what).await?;
    }
    let control: [(&str, HeaderFields<'_>, bool); 6] = [
        ("a control header", &[(b"x-byname-cluster", FORGED.as_bytes())], true),
        ("twice", &[(b"x-byname-cluster", b"nowhere"), (b"x-byname-cluster", FORGED.as_bytes())], true),
        ("an empty one", &[(b"x-byname-cluster", b""), (b"x-byname-cluster", FORGED.as_bytes())], true),
        ("not UTF-8", &[(b"x-byname-cluster", b"\xff"), (b"x-byname-cluster", FORGED.as_bytes())], true),
        ("in upper case", &[(b"X-Byname-Cluster", FORGED.as_bytes())], false),
        ("a second authority", &[(b":authority", b"payments.prod")], false),
    ];
    for (what, fields, is_legal) in control {
        for (authority, upstream) in [("payments", "payments in shop"), ("nope", "passthrough")] {
            let fields = [&[(b":authority".as_slice(), authority.as_bytes())], fields].concat();
            let expected = if is_legal { upstream } else { "closed" };
            assert_eq!(outcome_http2(&ask(&fields).await?), expected, "{what} with {authority}");
            assert_alive(&envoy, what).await?;
        }
    }
    Ok(())
}

/// The outcomes of each forged control header that HTTP allows: over HTTP/1 to an origin and to a proxy, and over HTTP/2.
/// Asserts that Envoy refuses the other headers.
async fn ask_forged(envoy: &Envoy, host: &str) -> Result<Vec<String>> {
    let mut outcomes = Vec::new();
    for (headers, is_legal) in forged_http1() {
        for target in ["/".to_owned(), format!("http://{host}/")] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
            let outcome = outcome(&raw_http1(envoy.port(15001), request.as_bytes()).await?);
            if is_legal {
                outcomes.push(outcome);
            } else {
                assert_eq!(outcome, "400 -", "{headers}");
            }
        }
    }
    for form in FORMS {
        let mut connection = Connection::open(envoy.port(15001), form).await?;
        for copies in [1, 3] {
            let reply = connection.get(host, &[("x-byname-cluster", FORGED)].repeat(copies)).await?;
            let by = reply.said("upstream");
            outcomes.push(format!("{} {}", reply.status, if by.is_empty() { "-" } else { &by }));
        }
    }
    Ok(outcomes)
}

#[tokio::test]
async fn forged_control_headers_do_not_steer_while_the_filter_works_or_is_missing() -> TestResult {
    let (working, _upstreams) = builder().await?;
    let working = working.start().await?;
    for (host, expected) in [
        ("payments", "200 payments in shop"),
        ("nope", "200 passthrough"),
        ("payments:81", "200 passthrough"),
        ("203.0.113.7", "200 passthrough"),
    ] {
        for outcome in ask_forged(&working, host).await? {
            assert_eq!(outcome, expected, "{host}");
        }
    }
    assert_alive(&working, "forged headers").await?;

    // The filter is missing.
    let (builder, _upstreams) = builder().await?;
    let disabled = "          - name: byname\n            disabled: true\n";
    let missing = builder.edit("          - name: byname\n", disabled).start().await?;
    for outcome in ask_forged(&missing, "payments.prod").await? {
        assert_eq!(outcome, "200 passthrough");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_module_is_a_startup_error() -> TestResult {
    let (builder, _upstreams) = builder().await?;
    let mut envoy = builder.edit("target/byname.wasm", "/nowhere/byname.wasm").spawn()?;
    assert_ne!(envoy.wait_until_ended().await?, 0);
    envoy.wait_for_log("/nowhere/byname.wasm").await
}

#[tokio::test]
async fn forged_control_headers_do_not_steer_while_the_first_configuration_is_refused() -> TestResult {
    // With ECDS, `default_config` serves until the first good push.
    let (builder, _upstreams) = builder_of("ecds.yaml").await?;
    let envoy = builder.edit("\"shop/payments-v2\"", "\"shop/Payments-v2\"").start().await?;
    envoy.wait_for_log("table.services[\"shop/Payments-v2\"] is not a lower-case DNS label").await?;
    for outcome in ask_forged(&envoy, "payments.prod").await? {
        assert_eq!(outcome, "200 passthrough");
    }
    Ok(())
}

#[tokio::test]
async fn forged_control_headers_do_not_steer_after_a_crash_under_any_failure_policy() -> TestResult {
    let (_directory, module) = write_crashing_module(0)?;
    for (policy, passes) in [("FAIL_OPEN", true), ("FAIL_CLOSED", false), ("FAIL_RELOAD", false)] {
        let (builder, _upstreams) = builder().await?;
        let envoy = builder
            .edit("target/byname.wasm", &module)
            .edit("failure_policy: FAIL_RELOAD", &format!("failure_policy: {policy}"))
            .concurrency(1)
            .start()
            .await?;
        let outcomes = ask_forged(&envoy, "payments.prod").await?;
        let passed = outcomes.iter().filter(|outcome| *outcome == "200 passthrough").count();
        let failed = outcomes.iter().filter(|outcome| *outcome == "503 -").count();
        assert_eq!(passed + failed, outcomes.len(), "{policy}: {outcomes:?}");
        // Under FAIL_OPEN, only the request that crashes the filter fails.
        let expected = if passes { outcomes.len() - 1..=outcomes.len() } else { 0..=0 };
        assert!(expected.contains(&passed), "{policy}: {outcomes:?}");
        envoy.wait_for_log("unreachable").await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_filter_recovers_from_a_crash_under_fail_reload() -> TestResult {
    const MANY: i32 = 40;
    let (_directory, module) = write_crashing_module(MANY)?;
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.edit("target/byname.wasm", &module).concurrency(1).start().await?;
    let mut connection = Connection::open(envoy.port(15001), RequestForm::Host).await?;
    assert_eq!(connection.get("payments", &[]).await?.said("upstream"), "payments in shop");
    assert_eq!(connection.get("nope", &[("x", "y")].repeat(MANY as usize)).await?.status, 503, "the filter crashes");
    let start = Instant::now();
    while connection.get("nope", &[]).await?.status == 503 {
        assert!(start.elapsed() < Duration::from_secs(20), "the filter is not reloaded");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(connection.get("payments", &[]).await?.said("upstream"), "payments in shop", "it works as before");
    assert_eq!(envoy.stat("wasm.byname.vm_reload_success").await?, 1);
    Ok(())
}

#[tokio::test]
async fn grpc_requests_are_steered_by_name() -> TestResult {
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.start().await?;
    let mut connection = Connection::open(envoy.port(15001), RequestForm::Http2).await?;
    let reply = connection.get("payments", &[("content-type", "application/grpc"), ("te", "trailers")]).await?;
    assert_eq!(reply.said("upstream"), "payments in shop");
    Ok(())
}

/// An upstream that accepts one connection, answers the request head with `answer`, and then echoes.
async fn echo(answer: &'static [u8]) -> Result<(u16, tokio::task::JoinHandle<Result<String>>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut head = Vec::new();
        if !answer.is_empty() {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            stream.write_all(answer).await?;
        }
        let (mut from, mut to) = stream.split();
        tokio::io::copy(&mut from, &mut to).await?;
        Ok(String::from_utf8(head)?)
    });
    Ok((port, task))
}

async fn talk(port: u16, request: &str, expected: &str) -> TestResult {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    let talk = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        stream.write_all(b"ping").await?;
        let mut pong = [0; 4];
        stream.read_exact(&mut pong).await?;
        anyhow::Ok(pong)
    };
    let pong = timeout(Duration::from_secs(20), talk).await.context("nothing comes back")??;
    assert_eq!(&pong, b"ping");
    let head = String::from_utf8(head)?;
    assert!(head.starts_with(expected), "{head}");
    Ok(())
}

#[tokio::test]
async fn websockets_are_steered_by_name() -> TestResult {
    let (port, upstream) =
        echo(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.port(18081, port).start().await?;
    let request = "GET /chat HTTP/1.1\r\nHost: payments\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    talk(envoy.port(15001), request, "HTTP/1.1 101").await?;
    let head = timeout(Duration::from_secs(20), upstream).await???.to_ascii_lowercase();
    assert!(head.contains("host: payments.shop.svc.cluster.local\r\n"), "{head}");
    Ok(())
}

#[tokio::test]
async fn a_connect_tunnel_reaches_the_service_that_it_names() -> TestResult {
    // In the first row Envoy ends the tunnel, and its upstream sees the content. In the second row the upstream ends it.
    let ends_here = ", upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]";
    let rows = [
        (ends_here, b"".as_slice(), ""),
        ("", b"HTTP/1.1 200 OK\r\n\r\n", "CONNECT payments.shop.svc.cluster.local:80 HTTP/1.1\r\n"),
    ];
    for (upgrade, answer, expected) in rows {
        let (port, upstream) = echo(answer).await?;
        let (builder, _upstreams) = builder().await?;
        let envoy = builder.edit(ends_here, upgrade).port(18081, port).start().await?;
        let request =
            format!("CONNECT payments:80 HTTP/1.1\r\nHost: payments:80\r\nx-byname-cluster: {FORGED}\r\n\r\n");
        talk(envoy.port(15001), &request, "HTTP/1.1 200").await?;
        let head = timeout(Duration::from_secs(20), upstream).await???;
        assert!(head.starts_with(expected) && head.is_empty() == expected.is_empty(), "{head}");
    }
    Ok(())
}
