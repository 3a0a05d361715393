//! Hostile clients in a real Envoy, with the filter working, refused, trapped and missing: never a trap, never a forged
//! steer, and the VM alive after each.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, which is what these do"
)]

use std::{fs, time::Duration};

use anyhow::{Context, Result};
use byname_test_support::{Connection, Envoy, EnvoyBuilder, FORMS, Form, Http2Outcome, Upstream, raw_http1, raw_http2};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

type Test = Result<()>;
type Fields<'a> = &'a [(&'a [u8], &'a [u8])];

/// What a client would like to choose by itself.
const FORGED: &str = "outbound|80||payments.prod.svc.cluster.local";
/// Who would answer then.
const VICTIM: &str = "payments in prod";

/// `envoy/cluster.yaml` with upstreams, of which [`VICTIM`] must never answer.
async fn builder() -> Result<(EnvoyBuilder, Vec<Upstream>)> {
    builder_of("cluster.yaml").await
}

async fn builder_of(bootstrap: &str) -> Result<(EnvoyBuilder, Vec<Upstream>)> {
    let mut builder = Envoy::builder(bootstrap);
    let mut upstreams = Vec::new();
    for (port, name) in [(18080, "passthrough"), (18081, "payments in shop"), (18082, VICTIM)] {
        let upstream = Upstream::start(name).await?;
        builder = builder.upstream(port, &upstream);
        upstreams.push(upstream);
    }
    Ok((builder, upstreams))
}

/// It still answers as it should, on new connections that all workers get some of.
async fn assert_alive(envoy: &Envoy, after: &str) -> Test {
    for _ in 0..8 {
        let reply = Connection::open(envoy.port(15001), Form::Host).await?.get("payments", &[]).await?;
        assert_eq!(reply.said("upstream"), "payments in shop", "after {after}");
    }
    Ok(())
}

/// Control headers as a client may send them over HTTP/1: names in any case, once and several times.
fn forged_http1() -> Vec<String> {
    let one = |name: &str| format!("{name}: {FORGED}\r\n");
    vec![
        one("x-byname-cluster"),
        one("X-BYNAME-CLUSTER"),
        one("X-Byname-Cluster") + &one("x-byname-cluster"),
        one("x-byname-cluster").repeat(20),
        format!("x-byname-cluster:\r\n{}", one("x-byname-cluster")),
        format!("x-byname-cluster:{FORGED}\t\r\n"),
        format!("x-byname-cluster : {FORGED}\r\n"),
        format!("x_byname_cluster: {FORGED}\r\n"),
        format!("Connection: x-byname-cluster\r\n{}", one("x-byname-cluster")),
    ]
}

#[tokio::test]
async fn hostile_hosts_over_http1() -> Test {
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.start().await?;
    let long = "a".repeat(64 << 10);
    let labels = "a.".repeat(30 << 10);
    let hosts: Vec<(&str, Vec<u8>)> = vec![
        ("an empty host", b"Host: \r\n".to_vec()),
        ("two hosts", b"Host: payments\r\nHost: payments.prod\r\n".to_vec()),
        ("two hosts in one", b"Host: payments,payments.prod\r\n".to_vec()),
        ("no host", b"".to_vec()),
        ("NUL", b"Host: pay\0ments\r\n".to_vec()),
        ("bytes that are not UTF-8", b"Host: \xff\xfe\r\n".to_vec()),
        ("a letter that is not ASCII", "Host: zählung\r\n".as_bytes().to_vec()),
        ("64 kB", format!("Host: {long}\r\n").into_bytes()),
        ("30,000 labels", format!("Host: {labels}\r\n").into_bytes()),
        ("userinfo", b"Host: user@payments.prod\r\n".to_vec()),
        ("a port of letters", b"Host: payments:http\r\n".to_vec()),
        ("a tab inside", b"Host: pay\tments\r\n".to_vec()),
        ("a folded line", b"Host: payments\r\n .prod\r\n".to_vec()),
        ("a cluster's name", format!("Host: {FORGED}\r\n").into_bytes()),
    ];
    for (what, host) in hosts {
        let request = [b"GET / HTTP/1.1\r\n", &*host, b"Connection: close\r\n\r\n"].concat();
        let answer = raw_http1(envoy.port(15001), &request).await.unwrap_or_default();
        assert!(!answer.contains(VICTIM), "{what}: {answer}");
        let is_refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(is_refused, "{what} is nobody's name: {answer}");
        assert_alive(&envoy, what).await?;
    }
    Ok(())
}

