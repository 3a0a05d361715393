//! What a new configuration keeps of what an earlier one was told.

use byname_core::limits::{MAX_WAIT_MILLISECONDS, SWEEP_MILLISECONDS};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{alias_of, web};
use crate::stream::{Answer, Sidecar};

/// A sidecar that knows `web`, the alias `pay` of it, that `gone` is missing, a pod and an address that is none.
fn sidecar(fields: serde_json::Value) -> Sidecar {
    let mut sidecar = Sidecar::connected(fields);
    for name in ["web", "pay", "gone", "10.244.0.7", "192.0.2.1"] {
        assert_eq!(sidecar.ask(name), "waits");
    }
    let services = Answer::new("Service").with("shop/web", web("10.0.0.1")).without("shop/gone");
    sidecar.answer(&services.with("shop/pay", alias_of("web.shop.svc.cluster.local")));
    sidecar.answer(&Answer::new("Address").with("10.244.0.7", "").without("192.0.2.1"));
    assert_eq!(sidecar.ask("gone"), "pass name_not_found");
    sidecar.take_sent();
    sidecar
}

#[test]
fn what_exists_is_known_after_a_push() {
    let mut sidecar = sidecar(json!({}));
    let keys = sidecar.keys();
    sidecar.push(json!({"unknownNames": "refuse"}));
    let known = ["web", "pay", "10-244-0-7.shop.pod", "10.244.0.7"].map(|name| sidecar.ask(name));
    assert_eq!(
        known,
        ["service web.shop:80", "alias web.shop:80", "pod 10-244-0-7.shop.pod.cluster.local:80", "pass ip_literal"]
    );
    assert_eq!(sidecar.keys(), keys);
    let ids = ["gone", "192.0.2.1", "www.a.example"].map(|name| sidecar.request(name));
    assert_eq!(ids.map(|id| sidecar.outcome(id)), ["waits"; 3], "what was missing is outdated");
    sidecar.wait(1);
    assert_eq!(sidecar.opens, 2, "the stream is opened again");
    sidecar.opened();
    let sent = sidecar.take_sent();
    assert!(sent[1].contains("+shop/web@") && sent[1].contains("+shop/gone"), "known versions cost no bytes: {sent:?}");
    sidecar.answer(&Answer::new("Namespaces").with("*", "prod shop"));
    sidecar.answer(&Answer::new("Service").without("shop/gone"));
    sidecar.answer(&Answer::new("Address").without("192.0.2.1"));
    assert_eq!(
        ids.map(|id| sidecar.outcome(id)),
        ["refuse name_not_found", "pass ip_literal", "refuse name_not_found"]
    );
}

#[test]
fn requests_that_wait_go_on_waiting_no_longer_than_their_bound() {
    let mut sidecar = Sidecar::connected(json!({}));
    let ids = ["first", "second"].map(|name| sidecar.request(name));
    sidecar.wait(200);
    sidecar.push(json!({}));
    sidecar.wait(1);
    sidecar.opened();
    sidecar.answer(&Answer::new("Service").with("shop/first", web("10.0.0.1")));
    assert_eq!(ids.map(|id| sidecar.outcome(id)), ["service first.shop:80", "waits"]);
    sidecar.wait(MAX_WAIT_MILLISECONDS - 201);
    assert_eq!(sidecar.decided[&ids[1]], ("pass unanswered".to_owned(), MAX_WAIT_MILLISECONDS));
    assert_eq!(sidecar.discovery().0.counts().waits, 3);
}

#[test]
fn another_namespace_knows_nothing_and_decides_those_who_wait() {
    let mut sidecar = sidecar(json!({}));
    let id = sidecar.request("late");
    sidecar.push(json!({"caller": {"namespace": "prod"}}));
    assert_eq!(sidecar.keys(), 0);
    sidecar.wait(MAX_WAIT_MILLISECONDS);
    assert_eq!(sidecar.outcome(id), "pass unanswered", "it is not forgotten");
    assert_eq!(sidecar.ask("web.shop"), "waits", "the namespace prod may not see it");
}

#[test]
fn by_endpoint_services_are_asked_for_with_their_endpoints() {
    let mut sidecar = sidecar(json!({}));
    sidecar.push(json!({"steering": {"by": "endpoint"}}));
    assert_eq!(sidecar.ask("web"), "waits", "its endpoints are not known");
    assert_eq!(sidecar.ask("10-244-0-7.shop.pod"), "pod 10-244-0-7.shop.pod.cluster.local:80");
    sidecar.wait(1);
    sidecar.opened();
    let sent = sidecar.take_sent();
    let endpoints = sent.iter().find(|sent| sent.starts_with("Endpoints:")).expect("endpoints are asked for");
    assert!(endpoints.contains("+shop/web") && !endpoints.contains("+shop/web@"), "{sent:?}");
    assert!(!sent.iter().any(|sent| sent.starts_with("Service:")), "{sent:?}");
    sidecar.answer(&Answer::new("Endpoints").with("shop/web", web("10.0.0.1")));
    assert_eq!(["web", "pay"].map(|name| sidecar.ask(name)), ["service web.shop:80", "alias web.shop:80"]);
    // And back.
    sidecar.push(json!({}));
    assert_eq!(["web", "pay"].map(|name| sidecar.ask(name)), ["service web.shop:80", "alias web.shop:80"]);
}

#[test]
fn a_service_that_the_new_table_has_is_its_own() {
    let mut sidecar = sidecar(json!({}));
    let own = json!({"ports": [{"port": 81}]});
    sidecar.push(json!({"table": {"services": {"shop/web": own, "shop/gone": own}}}));
    assert_eq!(
        ["web:81", "gone:81", "pay:81"].map(|name| sidecar.ask(name)),
        ["service web.shop:81", "service gone.shop:81", "alias web.shop:81"]
    );
    sidecar.wait(1);
    sidecar.opened();
    sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")).with("shop/gone", web("10.0.0.1")));
    assert_eq!(["web:81", "gone:81"].map(|name| sidecar.ask(name)), ["service web.shop:81", "service gone.shop:81"]);
}

#[test]
fn what_is_no_longer_preloaded_is_unsubscribed_when_nobody_uses_it() {
    let mut sidecar = Sidecar::connected(json!({"server": {"cluster": "byname", "preload": ["prod/*"]}}));
    sidecar.answer(&Answer::new("Namespaces").with("prod", "web"));
    sidecar.answer(&Answer::new("Service").with("prod/web", web("10.0.0.1")));
    sidecar.push(json!({}));
    sidecar.wait(1);
    sidecar.opened();
    sidecar.answer(&Answer::new("Namespaces").with("*", "prod shop"));
    sidecar.answer(&Answer::new("Service").without("shop/start"));
    sidecar.wait(10 * SWEEP_MILLISECONDS);
    assert_eq!(sidecar.keys(), 0);
}

#[test]
fn another_server_is_tried_before_it_is_given_up() {
    let mut sidecar = Sidecar::new(json!({}));
    sidecar.request("web");
    (0..5).for_each(|_| {
        sidecar.closed();
        sidecar.wait(30_000);
    });
    sidecar.closed();
    assert_eq!(sidecar.ask("web"), "pass unanswered");
    sidecar.push(json!({"server": {"cluster": "other"}}));
    let opens = sidecar.opens;
    sidecar.wait(1);
    assert_eq!(sidecar.opens, opens + 1);
    assert_eq!(sidecar.ask("web"), "waits");
}
