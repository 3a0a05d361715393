//! Outlier detection: which endpoints are ejected, when, and for how long.

use byname_core::Ticket;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    fixture::config,
    worker::{Worker, by_header, counts, group, service, simple, web},
};

const SECOND: u64 = 1_000_000_000;
pub(crate) const HOUR: u64 = 3_600 * SECOND;
pub(crate) const FIRST: &str = "10.0.1.1:8080";

/// A worker for `count` endpoints, of which `failures` consecutive failures eject one for 30 seconds.
pub(crate) fn worker(count: u8, failures: u32, percent: u32, mut steering: Value) -> Worker {
    steering["outlierDetection"] = json!({"consecutive5xxErrors": failures, "maxEjectionPercent": percent});
    let mut worker = Worker::new(web(json!([group(1, count, 1)]), steering), 1);
    worker.env.now = 10_000 * SECOND;
    worker
}

/// Sends requests until one goes to `endpoint`. The others end without a status.
pub(crate) fn reach(worker: &mut Worker, endpoint: &str) -> Option<Ticket> {
    for _ in 0..200 {
        let (is, ticket) = worker.send("web");
        if is == endpoint {
            return ticket;
        }
        worker.end(ticket, None);
    }
    panic!("{endpoint} gets no request");
}

/// Ends requests of [`FIRST`] with these statuses, and returns whether the last one ejects it.
pub(crate) fn ends(worker: &mut Worker, statuses: &[Option<u16>]) -> bool {
    let mut is_ejected = false;
    for status in statuses {
        assert!(!is_ejected, "only the last one ejects");
        let ticket = reach(worker, FIRST);
        assert!(ticket.expect("a ticket").wants_status());
        is_ejected = worker.end(ticket, *status);
    }
    is_ejected
}

/// Whether [`FIRST`] gets requests. They end without a status.
pub(crate) fn serves(worker: &mut Worker) -> bool {
    (0..20).any(|_| {
        let (endpoint, ticket) = worker.send("web");
        worker.end(ticket, None);
        endpoint == FIRST
    })
}

fn events(worker: &mut Worker) -> (u32, u32) {
    let events = worker.balance.take_events();
    (events.ejected, events.returned)
}

#[test]
fn ejects_after_consecutive_failures() {
    let (bad, good, gone) = (Some(503), Some(200), None);
    for (statuses, ejects) in [
        (&[bad, bad][..], false),
        (&[bad, bad, bad], true),
        (&[Some(500), Some(502), Some(599)], true),
        (&[bad, bad, good, bad, bad], false),
        (&[bad, bad, good, bad, bad, bad], true),
        // A 4xx is the client's fault.
        (&[bad, bad, Some(404), bad, bad], false),
        (&[Some(499), Some(499), Some(429)], false),
        // A request that its client cancels says nothing about the endpoint: it is neither a failure nor a success.
        (&[gone, gone, gone, gone], false),
        (&[bad, gone, bad, gone, bad], true),
    ] {
        let mut worker = worker(3, 3, 100, json!({}));
        assert_eq!(ends(&mut worker, statuses), ejects, "{statuses:?}");
        assert_eq!(serves(&mut worker), !ejects, "{statuses:?}");
        assert_eq!(events(&mut worker), (u32::from(ejects), 0), "{statuses:?}");
        assert_eq!(worker.trace("web").contains("1 ejected"), ejects, "{}", worker.trace("web"));
    }
}

// A deployment that fails everywhere must not remove all endpoints of a Service.
#[test]
fn ejects_at_most_the_configured_share_and_never_the_last() {
    for (endpoints, percent, most) in [
        (2, 1, 1),
        (2, 100, 1),
        (3, 10, 1),
        (3, 67, 2),
        (10, 10, 1),
        (10, 19, 1),
        (10, 20, 2),
        (10, 100, 9),
        (25, 10, 2),
        (25, 99, 24),
    ] {
        for policy in ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"] {
            let mut worker = worker(endpoints, 1, percent, simple(policy));
            for _ in 0..300 {
                let (_, ticket) = worker.send("web");
                worker.end(ticket, Some(500));
            }
            assert_eq!(events(&mut worker), (most, 0), "{endpoints} endpoints, {percent} %, {policy}");
            let left = counts(&worker.picks("web", 300)).len();
            assert_eq!(left, usize::from(endpoints) - most as usize, "{endpoints} endpoints, {percent} %, {policy}");
        }
    }
    let mut alone = worker(1, 1, 100, json!({}));
    let (endpoint, ticket) = alone.send("web");
    assert_eq!((&*endpoint, ticket), (FIRST, None), "a single endpoint has no ticket");
}

