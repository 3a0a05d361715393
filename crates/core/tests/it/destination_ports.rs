//! The port of a request whose authority has none, on a connection that was redirected.

use byname_core::{Config, Plan, Request, Scheme};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    config_validation::refused,
    fixture::{ask_for, config, decide, shop, trace, with_fields},
};

fn with_destination_port(of_connection: Value) -> Config {
    let alias = json!({"shop/pay": {"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local"},
                       "shop/fixed": {"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local",
                                      "alias": {"port": 80}}});
    config(json!({"destinationPort": of_connection, "table": {"services": with_fields(shop(), alias)}}))
}

fn to(authority: &str, port: u16, scheme: Scheme) -> Request<'_> {
    Request { destination_port: Some(port), ..Request::new(authority, scheme) }
}

#[test]
fn takes_the_port_of_the_authority_then_of_the_connection_then_of_the_scheme() {
    let config = with_destination_port(json!({}));
    for (authority, port, expected, why) in [
        ("payments", 9090, "service payments.shop:9090", "the client dialled 9090"),
        ("payments", 80, "service payments.shop:80", "the client dialled 80"),
        ("payments.prod", 9090, "pass port_not_found", "the Service has no such port"),
        ("payments:80", 9090, "service payments.shop:80", "the authority's own port counts first"),
        ("10.96.0.10", 9090, "cluster_ip payments.shop:9090", "an address literal without a port"),
        ("[fd00:96::10]", 9090, "cluster_ip payments.shop:9090", "IPv6 in brackets has no port"),
        ("_grpc._tcp.payments", 80, "service payments.shop:9090", "the name says which port"),
        ("pay", 9090, "alias payments.shop:9090", "an alias keeps the port"),
        ("fixed", 9090, "alias payments.shop:80", "unless it has a port of its own"),
    ] {
        for scheme in [Scheme::Http, Scheme::Https] {
            assert_eq!(ask_for(&config, to(authority, port, scheme)), expected, "{authority} to {port}: {why}");
        }
    }
    assert_eq!(ask_for(&config, Request::new("payments", Scheme::Http)), "service payments.shop:80");
}

#[test]
fn writes_a_port_that_the_scheme_does_not_imply() {
    let config = with_destination_port(json!({}));
    let mut plan = Plan::default();
    for (port, expected) in [(9090, "payments.shop.svc.cluster.local:9090"), (80, "payments.shop.svc.cluster.local")] {
        decide(&config, to("payments", port, Scheme::Http), &mut plan);
        assert_eq!(plan.authority(), Some(expected));
    }
    let words = trace(&config, "payments").to_string();
    assert!(words.contains("port 80 by the scheme"), "{words}");
}

#[test]
fn asks_for_the_destination_only_where_it_decides() {
    let config = with_destination_port(json!({}));
    for (authority, is_needed) in [
        ("payments", true),
        ("10.96.0.10", true),
        ("[fd00:96::10]", true),
        ("payments:80", false),
        ("[fd00:96::10]:80", false),
    ] {
        assert_eq!(config.destination_port(authority.as_bytes()).is_some(), is_needed, "{authority}");
    }
    assert!(config_without().destination_port(b"payments").is_none(), "traffic is not redirected");
}

fn config_without() -> Config {
    config(json!({"table": {"services": shop()}}))
}

#[test]
fn reads_what_the_listener_and_envoy_say() {
    let config = with_destination_port(json!({"header": "x-destination-port", "listenerPort": 15001}));
    let port = config.destination_port(b"payments").expect("there is no port in the authority");
    assert_eq!(port.header(), Some("x-destination-port"));
    for (value, expected) in [
        ("9090", Some(9090)),
        ("65535", Some(65535)),
        ("15001", None),
        ("0", None),
        ("65536", None),
        ("", None),
        ("-", None),
        ("9090,80", None),
    ] {
        assert_eq!(port.from_header(value.as_bytes()), expected, "{value:?}");
    }
    assert_eq!(port.from_header(b"\xff"), None);
    for (value, expected) in
        [(9090_i64, Some(9090)), (15001, None), (0, None), (-1, None), (65536, None), (i64::MAX, None)]
    {
        assert_eq!(port.from_attribute(&value.to_le_bytes()), expected, "{value}");
    }
    assert_eq!(port.from_attribute(b""), None);
    assert_eq!(port.from_attribute(b"9090"), None, "four bytes are no 64-bit number");
}

#[test]
fn refuses_a_header_that_means_something_else() {
    for header in ["", ":authority", "host", "X-Upper", "x-byname-cluster"] {
        refused(json!({"destinationPort": {"header": header}}), "destinationPort.header");
    }
    refused(json!({"destinationPort": {"listenerPort": 65536}}), "destinationPort.listenerPort");
}
