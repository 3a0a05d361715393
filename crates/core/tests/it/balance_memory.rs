//! What choices remember, and that it is no more than they need.

use byname_core::{Balance, limits};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    ejection::{self, HOUR},
    worker::{Worker, by_header, group, simple, web},
};

#[test]
fn only_what_needs_a_memory_has_one() {
    let pods = json!({"loadBalancer": {"consistentHash": {"useSourceIp": true}}});
    for (steering, remembers) in
        [(simple("RANDOM"), 0), (by_header(), 0), (pods, 0), (json!({}), 1), (simple("LEAST_REQUEST"), 1)]
    {
        let mut worker = Worker::new(web(json!([group(1, 3, 1)]), steering.clone()), 1);
        for _ in 0..20 {
            worker.send("web");
        }
        assert_eq!(worker.balance.len().min(1), remembers, "{steering}");
        // One alone is not chosen.
        let mut alone = Worker::new(web(json!([group(1, 1, 1)]), steering.clone()), 1);
        assert_eq!(alone.send("web"), ("10.0.1.1:8080".into(), None), "{steering}");
        assert!(alone.balance.is_empty(), "{steering}");
    }
}

#[test]
fn what_went_well_is_not_remembered() {
    let mut worker = ejection::worker(3, 3, 100, simple("RANDOM"));
    worker.picks("web", 50);
    assert!(worker.balance.is_empty());
    ejection::ends(&mut worker, &[Some(503), Some(503)]);
    assert_eq!(worker.balance.len(), 1);
    ejection::ends(&mut worker, &[Some(200)]);
    assert!(worker.balance.is_empty());
}

// A request of the old policy was never counted: were it counted back, the one that is open would be forgotten.
#[test]
fn a_push_of_another_policy_leaves_the_counts_right() {
    let mut worker = ejection::worker(2, 3, 100, json!({}));
    let before = ejection::reach(&mut worker, ejection::FIRST);
    worker.config = web(json!([group(1, 2, 1)]), simple("LEAST_REQUEST"));
    worker.balance = Balance::default();
    let open = ejection::reach(&mut worker, ejection::FIRST);
    worker.end(before, Some(200));
    assert_eq!(worker.balance.len(), 1);
    worker.end(open, Some(200));
    assert!(worker.balance.is_empty());
}

/// Six Services of 16,000 endpoints each, which is more than is remembered.
fn many(steering: &Value) -> Vec<Worker> {
    let of = |net: u8| {
        let addresses = (0..16_000).map(|n| format!("10.{net}.{}.{}", n / 250, n % 250 + 1)).collect::<Vec<_>>();
        let group = json!({"addresses": addresses.join(" "), "ports": {"http": 8080}});
        Worker::new(web(json!([group]), steering.clone()), u64::from(net))
    };
    (1..=6).map(of).collect()
}

// A sidecar has little memory, and it is full of what others need.
#[test]
fn memory_is_bounded() {
    let failing = json!({"outlierDetection": {"consecutive5xxErrors": 2}});
    for (steering, status) in [(simple("LEAST_REQUEST"), None), (failing, Some(503))] {
        let mut last = ejection::worker(2, 1, 100, simple("LEAST_REQUEST"));
        assert!(ejection::ends(&mut last, &[Some(503)]));
        let mut balance = core::mem::take(&mut last.balance);
        let (mut open, mut more) = (Vec::new(), 0);
        for worker in &mut many(&steering) {
            core::mem::swap(&mut worker.balance, &mut balance);
            worker.env.now = last.env.now;
            for _ in 0..16_000 {
                more += usize::from(worker.balance.len() == limits::MAX_BALANCED);
                // One that is full looks through all that it has for what it may forget: a few of these will do.
                if more > 100 {
                    break;
                }
                let (endpoint, ticket) = worker.send("web");
                assert_ne!(endpoint, "none", "it serves on");
                if status.is_some() {
                    worker.end(ticket, status);
                } else {
                    open.push(ticket);
                }
                assert!(worker.balance.len() <= limits::MAX_BALANCED);
            }
            core::mem::swap(&mut worker.balance, &mut balance);
        }
        assert!(more > 0, "it was full: {steering}");
        last.balance = balance;
        assert!(!ejection::serves(&mut last), "who is ejected is not forgotten");
        // What was not counted is not counted back.
        for ticket in open {
            last.end(ticket, Some(200));
        }
        assert!(status.is_some() || last.balance.len() == 1, "{} left", last.balance.len());
    }
}

// Every pod that dies leaves a failure behind. Were these kept for good, memory would be full of them one day, and from
// then on nobody would be ejected and turns would be by chance.
#[test]
fn those_that_are_gone_are_forgotten_in_time() {
    let outliers = json!({"outlierDetection": {"consecutive5xxErrors": 3}});
    let mut worker = ejection::worker(2, 3, 100, simple("RANDOM"));
    for net in 0..200 {
        worker.config = web(json!([group(net, 2, 1)]), outliers.clone());
        let (_, ticket) = worker.send("web");
        worker.end(ticket, Some(503));
        worker.env.now += 24 * HOUR;
        worker.balance.sweep(worker.env.now);
    }
    assert!(worker.balance.len() < 100, "{} remembered of 2 endpoints, after 200 days", worker.balance.len());
}
