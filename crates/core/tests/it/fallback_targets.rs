//! Fallbacks together with aliases, external hosts and grants.

use byname_core::Scheme;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    fallbacks::{alias, chain, decide, to, with},
    fixture::{self, check, config, try_config},
};

#[test]
fn follows_the_fallback_of_an_aliases_target() {
    let more = json!({
        "shop/to-gone": alias("gone.shop.svc.cluster.local"),
        "shop/to-empty": alias("empty.shop.svc.cluster.local"),
        "shop/to-unready": alias("unready.shop.svc.cluster.local"),
        "shop/to-named": alias("_grpc._tcp.empty.shop.svc.cluster.local"),
        "shop/to-nope": alias("nope.shop.svc.cluster.local"),
        "shop/to-granted": alias("gone.prod.svc.cluster.local"),
        "shop/to-denied": alias("gone.test.svc.cluster.local"),
        "shop/own-port": {"type": "ExternalName", "externalName": "gone.shop.svc.cluster.local", "alias": {"port": 9090}},
        "shop/to-alias": alias("to-gone.shop.svc.cluster.local"),
    });
    let of = json!({
        "shop/gone": to("shop/payments"),
        "shop/empty": to("shop/payments"),
        "shop/unready": to("shop/payments"),
        "prod/gone": to("prod/payments"),
        "test/gone": to("test/payments"),
        "shop/to-nope": to("shop/web"),
    });
    let grants = json!({"externalNames": {"grants": [{"from": "shop", "to": "prod"}]}});
    check(
        &config(with(more, of, grants)),
        &[
            ("to-gone", "fallback_missing payments.shop:80", "its target is missing"),
            ("to-gone:9090", "fallback_missing payments.shop:9090", "the requested port stays"),
            ("to-alias", "fallback_missing payments.shop:80", "behind two aliases"),
            ("own-port", "fallback_missing payments.shop:9090", "the alias's own port stays too"),
            ("to-empty", "fallback_no_endpoints payments.shop:80", "its target is empty"),
            ("to-unready", "fallback_no_endpoints payments.shop:80", "its target is headless without ready endpoints"),
            ("to-named", "fallback_no_endpoints payments.shop:9090", "the target names a port"),
            ("to-granted", "fallback_missing payments.prod:80", "in a namespace that is granted"),
            ("to-denied", "refuse alias_denied", "the grant is checked before the fallback"),
            ("to-nope", "pass name_not_found", "a broken alias exists, so its fallback for missing does not apply"),
        ],
    );
}

#[test]
fn follows_a_fallback_to_an_alias() {
    let more = json!({
        "shop/pay": alias("payments.shop.svc.cluster.local"),
        "shop/rpc": {"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local", "alias": {"port": 9090}},
        "shop/first-db": alias("db-0.db.shop.svc.cluster.local"),
        "shop/api": {"type": "ExternalName", "externalName": "api.example.com", "alias": {"port": 443, "tls": true}},
        "shop/there": alias("payments.prod.svc.cluster.local"),
        "shop/a": alias("b.shop.svc.cluster.local"),
        "shop/b": alias("a.shop.svc.cluster.local"),
        "shop/round": alias("gone-round.shop.svc.cluster.local"),
        "shop/into": alias("empty-2.shop.svc.cluster.local"),
    });
    let of = json!({
        "shop/gone": to("shop/pay"),
        "shop/gone-port": {"service": "shop/rpc", "port": 1},
        "shop/gone-db": to("shop/first-db"),
        "shop/gone-api": to("shop/api"),
        "shop/gone-there": to("shop/there"),
        "shop/gone-loop": to("shop/a"),
        "shop/gone-round": to("shop/round"),
        "shop/empty": to("shop/pay"),
        "shop/gone-into": to("shop/into"),
        "shop/empty-2": to("shop/web"),
    });
    let allow = json!({"externalNames": {"allow": [{"host": "api.example.com", "ports": [443]}]}});
    check(
        &config(with(more, of, allow)),
        &[
            ("gone", "fallback_missing payments.shop:80", "the first reason is reported"),
            (
                "gone-port",
                "fallback_missing payments.shop:9090",
                "the alias is the last on the way and decides the port",
            ),
            ("gone-db", "fallback_missing db-0.db.shop:80", "an alias of one endpoint"),
            ("gone-api", "fallback_missing api.example.com:443", "an alias of an external host that is listed"),
            ("gone-there", "fallback_missing payments.prod:80", "an alias into another namespace"),
            ("gone-loop", "pass name_not_found", "a broken alias does not help"),
            (
                "round",
                "pass name_not_found as gone-round.shop:80",
                "an alias whose missing target's fallback is the alias",
            ),
            ("gone-round", "pass name_not_found", "a fallback to an alias of the missing Service: a circle"),
            ("empty", "fallback_no_endpoints payments.shop:80", ""),
            ("gone-into", "fallback_missing web.shop:80", "missing, an alias, empty, and one more fallback"),
        ],
    );
}

