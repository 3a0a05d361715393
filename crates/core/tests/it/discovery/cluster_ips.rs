//! Cluster IPs that move from one Service to another.

use byname_core::limits::{MAX_UNUSED_SWEEPS, SWEEP_MILLISECONDS};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::with_ip;
use crate::stream::{Answer, Sidecar};

const OLD: &str = "cluster_ip old.shop:80";
const NEW: &str = "cluster_ip new.shop:80";

fn without_ip() -> Value {
    json!({"ports": [{"name": "http", "port": 80}]})
}

/// A sidecar that knows `old`, with this cluster IP, and `new`, without one.
fn sidecar() -> Sidecar {
    let mut sidecar = Sidecar::connected(json!({}));
    for name in ["old", "new", "10.96.0.1"] {
        assert_eq!(sidecar.ask(name), "waits");
    }
    sidecar.answer(&Answer::new("Service").with("shop/old", with_ip("10.96.0.1")).with("shop/new", without_ip()));
    sidecar.answer(&Answer::new("Address").with("10.96.0.1", "shop/old"));
    assert_eq!(sidecar.ask("10.96.0.1"), OLD);
    sidecar.take_sent();
    sidecar
}

#[test]
fn moves_in_one_message_in_either_order() {
    let (old, new) = (("shop/old", without_ip()), ("shop/new", with_ip("10.96.0.1")));
    for order in [[&old, &new], [&new, &old]] {
        let mut sidecar = sidecar();
        let answer =
            order.into_iter().fold(Answer::new("Service"), |answer, (name, service)| answer.with(name, service));
        sidecar.answer(&answer);
        sidecar.answer(&Answer::new("Address").with("10.96.0.1", "shop/new"));
        assert_eq!(
            ["10.96.0.1", "old", "new"].map(|name| sidecar.ask(name)),
            [NEW, "service old.shop:80", "service new.shop:80"]
        );
    }
}

#[test]
fn moves_from_a_service_that_goes() {
    for is_one_message in [true, false] {
        let mut sidecar = sidecar();
        if is_one_message {
            sidecar.answer(&Answer::new("Service").with("shop/new", with_ip("10.96.0.1")).without("shop/old"));
        } else {
            sidecar.answer(&Answer::new("Service").with("shop/new", with_ip("10.96.0.1")));
            sidecar.answer(&Answer::new("Service").without("shop/old"));
        }
        assert_eq!(["10.96.0.1", "old"].map(|name| sidecar.ask(name)), [NEW, "pass name_not_found"]);
    }
}

#[test]
fn moves_across_messages_and_both_names_resolve_meanwhile() {
    let mut sidecar = sidecar();
    sidecar.answer(&Answer::new("Service").with("shop/new", with_ip("10.96.0.1")));
    assert_eq!(
        ["10.96.0.1", "old", "new"].map(|name| sidecar.ask(name)),
        [NEW, "service old.shop:80", "service new.shop:80"]
    );
    sidecar.answer(&Answer::new("Service").with("shop/old", with_ip("10.96.0.2")));
    assert_eq!(sidecar.ask("10.96.0.1"), NEW);
    let id = sidecar.request("10.96.0.2");
    assert_eq!(sidecar.outcome(id), "cluster_ip old.shop:80");
}

#[test]
fn moves_back_although_only_one_of_the_two_is_told() {
    let mut sidecar = sidecar();
    sidecar.answer(&Answer::new("Service").with("shop/new", with_ip("10.96.0.1")));
    sidecar.take_sent();
    // The old one has its address again, as the sidecar was told before.
    sidecar.answer(&Answer::new("Service").with("shop/new", without_ip()));
    assert_eq!(sidecar.take_sent(), ["Service: +shop/old"], "it is told once more");
    sidecar.answer(&Answer::new("Service").with("shop/old", with_ip("10.96.0.1")));
    assert_eq!(sidecar.ask("10.96.0.1"), OLD);
}

#[test]
fn two_services_that_claim_one_address_cost_no_messages_without_end() {
    let mut sidecar = sidecar();
    let claims = [("shop/new", with_ip("10.96.0.1")), ("shop/old", with_ip("10.96.0.1"))];
    let mut answer = Answer::new("Service").with(claims[0].0, &claims[0].1);
    let mut rounds = 0;
    while !answer.resources.is_empty() && rounds < 100 {
        sidecar.answer(&answer);
        // The server answers what is asked for again.
        let asked: Vec<String> =
            std::mem::take(&mut sidecar.sent).into_iter().flat_map(|sent| sent.subscribe).collect();
        answer = claims
            .iter()
            .filter(|(name, _)| asked.iter().any(|asked| asked == name))
            .fold(Answer::new("Service"), |answer, (name, service)| answer.with(name, service));
        rounds += 1;
    }
    assert!(rounds < 5, "{rounds} rounds");
    assert_eq!(["old", "new"].map(|name| sidecar.ask(name)), ["service old.shop:80", "service new.shop:80"]);
}

#[test]
fn a_service_that_was_let_go_is_not_asked_for_again() {
    let mut sidecar = sidecar();
    sidecar.answer(&Answer::new("Service").with("shop/new", with_ip("10.96.0.1")));
    for _ in 0..=MAX_UNUSED_SWEEPS {
        assert_eq!(sidecar.ask("new"), "service new.shop:80");
        sidecar.wait(SWEEP_MILLISECONDS);
    }
    assert!(sidecar.take_sent().concat().contains("-shop/old"), "nobody uses it");
    sidecar.answer(&Answer::new("Service").with("shop/new", without_ip()));
    assert_eq!(sidecar.take_sent(), Vec::<String>::new());
}