#[tokio::test]
async fn hostile_fields_over_http2() -> Test {
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.start().await?;
    let long = vec![b'a'; 64 << 10];
    let ask = async |fields: Fields<'_>| {
        let common: [(&[u8], &[u8]); 3] = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/")];
        raw_http2(envoy.port(15001), &[&common, fields].concat()).await
    };
    let authorities: [(&str, &[u8]); 11] = [
        ("nothing", b""),
        ("NUL", b"pay\0ments"),
        ("only NUL", b"\0"),
        ("bytes that are not UTF-8", b"\xff\xfe\x80"),
        ("an overlong slash", b"payments\xc0\xaf"),
        ("a line break", b"payments\r\nx-byname-cluster: forged"),
        ("64 kB", &long),
        ("two hosts", b"payments,payments.prod"),
        ("a space", b"payments .prod"),
        ("a zone of an address", b"[fe80::1%25eth0]"),
        ("a cluster's name", FORGED.as_bytes()),
    ];
    for (what, authority) in authorities {
        match ask(&[(b":authority", authority)]).await? {
            Http2Outcome::Body(body) => {
                assert!(!body.contains("\"upstream\""), "{what} reached an upstream: {body}");
            }
            Http2Outcome::Reset | Http2Outcome::Closed => {}
        }
        assert_alive(&envoy, what).await?;
    }
    let control: [(&str, Fields<'_>); 6] = [
        ("a control header", &[(b"x-byname-cluster", FORGED.as_bytes())]),
        ("in upper case", &[(b"X-Byname-Cluster", FORGED.as_bytes())]),
        ("twice", &[(b"x-byname-cluster", b"nowhere"), (b"x-byname-cluster", FORGED.as_bytes())]),
        ("an empty one", &[(b"x-byname-cluster", b""), (b"x-byname-cluster", FORGED.as_bytes())]),
        ("bytes that are not UTF-8", &[(b"x-byname-cluster", b"\xff"), (b"x-byname-cluster", FORGED.as_bytes())]),
        ("a second authority", &[(b":authority", b"payments.prod")]),
    ];
    for (what, fields) in control {
        for authority in [b"payments".as_slice(), b"nope"] {
            let fields = [&[(b":authority".as_slice(), authority)], fields].concat();
            let outcome = ask(&fields).await?;
            if let Http2Outcome::Body(body) = &outcome {
                assert!(!body.contains(VICTIM), "{what}: {body}");
            }
            assert_alive(&envoy, what).await?;
        }
    }
    Ok(())
}

/// Each forged control header over HTTP/1, as an origin and as a proxy would get it.
async fn ask_forged(envoy: &Envoy, host: &str) -> Result<Vec<String>> {
    let mut answers = Vec::new();
    for headers in forged_http1() {
        for target in ["/".to_owned(), format!("http://{host}/")] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n");
            answers.push(raw_http1(envoy.port(15001), request.as_bytes()).await.unwrap_or_default());
        }
    }
    for form in FORMS {
        let mut connection = Connection::open(envoy.port(15001), form).await?;
        for copies in [1, 3] {
            let reply = connection.get(host, &[("x-byname-cluster", FORGED)].repeat(copies)).await?;
            answers.push(format!("HTTP {} {}", reply.status, reply.body));
        }
    }
    Ok(answers)
}