#[test]
fn requires_host_and_port_of_an_external_fallback_to_be_listed() {
    let host = |host: &str, port: u16| json!({"host": host, "port": port});
    let allow = json!({"externalNames": {"allow": [
        {"host": "api.example.com", "ports": [443, 8443]}, {"host": "*.example.org", "ports": [80]},
        {"host": "localhost", "ports": [80]}, {"host": "*.internal", "ports": [80]}, {"host": "metadata", "ports": [80]},
        {"host": "payments.shop.svc.cluster.local", "ports": [80]}, {"host": "*.cluster.local", "ports": [80]},
        {"host": "cluster.local", "ports": [80]}]}});
    let of = json!({
        "shop/gone": {"host": "API.example.com.", "port": 443, "tls": true},
        "shop/gone-8443": host("api.example.com", 8443),
        "shop/gone-clear": {"host": "api.example.com", "port": 8443, "tls": false},
        "shop/gone-below": host("a.b.example.org", 80),
        "shop/empty": host("api.example.com", 443),
        "shop/empty-2": to("shop/gone-8443"),
        "shop/unready": host("api.example.com", 443),
    });
    let outside = config(with(json!({}), of, allow.clone()));
    check(
        &outside,
        &[
            ("gone", "fallback_missing api.example.com:443", "in its canonical form"),
            ("gone:80", "fallback_missing api.example.com:443", "the port is configured, so no client chooses another"),
            ("gone-8443", "fallback_missing api.example.com:8443", "its second port"),
            ("gone-below", "fallback_missing a.b.example.org:80", "by a pattern"),
            ("empty", "fallback_no_endpoints api.example.com:443", ""),
            ("10.96.0.20", "fallback_no_endpoints api.example.com:443", "by cluster IP"),
            (
                "empty-2",
                "fallback_no_endpoints api.example.com:8443",
                "at the end of a chain: the first decides the reason",
            ),
            ("unready", "fallback_no_endpoints api.example.com:443", ""),
        ],
    );
    for (authority, scheme, planned) in [
        ("gone", Scheme::Http, "external-tls|443|api.example.com | api.example.com"),
        ("gone", Scheme::Https, "external-tls|443|api.example.com | api.example.com"),
        ("gone-8443", Scheme::Http, "external|8443|api.example.com | api.example.com:8443"),
        ("gone-8443", Scheme::Https, "external-tls|8443|api.example.com | api.example.com:8443"),
        ("gone-clear", Scheme::Https, "external|8443|api.example.com | api.example.com:8443"),
    ] {
        assert_eq!(decide(&outside, authority, scheme).0, planned, "{authority} over {scheme:?}");
    }

    for (name, port, why) in [
        ("api.example.com", 80, "a port that is not listed"),
        ("other.example.com", 443, "a host that is not"),
        ("example.org", 80, "a pattern leaves out the domain itself"),
        ("localhost", 80, "always refused"),
        ("metadata", 80, "always refused"),
        ("metadata.google.internal", 80, "always refused"),
        ("instance-data.eu-west-1.compute.internal", 80, "always refused"),
        ("payments.shop.svc.cluster.local", 80, "inside the cluster: name it as a Service"),
        ("x.cluster.local", 80, "below the cluster domain"),
        ("cluster.local", 80, "the cluster domain itself"),
        ("10.0.0.1", 80, "an address"),
    ] {
        let error = try_config(with(json!({}), json!({"shop/gone": host(name, port)}), allow.clone())).expect_err(why);
        let expected = format!(
            "fallback.services[\"shop/gone\"].host: \"{name}\" is not listed in externalNames.allow with this port"
        );
        assert!(error.starts_with(&expected), "{why}: {error}");
    }
}

