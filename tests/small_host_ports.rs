//! The port and the scheme of a request, in the shipped module and a small host: which answers of the host decide, and when it is asked.
//! `tests/cluster/` shows the same in Envoy with redirected traffic.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic fails the test")]

use anyhow::Result;
use byname_test_support::{SmallHost, TestResult};
use serde_json::{Value, json};

const ROOT: u32 = 1;
const STREAM: u32 = 2;
const PROTOCOL: &str = "get_property(request.protocol)";
const TLS: &str = "get_property(connection.tls_version)";
const DESTINATION: &str = "get_property(destination.port)";

fn host(destination_port: &Value) -> Result<SmallHost> {
    let ports = json!([{"name": "http", "port": 80}, {"name": "alt", "port": 443}, {"name": "other", "port": 9090}]);
    let mut configuration = json!({
        "version": 1,
        "caller": {"namespace": "shop"},
        "table": {"version": 7, "services": {"shop/web": {"ports": ports}}},
    });
    if !destination_port.is_null() {
        configuration["destinationPort"] = destination_port.clone();
    }
    let mut host = SmallHost::new()?;
    assert!(host.configure(ROOT, &configuration.to_string())?, "{:?}", host.state().log);
    Ok(host)
}

/// The port that a request is steered to, and the properties that were asked for.
fn port(host: &mut SmallHost, headers: &[(&str, &str)]) -> Result<(String, Vec<String>)> {
    host.state_mut().calls.clear();
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    host.request_headers(STREAM, &headers)?;
    let state = host.state();
    let cluster = state.header("x-byname-cluster").concat();
    let port = cluster.split('|').nth(1).unwrap_or("-").to_owned();
    let properties = state.calls.iter().filter(|call| call.starts_with("get_property")).cloned().collect();
    host.delete(STREAM)?;
    Ok((port, properties))
}

#[test]
fn a_forwarded_scheme_is_not_that_of_the_request() -> TestResult {
    let mut host = host(&json!(null))?;
    let tls = ("connection.tls_version", b"TLSv1.3".as_slice());
    let http1 = ("request.protocol", b"HTTP/1.1".as_slice());
    let http2 = ("request.protocol", b"HTTP/2".as_slice());
    for (scheme, forwarded, properties, expected, asked, why) in [
        ("http", None, vec![], "80", vec![], "nothing is forwarded"),
        ("http", Some("https"), vec![http1], "80", vec![], "the scheme is the request's own, in absolute form"),
        ("https", None, vec![http1], "443", vec![], "in absolute form, through a proxy"),
        ("https", Some("http"), vec![http1], "443", vec![], "likewise"),
        ("https", Some("https"), vec![http1], "80", vec![PROTOCOL, TLS], "clear text behind an ingress that ends TLS"),
        ("https", Some("HTTPS"), vec![http1], "80", vec![PROTOCOL, TLS], "likewise"),
        ("https", Some("https"), vec![http1, tls], "443", vec![PROTOCOL, TLS], "the connection is in TLS"),
        ("https", Some("https"), vec![http2], "443", vec![PROTOCOL], "HTTP/2 has a scheme of its own"),
        ("https", Some("https"), vec![], "443", vec![PROTOCOL], "the host does not say"),
    ] {
        host.state_mut().properties =
            properties.into_iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        let mut headers = vec![(":authority", "web"), (":scheme", scheme), (":method", "GET")];
        headers.extend(forwarded.map(|value| ("x-forwarded-proto", value)));
        let asked = asked.into_iter().map(str::to_owned).collect();
        assert_eq!(port(&mut host, &headers)?, (expected.to_owned(), asked), "{scheme}, {forwarded:?}: {why}");
    }
    Ok(())
}

#[test]
fn a_redirected_request_has_the_port_of_its_connection() -> TestResult {
    let number = |port: i64| Some(port.to_le_bytes().to_vec());
    let by_attribute = json!({});
    let by_header = json!({"header": "x-destination-port", "listenerPort": 15001});
    let header = |value| Some(("x-destination-port", value));
    for (configured, attribute, header, authority, expected, asked) in [
        (&json!(null), number(9090), None, "web", "80", vec![]),
        (&by_attribute, number(9090), None, "web", "9090", vec![DESTINATION]),
        (&by_attribute, number(9090), None, "web:443", "443", vec![]),
        (&by_attribute, None, None, "web", "80", vec![DESTINATION]),
        (&by_attribute, Some(b"9090".to_vec()), None, "web", "80", vec![DESTINATION]),
        // A header that the configuration does not name is the client's.
        (&by_attribute, number(9090), header("443"), "web", "9090", vec![DESTINATION]),
        (&by_header, number(443), header("9090"), "web", "9090", vec![]),
        (&by_header, number(443), None, "web", "443", vec![DESTINATION]),
        (&by_header, number(15001), header("15001"), "web", "80", vec![DESTINATION]),
        (&by_header, number(9090), header("\u{fc}"), "web", "9090", vec![DESTINATION]),
    ] {
        let mut host = host(configured)?;
        host.state_mut().properties =
            attribute.into_iter().map(|value| ("destination.port".to_owned(), value)).collect();
        let mut headers = vec![(":authority", authority), (":scheme", "http"), (":method", "GET")];
        headers.extend(header);
        let asked = asked.into_iter().map(str::to_owned).collect();
        assert_eq!(port(&mut host, &headers)?, (expected.to_owned(), asked), "{configured}, {header:?}: {authority}");
    }
    Ok(())
}
