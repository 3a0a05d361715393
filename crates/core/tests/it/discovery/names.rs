//! Every form of name over a stream.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{alias_of, web, with_ip};
use crate::stream::{Answer, Sidecar};

fn database() -> serde_json::Value {
    json!({"clusterIPs": "None", "ports": [{"name": "http", "port": 80}], "endpoints": [
        {"addresses": "10.244.1.1 10.244.1.2", "hostnames": "db-0 db-1"},
        {"addresses": "10.244.1.3", "hostnames": "db-2", "ready": false},
    ]})
}

#[test]
fn an_alias_and_its_target_in_one_message_decide_a_request() {
    let mut sidecar = Sidecar::connected(json!({}));
    let id = sidecar.request("pay");
    let answer = Answer::new("Service").with("shop/pay", alias_of("payments.shop.svc.cluster.local"));
    sidecar.answer(&answer.clone().with("shop/payments", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "alias payments.shop:80");
    sidecar.answer(&Answer::new("Service").with("shop/payments", json!({"ports": [{"port": 81}]})));
    assert_eq!(sidecar.ask("pay"), "pass port_not_found", "the target stays subscribed");
    sidecar.answer(&Answer::new("Service").without("shop/payments"));
    assert_eq!(sidecar.ask("pay"), "pass name_not_found as payments.shop:80");
}

#[test]
fn asks_for_the_target_of_an_alias_that_came_alone() {
    let mut sidecar = Sidecar::connected(json!({}));
    let id = sidecar.request("pay");
    sidecar.take_sent();
    sidecar.answer(&Answer::new("Service").with("shop/pay", alias_of("payments.shop.svc.cluster.local")));
    assert_eq!(sidecar.outcome(id), "waits");
    assert_eq!(sidecar.take_sent(), ["Service: +shop/payments"]);
    sidecar.answer(&Answer::new("Service").with("shop/payments", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "alias payments.shop:80");
}

#[test]
fn aliases_in_a_circle_end() {
    let mut sidecar = Sidecar::connected(json!({}));
    let id = sidecar.request("a");
    let answer = Answer::new("Service").with("shop/a", alias_of("b.shop.svc.cluster.local"));
    sidecar.answer(&answer.with("shop/b", alias_of("a.shop.svc.cluster.local")));
    assert_eq!(sidecar.outcome(id), "refuse alias_loop");
}

#[test]
fn a_fallback_is_followed_when_the_server_has_said_that_it_is_needed() {
    let fallback = json!({"services": {
        "shop/gone": {"service": "shop/spare"},
        "shop/empty": {"service": "shop/spare"},
        "shop/far": {"service": "shop/none"},
    }});
    let mut sidecar = Sidecar::connected(json!({"fallback": fallback}));
    let id = sidecar.request("gone");
    assert_eq!(sidecar.take_sent(), ["Service: +shop/gone +shop/spare"], "both at once");
    sidecar.answer(&Answer::new("Service").with("shop/spare", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "waits", "shop/gone may exist");
    sidecar.answer(&Answer::new("Service").without("shop/gone"));
    assert_eq!(sidecar.outcome(id), "fallback_missing spare.shop:80");

    let id = sidecar.request("empty");
    sidecar.answer(&Answer::new("Service").with("shop/empty", json!({"ports": [{"port": 80}], "endpoints": []})));
    assert_eq!(sidecar.outcome(id), "fallback_no_endpoints spare.shop:80");

    let id = sidecar.request("far");
    sidecar.answer(&Answer::new("Service").without("shop/far"));
    assert_eq!(sidecar.outcome(id), "waits", "the fallback is not answered");
    sidecar.answer(&Answer::new("Service").without("shop/none"));
    assert_eq!(sidecar.outcome(id), "pass name_not_found");
}

#[test]
fn the_baseline_is_followed_when_the_server_has_said_that_it_is_needed() {
    let mut sidecar = Sidecar::connected(json!({"fallback": {"baselines": {"shop": "prod"}}}));
    let id = sidecar.request("search");
    assert_eq!(sidecar.take_sent(), ["Service: +shop/search +prod/search"]);
    sidecar.answer(&Answer::new("Service").with("prod/search", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "waits");
    sidecar.answer(&Answer::new("Service").without("shop/search"));
    assert_eq!(sidecar.outcome(id), "baseline search.prod:80");
}

#[test]
fn a_cluster_ip_needs_the_address_and_the_service() {
    let mut sidecar = Sidecar::connected(json!({}));
    let id = sidecar.request("10.96.0.7:80");
    assert_eq!(sidecar.take_sent(), ["Address: +10.96.0.7"]);
    // The Service comes first, because the address leads to it.
    sidecar.answer(&Answer::new("Service").with("prod/payments", with_ip("10.96.0.7")));
    sidecar.answer(&Answer::new("Address").with("10.96.0.7", "prod/payments"));
    assert_eq!(sidecar.outcome(id), "cluster_ip payments.prod:80");

    let id = sidecar.request("10.96.0.8");
    sidecar.take_sent();
    sidecar.answer(&Answer::new("Address").with("10.96.0.8", "prod/late"));
    assert_eq!(sidecar.outcome(id), "waits", "the Service is not answered");
    assert_eq!(sidecar.take_sent(), ["Service: +prod/late"]);
    sidecar.answer(&Answer::new("Service").with("prod/late", with_ip("10.96.0.8")));
    assert_eq!(sidecar.outcome(id), "cluster_ip late.prod:80");
}

#[test]
fn an_address_that_is_none_of_the_cluster_is_passed_on() {
    let mut sidecar = Sidecar::connected(json!({}));
    for address in ["192.0.2.1", "10.244.0.9", "[fd00::9]", "[::ffff:192.0.2.9]"] {
        let id = sidecar.request(address);
        assert_eq!(sidecar.outcome(id), "waits", "{address}");
        let asked = sidecar.take_sent().pop().expect("it is asked for");
        let name = asked.strip_prefix("Address: +").expect("an address");
        sidecar.answer(&match name.starts_with("10.") {
            true => Answer::new("Address").with(name, ""),
            false => Answer::new("Address").without(name),
        });
        assert_eq!(sidecar.outcome(id), "pass ip_literal", "{address}");
        assert_eq!(sidecar.ask(address), "pass ip_literal", "{address}");
    }
    for special in ["127.0.0.1", "169.254.169.254", "[::1]", "0.0.0.0"] {
        assert_eq!(sidecar.ask(special), "pass ip_literal", "nobody is asked about {special}");
    }
}

#[test]
fn a_pods_name_needs_its_address() {
    let mut sidecar = Sidecar::connected(json!({}));
    let id = sidecar.request("10-244-0-7.shop.pod");
    assert_eq!(sidecar.take_sent(), ["Address: +10.244.0.7"]);
    sidecar.answer(&Answer::new("Address").with("10.244.0.7", ""));
    assert_eq!(sidecar.outcome(id), "pod 10-244-0-7.shop.pod.cluster.local:80");
    let id = sidecar.request("fd00--7.shop.pod");
    assert_eq!(sidecar.take_sent(), ["Address: +fd00::7"]);
    sidecar.answer(&Answer::new("Address").without("fd00::7"));
    assert_eq!(sidecar.outcome(id), "pass name_not_found");
    let id = sidecar.request("10-96-0-7.shop.pod");
    sidecar.answer(&Answer::new("Service").with("shop/payments", with_ip("10.96.0.7")));
    sidecar.answer(&Answer::new("Address").with("10.96.0.7", "shop/payments"));
    assert_eq!(sidecar.outcome(id), "pass name_not_found", "it is no pod");
    assert_eq!(sidecar.ask("127-0-0-1.shop.pod"), "pass name_not_found", "no pod has it");
}

#[test]
fn names_of_endpoints_and_ports_need_their_service() {
    let mut sidecar = Sidecar::connected(json!({}));
    let names = ["db-0.db", "db-9.db.shop", "db-2.db", "_http._tcp.db", "_grpc._tcp.db", "db", "10-244-1-1.db"];
    let ids = names.map(|name| sidecar.request(name));
    let sent = sidecar.take_sent();
    let services: Vec<&str> = sent.iter().flat_map(|sent| sent.split('+').skip(1)).map(str::trim).collect();
    // `db-0.db` may be a Service `db-0` in the namespace `db`, which does not exist.
    assert_eq!(services, ["shop/db"], "{sent:?}");
    sidecar.answer(&Answer::new("Service").with("shop/db", database()));
    assert_eq!(
        ids.map(|id| sidecar.outcome(id)),
        [
            "endpoint db-0.db.shop:80",
            "pass name_not_found",
            "refuse no_endpoints",
            "service db.shop:80",
            "pass name_not_found",
            "service db.shop:80",
            "pass name_not_found",
        ]
    );
}

#[test]
fn a_headless_service_without_ready_endpoints_is_no_name() {
    let mut sidecar =
        Sidecar::connected(json!({"dns": {"searches": ["shop.svc.cluster.local", "prod.svc.cluster.local"]}}));
    let unready = json!({"clusterIPs": "None", "ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.1", "ready": false}]});
    let id = sidecar.request("db");
    sidecar.answer(&Answer::new("Service").with("shop/db", &unready));
    assert_eq!(sidecar.outcome(id), "waits", "the search goes on");
    sidecar.answer(&Answer::new("Service").with("prod/db", database()));
    assert_eq!(sidecar.outcome(id), "service db.prod:80");
    sidecar.answer(&Answer::new("Service").with("shop/db", database()));
    assert_eq!(sidecar.ask("db"), "service db.shop:80");
    sidecar.answer(&Answer::new("Service").with("shop/db", unready).without("prod/db"));
    assert_eq!(sidecar.ask("db"), "refuse no_endpoints");
}