#[test]
fn gives_the_host_and_port_to_a_dynamic_forward_proxy() {
    let fields = json!({
        "externalNames": {"allow": [{"host": "api.example.com", "ports": [443]}]},
        "steering": {"external": {"cluster": "dfp", "tlsCluster": "dfp-tls", "dynamicForwardProxy": true}},
    });
    let config =
        config(with(json!({}), json!({"shop/gone": {"host": "api.example.com", "port": 443, "tls": true}}), fields));
    let plan = fixture::plan(&config, "gone", Scheme::Http);
    assert_eq!((plan.cluster(), plan.dynamic_host()), (Some("dfp-tls"), Some(("api.example.com", 443))));
}

#[test]
fn requires_a_grant_for_a_fallback_into_another_namespace() {
    let grant = |from: &str, to: &str| json!({"externalNames": {"grants": [{"from": from, "to": to}]}});
    let of = |key: &str, target: &str| Value::Object([(key.to_owned(), to(target))].into_iter().collect());
    assert!(try_config(with(json!({}), of("shop/gone", "prod/payments"), json!({}))).is_ok(), "aliases are followed");
    let listed = json!({"externalNames": {"mode": "listed"}});
    let error = try_config(with(json!({}), of("shop/gone", "prod/payments"), listed)).expect_err("not granted");
    assert_eq!(
        error,
        "fallback.services[\"shop/gone\"].service: \"prod/payments\" is in another namespace, without a grant; \
        add a grant to externalNames.grants, or name a Service of the same namespace"
    );
    assert!(
        try_config(with(json!({}), of("shop/gone", "prod/payments"), grant("prod", "shop"))).is_err(),
        "a grant has a direction"
    );
    assert!(
        try_config(with(json!({}), of("prod/gone", "test/payments"), grant("shop", "test"))).is_err(),
        "the namespace of the Service counts, not that of the caller"
    );
    assert!(
        try_config(with(json!({}), of("shop/gone", "nope/nothing"), grant("shop", "prod"))).is_err(),
        "whether or not it is in the table"
    );
    let granted = |key: &str, target: &str, grants: Value| config(with(json!({}), of(key, target), grants));
    check(
        &granted("shop/gone", "prod/payments", grant("shop", "prod")),
        &[("gone", "fallback_missing payments.prod:80", "granted")],
    );
    check(
        &granted("shop/empty", "prod/payments", grant("shop", "prod")),
        &[("empty", "fallback_no_endpoints payments.prod:80", "granted")],
    );
    check(
        &granted("prod/gone", "shop/payments", grant("prod", "shop")),
        &[("gone.prod", "fallback_missing payments.shop:80", "granted to prod")],
    );
    // Each link needs its own grant, and the chain needs none from shop to test.
    let links = chain(&["shop/gone", "prod/gone", "test/payments"]);
    let grants = json!([{"from": "shop", "to": "prod"}, {"from": "prod", "to": "test"}]);
    let test = json!({"test/payments": {"ports": [{"port": 80}]}});
    check(
        &config(with(test, links, json!({"externalNames": {"grants": grants}}))),
        &[("gone", "fallback_missing payments.test:80", "each link has its own grant")],
    );
}
