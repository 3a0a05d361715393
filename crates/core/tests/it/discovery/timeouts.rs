//! How long a request waits, and what becomes of it then.

use byname_core::{
    Trace,
    limits::{MAX_WAIT_MILLISECONDS, MAX_WAITING_REQUESTS},
    trace::Step,
};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::web;
use crate::{
    fixture::{http, local_reply, trace},
    stream::{Answer, Sidecar},
};

#[test]
fn a_request_waits_no_longer_than_its_bound() {
    for (on_timeout, outcome) in [("pass", "pass unanswered"), ("refuse", "refuse unanswered")] {
        let mut sidecar = Sidecar::new(json!({"server": {"cluster": "byname", "onTimeout": on_timeout}}));
        let first = sidecar.request("web");
        sidecar.opened();
        sidecar.wait(100);
        let second = sidecar.request("web");
        sidecar.wait(MAX_WAIT_MILLISECONDS - 101);
        assert_eq!(sidecar.outcome(first), "waits");
        sidecar.wait(1);
        assert_eq!(sidecar.outcome(first), outcome);
        assert_eq!(sidecar.outcome(second), "waits");
        sidecar.wait(100);
        assert_eq!(sidecar.decided[&second], (outcome.to_owned(), MAX_WAIT_MILLISECONDS));
        assert_eq!(sidecar.discovery().0.counts().timeouts, 2);
        // The answer that comes late is not lost.
        sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")));
        assert_eq!(sidecar.ask("web"), "service web.shop:80");
    }
}

#[test]
fn requests_are_passed_on_by_default() {
    let mut sidecar = Sidecar::new(json!({}));
    let id = sidecar.request("web");
    sidecar.wait(MAX_WAIT_MILLISECONDS);
    assert_eq!(sidecar.outcome(id), "pass unanswered");
}

#[test]
fn answers_that_come_piece_by_piece_do_not_extend_the_wait() {
    let searches: Vec<String> = (0..9).map(|number| format!("n{number}.svc.cluster.local")).collect();
    let mut sidecar = Sidecar::new(json!({"dns": {"searches": searches}}));
    let id = sidecar.request("web");
    sidecar.opened();
    for number in 0..8 {
        sidecar.wait(50);
        sidecar.answer(&Answer::new("Service").without(&format!("n{number}/web")));
    }
    assert_eq!(sidecar.decided[&id], ("pass unanswered".to_owned(), MAX_WAIT_MILLISECONDS));
}

#[test]
fn no_request_waits_while_the_server_is_away() {
    let mut sidecar = Sidecar::new(json!({}));
    let id = sidecar.request("web");
    sidecar.closed();
    assert_eq!(sidecar.outcome(id), "pass unanswered", "the stream could not be opened");
    assert_eq!(sidecar.ask("web"), "pass unanswered");
    sidecar.wait(1_000);
    assert_eq!(sidecar.opens, 2);
    assert_eq!(sidecar.ask("web"), "pass unanswered", "one that opens may be of no use either");
    sidecar.opened();
    assert_eq!(sidecar.ask("web"), "pass unanswered");
    sidecar.answer(&Answer::new("Namespaces").with("*", "shop"));
    assert_eq!(sidecar.ask("web"), "waits", "the server answers");
}

#[test]
fn at_most_so_many_requests_wait() {
    let mut sidecar = Sidecar::new(json!({}));
    for _ in 0..MAX_WAITING_REQUESTS {
        assert_eq!(sidecar.ask("web"), "waits");
    }
    assert_eq!(sidecar.ask("web"), "pass unanswered");
    sidecar.leave(1);
    assert_eq!(sidecar.ask("web"), "waits", "a client that leaves makes room");
    sidecar.opened();
    sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")));
    assert_eq!((sidecar.discovery().0.waiting(), sidecar.waiting.len()), (0, 0));
    for number in 0..MAX_WAITING_REQUESTS {
        assert_eq!(sidecar.ask(&format!("n{number}")), "waits", "a request that was decided makes room at once");
    }
}

#[test]
fn a_request_that_has_left_is_not_resumed() {
    let mut sidecar = Sidecar::connected(json!({}));
    let id = sidecar.request("web");
    sidecar.leave(id);
    sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")));
    sidecar.wait(1_000);
    assert_eq!(sidecar.outcome(id), "waits");
}

#[test]
fn a_local_reply_says_what_the_server_has_not_answered() {
    let sidecar = Sidecar::new(json!({"server": {"cluster": "byname", "onTimeout": "refuse"}}));
    let reply = local_reply(&sidecar.config, http("payments.prod")).expect("it is refused");
    assert_eq!((reply.status, reply.grpc_status), (503, 14));
    assert_eq!(
        reply.body,
        "byname: unanswered: \"payments.prod\" from namespace shop: the server has not answered for shop/prod \
        prod/payments; retry; if it stays, check that byname serve runs and that this sidecar can reach it\n"
    );
}

#[test]
fn a_trace_says_what_was_asked_for_and_how_long_the_request_waited() {
    let mut sidecar = Sidecar::connected(json!({}));
    let unanswered = trace(&sidecar.config, "web").to_string();
    assert!(unanswered.contains("the server has not answered for shop/web"), "{unanswered}");
    assert_eq!(sidecar.ask("web"), "waits");
    sidecar.answer(&Answer::new("Service").without("shop/web"));
    sidecar.closed();
    let outdated = trace(&sidecar.config, "web").to_string();
    assert!(outdated.contains("the stream to the server that denied it has ended"), "{outdated}");
    let alias = json!({"type": "ExternalName", "externalName": "late.shop.svc.cluster.local"});
    let mut sidecar = Sidecar::connected(json!({}));
    assert_eq!(sidecar.ask("pay"), "waits");
    sidecar.answer(&Answer::new("Service").with("shop/pay", alias));
    let hop = trace(&sidecar.config, "pay").to_string();
    assert!(hop.contains("-> late.shop.svc.cluster.local is not known: the server has not answered"), "{hop}");
    let waited = Trace { steps: vec![Step::Waited { milliseconds: 12 }], ..Trace::new(0) };
    assert!(waited.to_string().contains("waited 12 ms for the server"), "{waited}");
}
