//! The state that choices keep, and its bounds.

use byname_core::{Balance, limits};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    ejection::{self, HOUR},
    worker::{Worker, by_header, group, simple, web},
};

#[test]
fn remembers_only_what_the_policy_needs() {
    let pods = json!({"loadBalancer": {"consistentHash": {"useSourceIp": true}}});
    for (steering, remembers) in
        [(simple("RANDOM"), 0), (by_header(), 0), (pods, 0), (json!({}), 1), (simple("LEAST_REQUEST"), 1)]
    {
        let mut worker = Worker::new(web(json!([group(1, 3, 1)]), steering.clone()), 1);
        for _ in 0..20 {
            worker.send("web");
        }
        assert_eq!(worker.balance.len().min(1), remembers, "{steering}");
        // A single endpoint needs no choice.
        let mut alone = Worker::new(web(json!([group(1, 1, 1)]), steering.clone()), 1);
        assert_eq!(alone.send("web"), ("10.0.1.1:8080".into(), None), "{steering}");
        assert!(alone.balance.is_empty(), "{steering}");
    }
}

#[test]
fn forgets_an_endpoint_that_succeeds() {
    let mut worker = ejection::worker(3, 3, 100, simple("RANDOM"));
    worker.picks("web", 50);
    assert!(worker.balance.is_empty());
    ejection::ends(&mut worker, &[Some(503), Some(503)]);
    assert_eq!(worker.balance.len(), 1);
    ejection::ends(&mut worker, &[Some(200)]);
    assert!(worker.balance.is_empty());
}

// A request under the old policy was never counted as open. Its end must not take the count of another request away.
#[test]
fn keeps_counts_right_when_a_push_changes_the_policy() {
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

/// Six Services of 16,000 endpoints each: more endpoints than the state has room for.
fn many(steering: &Value) -> Vec<Worker> {
    let of = |net: u8| {
        let addresses = (0..16_000).map(|n| format!("10.{net}.{}.{}", n / 250, n % 250 + 1)).collect::<Vec<_>>();
        let group = json!({"addresses": addresses.join(" "), "ports": {"http": 8080}});
        Worker::new(web(json!([group]), steering.clone()), u64::from(net))
    };
    (1..=6).map(of).collect()
}

// A sidecar has little memory. What is needed most stays when the state is full.
#[test]
fn bounds_the_state_and_keeps_ejections() {
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
                // A full state is searched for entries to forget at each request, so a few requests are enough.
                if more > 100 {
                    break;
                }
                let (endpoint, ticket) = worker.send("web");
                assert_ne!(endpoint, "none", "it still picks an endpoint");
                if status.is_some() {
                    worker.end(ticket, status);
                } else {
                    open.push(ticket);
                }
                assert!(worker.balance.len() <= limits::MAX_BALANCED);
            }
            core::mem::swap(&mut worker.balance, &mut balance);
        }
        assert!(more > 0, "the state was full: {steering}");
        last.balance = balance;
        assert!(!ejection::serves(&mut last), "an ejection is not forgotten");
        // A request that was not counted as open takes no count away when it ends.
        for ticket in open {
            last.end(ticket, Some(200));
        }
        assert!(status.is_some() || last.balance.len() == 1, "{} left", last.balance.len());
    }
}

// Every pod that dies leaves a failure behind. If failures were kept forever, they would fill the state, no endpoint would be
// ejected any more, and round-robin turns would be random.
#[test]
fn forgets_endpoints_that_are_gone() {
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