// maxEjectionPercent counts the endpoints that a choice is made from: those of one port and one subset.
#[test]
fn applies_the_share_to_each_port_and_subset() {
    let endpoints = |net, port: &str, version: &str| {
        let mut endpoints = group(net, 4, 1);
        endpoints["ports"] = json!({port: 8080});
        endpoints["labels"] = json!({"version": version});
        endpoints
    };
    let web = json!({
        "ports": [{"name": "http", "port": 80}, {"name": "more", "port": 81}],
        "endpoints": [endpoints(1, "http", "v1"), endpoints(2, "http", "v2"), endpoints(3, "more", "v1"),
                      endpoints(4, "more", "v2")],
        "subsets": {"v1": {"labels": {"version": "v1"}}, "v2": {"labels": {"version": "v2"}}},
    });
    let outliers = json!({"consecutive5xxErrors": 1, "maxEjectionPercent": 50});
    let steering = json!({"by": "endpoint", "outlierDetection": outliers});
    let services = json!({"shop/api": web, "shop/web": web});
    let mut worker = Worker::new(config(json!({"steering": steering, "table": {"services": services}})), 1);
    for authority in ["web", "api", "web:81", "api:81"].repeat(100) {
        let (_, ticket) = worker.send(authority);
        worker.end(ticket, Some(503));
    }
    assert_eq!(events(&mut worker), (16, 0), "2 of 4, in each of 8");
    for authority in ["web", "api", "web:81", "api:81"] {
        assert_eq!(counts(&worker.picks(authority, 100)).len(), 4, "{authority}");
    }
}

// Many requests are open when an endpoint breaks.
#[test]
fn counts_failures_of_open_requests_as_one_ejection() {
    let mut worker = worker(5, 1, 100, json!({}));
    let under_way = [(); 5].map(|()| reach(&mut worker, FIRST));
    let ejections = under_way.map(|ticket| worker.end(ticket, Some(503)));
    assert_eq!(ejections, [true, false, false, false, false]);
    assert_eq!(events(&mut worker), (1, 0));
    worker.env.now += 30 * SECOND;
    assert!(serves(&mut worker), "ejected for the time of one ejection");
}

#[test]
fn lengthens_each_ejection_in_a_row_up_to_an_hour() {
    let mut worker = worker(2, 1, 100, json!({}));
    for ejections in 1..=130 {
        assert!(ends(&mut worker, &[Some(503)]));
        let time = (30 * SECOND * ejections).min(HOUR);
        worker.env.now += time - 1;
        assert!(!serves(&mut worker), "ejection {ejections}: too early");
        assert_eq!(events(&mut worker), (1, 0), "ejection {ejections}");
        worker.env.now += 1;
        assert!(serves(&mut worker), "ejection {ejections}: its time is over");
        assert_eq!(events(&mut worker), (0, 1), "ejection {ejections}");
        assert!(!worker.trace("web").contains("ejected"), "{}", worker.trace("web"));
        // A configuration push does not reset the ejection time.
        worker.env.now += SECOND;
        worker.balance.sweep(worker.env.now);
    }
}

// The count of failures starts again after an ejection.
#[test]
fn counts_failures_anew_after_an_ejection() {
    let mut worker = worker(2, 3, 100, json!({}));
    for _ in 0..3 {
        assert!(ends(&mut worker, &[Some(503); 3]), "by the third failure");
        worker.env.now += HOUR;
    }
}