#[tokio::test]
async fn forged_control_headers_do_not_steer_while_the_filter_works_or_is_missing() -> Test {
    let (working, _upstreams) = builder().await?;
    let working = working.start().await?;
    for host in ["payments", "nope", "payments:81", "203.0.113.7"] {
        for answer in ask_forged(&working, host).await? {
            assert!(!answer.contains(VICTIM), "{host}: {answer}");
        }
    }
    assert_alive(&working, "forged headers").await?;

    // The filter is not there at all.
    let (builder, _upstreams) = builder().await?;
    let missing = builder
        .edit("          - name: byname\n", "          - name: byname\n            disabled: true\n")
        .start()
        .await?;
    for answer in ask_forged(&missing, "payments.prod").await? {
        assert!(!answer.contains(VICTIM), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_module_that_is_not_there_is_an_error_at_the_start() -> Test {
    let (builder, _upstreams) = builder().await?;
    let mut envoy = builder.edit("target/byname.wasm", "/nowhere/byname.wasm").spawn()?;
    assert_ne!(envoy.wait_until_ended().await?, 0);
    envoy.wait_for_log("/nowhere/byname.wasm").await
}

#[tokio::test]
async fn forged_control_headers_do_not_steer_while_the_first_configuration_is_refused() -> Test {
    // With ECDS there is a `default_config` to serve until the first good push.
    let (builder, _upstreams) = builder_of("ecds.yaml").await?;
    let envoy = builder.edit("\"shop/payments-v2\"", "\"shop/Payments-v2\"").start().await?;
    envoy.wait_for_log("table.services: \"shop/Payments-v2\" is not one lowercase DNS label").await?;
    for answer in ask_forged(&envoy, "payments.prod").await? {
        assert!(!answer.contains(VICTIM), "{answer}");
    }
    Ok(())
}

/// A module that traps at the first request.
const TRAPPING: &str = r#"(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (unreachable))
  (func (export "proxy_on_delete") (param i32)))"#;

fn trapping_module() -> Result<(TempDir, String)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("trapping.wasm");
    fs::write(&path, wat::parse_str(TRAPPING)?)?;
    Ok((directory, path.display().to_string()))
}

#[tokio::test]
async fn forged_control_headers_do_not_steer_after_a_trap_under_any_failure_policy() -> Test {
    let (_directory, module) = trapping_module()?;
    for (policy, passes) in [("FAIL_OPEN", true), ("FAIL_CLOSED", false), ("FAIL_RELOAD", false)] {
        let (builder, _upstreams) = builder().await?;
        let envoy = builder
            .edit("target/byname.wasm", &module)
            .edit("failure_policy: FAIL_RELOAD", &format!("failure_policy: {policy}"))
            .concurrency(1)
            .start()
            .await?;
        let answers = ask_forged(&envoy, "payments.prod").await?;
        for answer in &answers {
            assert!(!answer.contains(VICTIM), "{policy}: {answer}");
        }
        let passed = answers.iter().any(|answer| answer.contains("passthrough"));
        assert_eq!(passed, passes, "{policy}: what its name says, {answers:?}");
        envoy.wait_for_log("unreachable").await?;
    }
    Ok(())
}

#[tokio::test]
async fn grpc_requests_are_steered_like_others() -> Test {
    let (builder, _upstreams) = builder().await?;
    let envoy = builder.start().await?;
    let mut connection = Connection::open(envoy.port(15001), Form::Http2).await?;
    let reply = connection.get("payments", &[("content-type", "application/grpc"), ("te", "trailers")]).await?;
    assert_eq!(reply.said("upstream"), "payments in shop");
    Ok(())
}

/// An upstream that takes one connection, answers its first lines with `answer`, and then sends back what it gets.
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

async fn talk(port: u16, request: &str, expected: &str) -> Test {
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
async fn websockets_are_steered_by_name() -> Test {
    let (port, upstream) =
        echo(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await?;
    let (builder, _upstreams) = builder().await?;
    let place = "          codec_type: AUTO\n";
    let envoy = builder
        .edit(place, &format!("{place}          upgrade_configs: [{{upgrade_type: websocket}}]\n"))
        .port(18081, port)
        .start()
        .await?;
    let request = "GET /chat HTTP/1.1\r\nHost: payments\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    talk(envoy.port(15001), request, "HTTP/1.1 101").await?;
    let head = timeout(Duration::from_secs(20), upstream).await???.to_ascii_lowercase();
    assert!(head.contains("host: payments.shop.svc.cluster.local\r\n"), "{head}");
    Ok(())
}

#[tokio::test]
async fn a_connect_tunnel_leads_to_the_service_that_it_names() -> Test {
    let (port, upstream) = echo(b"").await?;
    let (builder, _upstreams) = builder().await?;
    let place = "          codec_type: AUTO\n";
    let steered = "              - match:\n                  prefix: /\n                  headers: [{name: x-byname-cluster, present_match: true}]\n";
    let connect = "              - match:\n                  connect_matcher: {}\n                  headers: [{name: x-byname-cluster, present_match: true}]\n                route: {cluster_header: x-byname-cluster, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]}\n";
    let envoy = builder
        .edit(place, &format!("{place}          upgrade_configs: [{{upgrade_type: CONNECT}}]\n"))
        .edit(steered, &format!("{connect}{steered}"))
        .port(18081, port)
        .start()
        .await?;
    let request = format!("CONNECT payments:80 HTTP/1.1\r\nHost: payments:80\r\nx-byname-cluster: {FORGED}\r\n\r\n");
    talk(envoy.port(15001), &request, "HTTP/1.1 200").await?;
    timeout(Duration::from_secs(20), upstream).await???;
    Ok(())
}
