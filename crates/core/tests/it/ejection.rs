//! Which endpoints are left alone for a while, going by how their requests ended.

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

/// So many endpoints, and as many failures in a row as eject one for 30 seconds.
pub(crate) fn worker(count: u8, failures: u32, percent: u32, mut steering: Value) -> Worker {
    steering["outlierDetection"] = json!({"consecutive5xxErrors": failures, "maxEjectionPercent": percent});
    let mut worker = Worker::new(web(json!([group(1, count, 1)]), steering), 1);
    worker.env.now = 10_000 * SECOND;
    worker
}

/// A request that came to `endpoint`; those that came to others meant nothing.
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

/// Whether [`FIRST`] is ejected for the last of these ends of its requests.
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

/// Whether [`FIRST`] gets requests, whose ends tell nothing.
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
fn so_many_failures_in_a_row_eject_an_endpoint() {
    let (bad, good, gone) = (Some(503), Some(200), None);
    for (statuses, ejects) in [
        (&[bad, bad][..], false),
        (&[bad, bad, bad], true),
        (&[Some(500), Some(502), Some(599)], true),
        (&[bad, bad, good, bad, bad], false),
        (&[bad, bad, good, bad, bad, bad], true),
        // The server is well: it is the request that is not.
        (&[bad, bad, Some(404), bad, bad], false),
        (&[Some(499), Some(499), Some(429)], false),
        // A client that goes away says nothing of the server, or impatient clients would eject, and patient ones absolve.
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

// One deployment that fails everywhere must not take all of a Service away at once.
#[test]
fn never_more_than_their_share_are_ejected_and_never_the_last() {
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
    assert_eq!((&*endpoint, ticket), (FIRST, None), "one alone is not even watched");
}

// The share is of those that one is chosen of: were it of others, nobody would be ejected for them, or everybody.
#[test]
fn every_service_port_and_subset_has_a_share_of_its_own() {
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

// Many requests are under way when an endpoint breaks down.
#[test]
fn failures_that_were_under_way_are_one_ejection() {
    let mut worker = worker(5, 1, 100, json!({}));
    let under_way = [(); 5].map(|()| reach(&mut worker, FIRST));
    let ejections = under_way.map(|ticket| worker.end(ticket, Some(503)));
    assert_eq!(ejections, [true, false, false, false, false]);
    assert_eq!(events(&mut worker), (1, 0));
    worker.env.now += 30 * SECOND;
    assert!(serves(&mut worker), "for the time of one");
}

#[test]
fn each_ejection_after_another_is_longer_up_to_an_hour() {
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
        // A push that comes just then is no reason to begin anew.
        worker.env.now += SECOND;
        worker.balance.sweep(worker.env.now);
    }
}

// Failures that led to an ejection are paid for: one more failure is not a row of them.
#[test]
fn after_an_ejection_it_takes_as_many_failures_again() {
    let mut worker = worker(2, 3, 100, json!({}));
    for _ in 0..3 {
        assert!(ends(&mut worker, &[Some(503); 3]), "not before the third");
        worker.env.now += HOUR;
    }
}

// An endpoint that failed once a month would be out for an hour each time at last.
#[test]
fn after_doing_well_for_as_long_the_times_start_anew() {
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
        assert!(!serves(&mut worker), "well for {well} s: too early");
        worker.env.now += 1;
        assert!(serves(&mut worker), "well for {well} s: its time is over");
    }
}

// Machines set their clocks while they start; an endpoint might be out until the clock has caught up, for years.
#[test]
fn a_clock_set_back_keeps_nobody_out_for_longer() {
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

// It may be long after: a stream that was there before the ejection ends well when nobody else has asked for the endpoint.
#[test]
fn an_ejection_that_nobody_saw_end_is_counted_too() {
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
fn where_all_are_ejected_all_serve() {
    let two = |steering: &Value| web(json!([group(1, 2, 1)]), steering.clone());
    for policy in [simple("ROUND_ROBIN"), simple("RANDOM"), simple("LEAST_REQUEST"), by_header()] {
        let mut worker = worker(3, 1, 100, policy.clone());
        worker.env.headers = vec![("x-user".into(), "x".into())];
        for endpoint in [FIRST, "10.0.1.2:8080"] {
            // By a key as many clients as it takes.
            let is_ejected = (0..1_000).any(|client| {
                worker.env.headers[0].1 = format!("client-{client}");
                let (is, ticket) = worker.send("web");
                // Every request ends, or LEAST_REQUEST would avoid the endpoint that still has some.
                worker.end(ticket, (is == endpoint).then_some(503))
            });
            assert!(is_ejected, "{endpoint} by {policy}");
        }
        // The third, which was well, leaves.
        let mut steering = policy.clone();
        steering["outlierDetection"] = json!({"consecutive5xxErrors": 1, "maxEjectionPercent": 100});
        worker.config = two(&steering);
        let picks = worker.picks_by("x-user", 200);
        assert_eq!(counts(&picks).keys().copied().collect::<Vec<_>>(), [FIRST, "10.0.1.2:8080"], "{policy}");
    }
}

#[test]
fn the_keys_of_an_ejected_endpoint_move_and_no_others() {
    let mut worker = worker(5, 1, 100, by_header());
    let before = worker.picks_by("x-user", 500);
    let key = before.iter().position(|endpoint| endpoint == FIRST).expect("a key of it");
    worker.env.headers = vec![("x-user".into(), format!("user-{key}"))];
    assert!(ends(&mut worker, &[Some(503)]));
    let during = worker.picks_by("x-user", 500);
    assert!((0..500).all(|key| (before[key] == during[key]) == (before[key] != FIRST)));
    let moved: Vec<String> = (0..500).filter(|key| before[*key] == FIRST).map(|key| during[key].clone()).collect();
    assert_eq!(counts(&moved).len(), 4, "they are spread over the others");
    worker.env.now += 30 * SECOND;
    assert_eq!(worker.picks_by("x-user", 500), before);
}

#[test]
fn a_push_changes_nothing_for_those_that_stay() {
    let mut worker = worker(3, 3, 100, json!({}));
    ends(&mut worker, &[Some(503), Some(503)]);
    let outliers = json!({"outlierDetection": {"consecutive5xxErrors": 3, "maxEjectionPercent": 100}});
    let pushed = |count| web(json!([group(2, 1, 1), group(1, count, 1)]), outliers.clone());
    let push = |worker: &mut Worker, count| {
        worker.config = pushed(count);
        worker.balance.sweep(worker.env.now);
    };
    push(&mut worker, 4);
    assert!(ends(&mut worker, &[Some(503)]), "the third one, whenever the others were");
    push(&mut worker, 2);
    assert!(!serves(&mut worker), "it is still ejected");
    assert_eq!(counts(&worker.picks("web", 20)).len(), 2, "the others are not");
    worker.env.now += 30 * SECOND;
    push(&mut worker, 2);
    assert_eq!(events(&mut worker), (1, 1), "a sweep sees the end too");
    assert!(serves(&mut worker));
}

// "One can always be ejected": or a pod that is gone would keep a bad one in service.
#[test]
fn one_that_is_gone_takes_nobodys_place() {
    let mut worker = worker(3, 1, 10, json!({}));
    let outliers = json!({"outlierDetection": {"consecutive5xxErrors": 1, "maxEjectionPercent": 10}});
    let ticket = reach(&mut worker, "10.0.1.3:8080");
    assert!(worker.end(ticket, Some(503)));
    worker.config = web(json!([group(1, 2, 1)]), outliers);
    worker.balance.sweep(worker.env.now);
    assert!(!worker.trace("web").contains("ejected"), "{}", worker.trace("web"));
    assert!(ends(&mut worker, &[Some(503)]));
}

// The one thing that helps at once when detection does harm.
#[test]
fn a_push_that_turns_it_off_brings_all_back() {
    let mut worker = worker(3, 1, 100, simple("RANDOM"));
    assert!(ends(&mut worker, &[Some(503)]));
    worker.config = web(json!([group(1, 3, 1)]), simple("RANDOM"));
    assert!(serves(&mut worker));
}

#[test]
fn a_service_may_have_its_own_rules_or_none() {
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
fn least_request_picks_the_only_healthy_endpoint_even_while_it_is_busy() {
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
