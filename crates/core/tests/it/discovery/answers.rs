//! What is asked for, when a request is decided, and what stays known.

use byname_core::limits::MAX_CONFIGURATION_BYTES;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::web;
use crate::stream::{Answer, Sidecar};

#[test]
fn asks_for_the_keys_of_all_candidates_at_once() {
    let mut sidecar = Sidecar::new(json!({}));
    assert_eq!(sidecar.ask("payments.prod"), "waits");
    assert_eq!((sidecar.opens, sidecar.sent.len()), (1, 0), "nothing is sent before the stream is open");
    sidecar.opened();
    assert!(sidecar.sent[0].has_node && !sidecar.sent[1].has_node, "the first message says who asks");
    assert_eq!(sidecar.take_sent()[0], "Namespaces: +*");
    sidecar.answer(&Answer::new("Namespaces").with("*", "prod shop"));
    assert_eq!(sidecar.ask("orders.prod"), "waits");
    // `db-0.db` in the namespace `prod`, and Services called `db` and `prod`.
    assert_eq!(sidecar.ask("db-0.db.prod"), "waits");
    let mut sent = sidecar.take_sent();
    sent.sort_unstable();
    assert_eq!(sent, ["Service: +prod/db", "Service: +prod/orders"]);
}

#[test]
fn is_decided_when_the_first_that_exists_and_all_before_it_are_answered() {
    let mut sidecar = Sidecar::connected(json!({}));
    // First the endpoint `payments` of a Service `shop/shop`, then the Service `shop/payments`.
    let id = sidecar.request("payments.shop");
    assert_eq!(sidecar.take_sent(), ["Service: +shop/shop +shop/payments"]);
    sidecar.answer(&Answer::new("Service").with("shop/payments", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "waits");
    sidecar.answer(&Answer::new("Service").without("shop/shop"));
    assert_eq!(sidecar.outcome(id), "service payments.shop:80");

    let mut sidecar = Sidecar::new(
        json!({"dns": {"searches": ["b.svc.cluster.local", "a.svc.cluster.local", "c.svc.cluster.local"]}}),
    );
    let id = sidecar.request("x");
    sidecar.opened();
    sidecar.answer(&Answer::new("Service").with("a/x", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "waits", "b/x comes before it");
    sidecar.answer(&Answer::new("Service").without("b/x"));
    assert_eq!(sidecar.outcome(id), "service x.a:80", "c/x comes after it");
}

#[test]
fn knows_what_does_not_exist_until_it_appears() {
    let mut sidecar = Sidecar::connected(json!({}));
    assert_eq!(sidecar.ask("late"), "waits");
    sidecar.answer(&Answer::new("Service").without("shop/late"));
    sidecar.take_sent();
    assert_eq!(sidecar.ask("late"), "pass name_not_found");
    assert_eq!(sidecar.take_sent(), Vec::<String>::new());
    sidecar.answer(&Answer::new("Service").with("shop/late", web("10.0.0.1")));
    assert_eq!(sidecar.ask("late"), "service late.shop:80");
    sidecar.answer(&Answer::new("Service").without("shop/late"));
    assert_eq!(sidecar.ask("late"), "pass name_not_found");
}

#[test]
fn an_answer_that_something_is_missing_is_outdated_when_the_stream_ends() {
    let fields = json!({"dns": {"searches": ["shop.svc.cluster.local", "prod.svc.cluster.local"]}});
    let mut sidecar = Sidecar::connected(fields);
    for name in ["both", "neither"] {
        assert_eq!(sidecar.ask(name), "waits");
    }
    let missing = Answer::new("Service").without("shop/both").without("shop/neither").without("prod/neither");
    sidecar.answer(&missing.with("prod/both", web("10.0.0.1")));
    assert_eq!([sidecar.ask("both"), sidecar.ask("neither")], ["service both.prod:80", "pass name_not_found"]);
    sidecar.closed();
    assert_eq!(sidecar.ask("both"), "service both.prod:80", "what exists serves on");
    let id = sidecar.request("neither");
    assert_eq!(sidecar.outcome(id), "waits", "it may exist by now");
    sidecar.wait(100);
    assert_eq!(sidecar.opens, 2);
    sidecar.take_sent();
    sidecar.opened();
    let mut keys: Vec<String> =
        sidecar.take_sent().iter().flat_map(|sent| sent.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    keys.retain(|key| key.starts_with("+prod") || key.starts_with("+shop"));
    keys.sort_unstable();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert!(keys[0].starts_with("+prod/both@"), "the version that is known of it: {keys:?}");
    assert!(keys[1..].iter().all(|key| !key.contains('@')), "nothing is known of the others: {keys:?}");
    sidecar.answer(&Answer::new("Service").without("shop/neither"));
    assert_eq!(sidecar.outcome(id), "waits", "prod/neither is not answered");
    sidecar.answer(&Answer::new("Service").without("prod/neither"));
    assert_eq!(sidecar.outcome(id), "pass name_not_found");
}

/// Whatever becomes of a known name: an alias that leads outside must go on under its target's name, or be refused.
#[test]
fn what_is_known_behind_an_outdated_answer_serves_on() {
    let with = |target: &str, own: Value| json!({"type": "ExternalName", "externalName": target, "alias": own});
    let mut sidecar = Sidecar::connected(json!({}));
    let names = ["out", "tls", "empty"].map(|name| format!("{name}.prod"));
    names.iter().for_each(|name| assert_eq!(sidecar.ask(name), "waits"));
    let empty = json!({"ports": [{"port": 80}], "endpoints": []});
    let answer = Answer::new("Service").without("shop/prod").with("prod/out", super::alias_of("db.example.com"));
    sidecar.answer(&answer.with("prod/tls", with("db.example.com", json!({"tls": true}))).with("prod/empty", empty));
    let outcomes = |sidecar: &mut Sidecar| names.each_ref().map(|name| sidecar.ask(name));
    let known = outcomes(&mut sidecar);
    assert_eq!(known, ["pass external as db.example.com:80", "refuse alias_denied", "refuse no_endpoints"]);
    sidecar.closed();
    assert_eq!(outcomes(&mut sidecar), known);
}

/// Each message may be as long as it may, and each Service is another one.
#[test]
fn services_take_no_more_memory_than_a_configuration() {
    let mut sidecar = Sidecar::connected(json!({}));
    let fat = |name: usize| {
        let service = json!({"ports": [{"port": 80, "appProtocol": "x".repeat(3 << 20)}]});
        Answer::new("Service").with(&format!("shop/fat-{name}"), service)
    };
    let refused = |sidecar: &mut Sidecar| {
        let sent = std::mem::take(&mut sidecar.sent);
        sent.iter().any(|sent| sent.error.as_ref().is_some_and(|error| error.contains("are too large")))
    };
    let taken = (0..100).take_while(|name| {
        sidecar.answer(&fat(*name));
        !refused(&mut sidecar)
    });
    assert_eq!(taken.count(), MAX_CONFIGURATION_BYTES / (3 << 20));
    // One that takes the place of itself needs no more, and one that goes leaves its room to others.
    sidecar.answer(&Answer::new("Service").without("shop/fat-3"));
    sidecar.answer(&fat(50));
    assert!(!refused(&mut sidecar));
    sidecar.answer(&fat(51));
    assert!(refused(&mut sidecar));
}

#[test]
fn names_of_other_namespaces_cost_no_key() {
    let mut sidecar = Sidecar::connected(json!({}));
    let keys = sidecar.keys();
    for public in
        ["www.example.org", "a.b.example.org", "api.dev.example", "_x._tcp.a.example", "10-0-0-1.example.pod.example"]
    {
        assert!(sidecar.ask(public).starts_with("pass "), "{public}");
    }
    assert_eq!(sidecar.keys(), keys);
    sidecar.answer(&Answer::new("Namespaces").with("*", "example prod shop"));
    assert_eq!(sidecar.ask("api.dev.example"), "waits", "there is such a namespace now");
    sidecar.answer(&Answer::new("Namespaces").without("*"));
    assert_eq!(sidecar.ask("web.prod"), "pass name_not_found", "no namespace is visible");
}

#[test]
fn requests_are_decided_when_the_namespaces_say_enough() {
    let mut sidecar = Sidecar::new(json!({}));
    let (public, own) = (sidecar.request("www.example.org"), sidecar.request("web"));
    sidecar.opened();
    assert_eq!(sidecar.outcome(public), "waits");
    sidecar.answer(&Answer::new("Namespaces").with("*", "shop"));
    assert_eq!(sidecar.outcome(public), "pass name_not_found");
    assert_eq!(sidecar.outcome(own), "waits");
}

#[test]
fn the_tables_own_services_come_first() {
    let table = json!({"services": {"shop/static": web("10.0.0.9")}});
    let mut sidecar = Sidecar::new(json!({"table": table}));
    assert_eq!(sidecar.ask("static"), "service static.shop:80");
    assert_eq!(sidecar.opens, 0, "the server is not needed");
    assert_eq!(sidecar.ask("static:81"), "pass port_not_found");
    assert_eq!(sidecar.ask("other"), "waits");
    sidecar.opened();
    let keys = sidecar.keys();
    sidecar.take_sent();
    // As what an alias leads to.
    sidecar.answer(&Answer::new("Service").with("shop/static", json!({"ports": [{"port": 81}]})));
    assert_eq!(sidecar.ask("static"), "service static.shop:80");
    assert_eq!(sidecar.ask("static:81"), "pass port_not_found");
    assert_eq!((sidecar.keys(), sidecar.take_sent()), (keys, vec!["Service: -shop/static".to_owned()]));
    sidecar.answer(&Answer::new("Service").without("shop/static"));
    assert_eq!(sidecar.ask("static"), "service static.shop:80");
}

#[test]
fn counts_each_request_that_waits_once() {
    let mut sidecar =
        Sidecar::connected(json!({"dns": {"searches": ["shop.svc.cluster.local", "prod.svc.cluster.local"]}}));
    let before = sidecar.discovery().0.counts();
    let id = sidecar.request("x");
    // In the same millisecond the first of its two keys is answered.
    sidecar.answer(&Answer::new("Service").without("shop/x"));
    assert_eq!(sidecar.outcome(id), "waits");
    sidecar.answer(&Answer::new("Service").without("prod/x"));
    assert_eq!(sidecar.outcome(id), "pass name_not_found");
    let counts = sidecar.discovery().0.counts();
    assert_eq!((counts.waits - before.waits, counts.timeouts - before.timeouts), (1, 0));
}