// Otherwise an endpoint that fails once a month would end up ejected for an hour each time.
#[test]
fn forgets_earlier_ejections_after_as_much_time_without_failures() {
    for (well, next) in [(0, 90), (59, 90), (60, 30), (100, 30)] {
        let mut worker = worker(2, 1, 100, json!({}));
        for time in [30, 60] {
            assert!(ends(&mut worker, &[Some(503)]));
            worker.env.now += time * SECOND;
        }
        worker.env.now += well * SECOND;
        assert!(!ends(&mut worker, &[Some(200)]));
        assert!(ends(&mut worker, &[Some(503)]));
        worker.env.now += next * SECOND - 1;
        assert!(!serves(&mut worker), "no failure for {well} s: too early");
        worker.env.now += 1;
        assert!(serves(&mut worker), "no failure for {well} s: its time is over");
    }
}

// Machines set their clocks while they start. Otherwise an endpoint could stay ejected until the clock catches up.
#[test]
fn ends_ejections_when_the_clock_is_set_back() {
    for back in [1, 29, 3_000, 3_569, 3_570, 9_999, 10_000] {
        let mut worker = worker(2, 1, 100, json!({}));
        assert!(ends(&mut worker, &[Some(503)]));
        worker.env.now -= back * SECOND;
        let was_out = !serves(&mut worker);
        assert_eq!(was_out, back <= 3_570, "{back} seconds back");
        worker.env.now += HOUR;
        assert!(serves(&mut worker), "{back} seconds back");
        assert_eq!(events(&mut worker), (1, 1), "{back} seconds back");
    }
}

// A stream from before the ejection ends with 200 after it, and no request asked about the endpoint in between.
#[test]
fn counts_the_end_of_an_ejection_that_no_request_asked_about() {
    let mut worker = worker(2, 1, 100, json!({}));
    let stream = reach(&mut worker, FIRST);
    assert!(ends(&mut worker, &[Some(503)]));
    worker.env.now += 60 * SECOND;
    worker.end(stream, Some(200));
    serves(&mut worker);
    worker.balance.sweep(worker.env.now);
    assert_eq!(events(&mut worker), (1, 1));
}

#[test]
fn picks_among_all_endpoints_when_all_are_ejected() {
    let two = |steering: &Value| web(json!([group(1, 2, 1)]), steering.clone());
    for policy in [simple("ROUND_ROBIN"), simple("RANDOM"), simple("LEAST_REQUEST"), by_header()] {
        let mut worker = worker(3, 1, 100, policy.clone());
        worker.env.headers = vec![("x-user".into(), "x".into())];
        for endpoint in [FIRST, "10.0.1.2:8080"] {
            // With consistentHash it takes several keys to reach the endpoint.
            let is_ejected = (0..1_000).any(|client| {
                worker.env.headers[0].1 = format!("client-{client}");
                let (is, ticket) = worker.send("web");
                // Every request ends, because LEAST_REQUEST avoids endpoints with open requests.
                worker.end(ticket, (is == endpoint).then_some(503))
            });
            assert!(is_ejected, "{endpoint} by {policy}");
        }
        // The third endpoint, which is healthy, leaves.
        let mut steering = policy.clone();
        steering["outlierDetection"] = json!({"consecutive5xxErrors": 1, "maxEjectionPercent": 100});
        worker.config = two(&steering);
        let picks = worker.picks_by("x-user", 200);
        assert_eq!(counts(&picks).keys().copied().collect::<Vec<_>>(), [FIRST, "10.0.1.2:8080"], "{policy}");
    }
}

#[test]
fn moves_only_the_keys_of_an_ejected_endpoint() {
    let mut worker = worker(5, 1, 100, by_header());
    let before = worker.picks_by("x-user", 500);
    let key = before.iter().position(|endpoint| endpoint == FIRST).expect("a key of it");
    worker.env.headers = vec![("x-user".into(), format!("user-{key}"))];
    assert!(ends(&mut worker, &[Some(503)]));
    let during = worker.picks_by("x-user", 500);
    assert!((0..500).all(|key| (before[key] == during[key]) == (before[key] != FIRST)));
    let moved: Vec<String> = (0..500).filter(|key| before[*key] == FIRST).map(|key| during[key].clone()).collect();
    assert_eq!(counts(&moved).len(), 4, "the keys are spread over the others");
    worker.env.now += 30 * SECOND;
    assert_eq!(worker.picks_by("x-user", 500), before);
}

