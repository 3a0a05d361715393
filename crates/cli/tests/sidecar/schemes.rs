//! The scheme of a request, and `X-Forwarded-Proto`, which workloads behind an ingress hand on.

use byname_test_support::{Http2Outcome, TestResult, TestUpstream, raw_http1, raw_http2};
use serde_json::{Value, json};

use crate::{
    sidecar::loopback::{
        IN_SHOP, LISTENER, Loopback, MODES, OUTSIDE, alias_to, get, on_this_machine, service_with, wait_for, with_dns,
    },
    workdir::with,
};

const HTTPS: &str = "X-Forwarded-Proto: https\r\n";
const HTTP: &str = "X-Forwarded-Proto: http\r\n";

#[tokio::test]
async fn a_forwarded_scheme_does_not_choose_the_port() -> TestResult {
    let mut loopback = Loopback::start().await?;
    let (http, admin) = (TestUpstream::start("web-80").await?, TestUpstream::start("web-443").await?);
    let port = |name: &str, port: u16| json!({"name": name, "port": port});
    loopback
        .dump(IN_SHOP, &service_with("web", &[(port("http", 80), http.port()), (port("admin", 443), admin.port())]))?;
    loopback.upstreams.extend([http, admin]);
    for by in MODES {
        let envoy = loopback.sidecar(&on_this_machine(by), &[], str::to_owned).await?;
        for (target, forwarded, upstream) in [
            ("/", "", "web-80"),
            ("/", HTTP, "web-80"),
            ("/", HTTPS, "web-80"),
            ("http://web/", "", "web-80"),
            ("http://web/", HTTPS, "web-80"),
            ("https://web/", "", "web-443"),
            ("https://web/", HTTP, "web-443"),
            ("https://web:443/", HTTPS, "web-443"),
            // Envoy does not tell this from a request in origin form; no common client sends it.
            ("https://web/", HTTPS, "web-80"),
        ] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: web\r\n{forwarded}Connection: close\r\n\r\n");
            let answer = raw_http1(envoy.port(LISTENER), request.as_bytes()).await?;
            assert!(answer.contains(&format!("\"upstream\":\"{upstream}\"")), "{by}, {request:?}: {answer}");
        }
        for (scheme, forwarded, upstream) in [
            ("http", "", "web-80"),
            ("http", "https", "web-80"),
            ("https", "", "web-443"),
            ("https", "http", "web-443"),
            ("https", "https", "web-443"),
        ] {
            let mut fields: Vec<(&[u8], &[u8])> =
                vec![(b":method", b"GET"), (b":scheme", scheme.as_bytes()), (b":authority", b"web"), (b":path", b"/")];
            if !forwarded.is_empty() {
                fields.push((b"x-forwarded-proto", forwarded.as_bytes()));
            }
            let row = format!("{by}, HTTP/2, {scheme}, {forwarded:?}");
            let Http2Outcome::Body(body) = raw_http2(envoy.port(LISTENER), &fields).await? else {
                panic!("{row}: no answer")
            };
            let body: Value = serde_json::from_str(&body)?;
            assert_eq!(body["upstream"], upstream, "{row}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_forwarded_scheme_does_not_start_tls_to_a_host_outside() -> TestResult {
    let mut loopback = Loopback::start().await?;
    let clear = TestUpstream::start("clear").await?;
    let (secure, certificate) = TestUpstream::start_tls("secure", OUTSIDE).await?;
    let ca_file = loopback.workdir.put("ca.pem", &certificate)?;
    loopback.dump(IN_SHOP, &[alias_to("weather", OUTSIDE)])?;
    loopback.ports.extend([(80, clear.port()), (443, secure.port())]);
    for by in MODES {
        let config =
            with(on_this_machine(by), &[("externalNames.allow", json!([{"host": OUTSIDE, "ports": [80, 443]}]))]);
        let envoy = loopback.sidecar(&config, &["--ca-file", &ca_file], with_dns).await?;
        wait_for(&envoy, "weather", "clear").await?;
        for headers in [&[][..], &[("x-forwarded-proto", "https")], &[("x-forwarded-proto", "http")]] {
            let reply = get(&envoy, "weather", headers).await?;
            let answered = (reply.said("upstream"), reply.said("authority"));
            assert_eq!(
                answered,
                ("clear".to_owned(), OUTSIDE.to_owned()),
                "{by}, {headers:?}: {} {}",
                reply.status,
                reply.body
            );
        }
    }
    Ok(())
}