#[test]
fn keeps_failures_and_ejections_across_a_push() {
    let mut worker = worker(3, 3, 100, json!({}));
    ends(&mut worker, &[Some(503), Some(503)]);
    let outliers = json!({"outlierDetection": {"consecutive5xxErrors": 3, "maxEjectionPercent": 100}});
    let pushed = |count| web(json!([group(2, 1, 1), group(1, count, 1)]), outliers.clone());
    let push = |worker: &mut Worker, count| {
        worker.config = pushed(count);
        worker.balance.sweep(worker.env.now);
    };
    push(&mut worker, 4);
    assert!(ends(&mut worker, &[Some(503)]), "the third failure, with two before the push");
    push(&mut worker, 2);
    assert!(!serves(&mut worker), "it is still ejected");
    assert_eq!(counts(&worker.picks("web", 20)).len(), 2, "the others are not ejected");
    worker.env.now += 30 * SECOND;
    push(&mut worker, 2);
    assert_eq!(events(&mut worker), (1, 1), "a sweep ends the ejection");
    assert!(serves(&mut worker));
}

// An ejected pod that is gone must not count against maxEjectionPercent, or a failing one would stay.
#[test]
fn ignores_ejected_endpoints_that_are_gone() {
    let mut worker = worker(3, 1, 10, json!({}));
    let outliers = json!({"outlierDetection": {"consecutive5xxErrors": 1, "maxEjectionPercent": 10}});
    let ticket = reach(&mut worker, "10.0.1.3:8080");
    assert!(worker.end(ticket, Some(503)));
    worker.config = web(json!([group(1, 2, 1)]), outliers);
    worker.balance.sweep(worker.env.now);
    assert!(!worker.trace("web").contains("ejected"), "{}", worker.trace("web"));
    assert!(ends(&mut worker, &[Some(503)]));
}

// An operator turns outlier detection off when it does harm.
#[test]
fn ends_all_ejections_when_turned_off() {
    let mut worker = worker(3, 1, 100, simple("RANDOM"));
    assert!(ends(&mut worker, &[Some(503)]));
    worker.config = web(json!([group(1, 3, 1)]), simple("RANDOM"));
    assert!(serves(&mut worker));
}

#[test]
fn applies_the_outlier_detection_of_the_service() {
    for (own, ejects) in [
        (json!({"consecutive5xxErrors": 0}), false),
        (json!({"consecutive5xxErrors": 1}), true),
        (json!({"consecutive5xxErrors": 2}), false),
    ] {
        let web = json!({"ports": [{"name": "http", "port": 80}], "endpoints": [group(1, 3, 1)],
                         "steering": {"outlierDetection": own}});
        let config = service(web, json!({"outlierDetection": {"consecutive5xxErrors": 1}}));
        let mut worker = Worker::new(config, 1);
        let ticket = reach(&mut worker, FIRST);
        assert_eq!(worker.end(ticket, Some(503)), ejects, "{own}");
    }
}

#[test]
fn picks_the_only_healthy_endpoint_by_least_request_even_while_it_is_busy() {
    for weight in [1, 5] {
        let mut steering = simple("LEAST_REQUEST");
        steering["outlierDetection"] = json!({"consecutive5xxErrors": 1, "maxEjectionPercent": 100});
        let mut worker = Worker::new(web(json!([group(1, 1, weight), group(2, 3, 1)]), steering), 1);
        for last in 1..=3 {
            let ticket = reach(&mut worker, &format!("10.0.2.{last}:8080"));
            assert!(worker.end(ticket, Some(503)), "10.0.2.{last} is ejected");
        }
        assert_eq!(counts(&worker.picks("web", 300)), [(FIRST, 300)].into(), "the others are ejected");
        let open: Vec<Option<Ticket>> = (0..20).map(|_| worker.send("web").1).collect();
        assert_eq!(counts(&worker.picks("web", 300)), [(FIRST, 300)].into(), "busy, and the others are still ejected");
        open.into_iter().for_each(|ticket| _ = worker.end(ticket, Some(200)));
        worker.env.now += 30 * SECOND;
        assert_eq!(counts(&worker.picks("web", 300)).len(), 4, "the others are back");
    }
}
