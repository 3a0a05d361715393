//! Load balancing policies: round-robin, random and least request.

use std::collections::{BTreeMap, VecDeque};

use byname_core::Ticket;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    fixture::config,
    worker::{Worker, counts, group, is_about, is_spread, shares, simple, web},
};

fn groups(of: &[(u8, u8, u32)]) -> Value {
    of.iter().map(|(net, count, weight)| group(*net, *count, *weight)).collect()
}

#[test]
fn round_robin_picks_each_endpoint_once_per_cycle() {
    let mut worker = Worker::new(web(groups(&[(1, 3, 1), (2, 2, 1)]), simple("ROUND_ROBIN")), 7);
    let picks = worker.picks("web", 50);
    for cycle in picks.chunks(5) {
        assert_eq!(cycle, &picks[..5], "every cycle repeats the first");
        assert_eq!(counts(cycle).len(), 5);
    }
}

/// The picks of four passes over all slots of these groups, and the number of slots.
fn passes(of: &[(u8, u8, u32)]) -> (Vec<String>, usize) {
    let slots = of.iter().map(|(_, count, weight)| usize::from(*count) * *weight as usize).sum();
    (Worker::new(web(groups(of), simple("ROUND_ROBIN")), 3).picks("web", slots * 4), slots)
}

const SHAPES: &[&[(u8, u8, u32)]] = &[
    &[(1, 1, 1), (2, 1, 3)],
    &[(1, 1, 1), (2, 3, 3)],
    &[(1, 3, 1), (2, 1, 3)],
    &[(1, 2, 7), (2, 1, 1)],
    &[(1, 5, 2), (2, 3, 1)],
    &[(1, 3, 4), (2, 5, 1)],
    &[(1, 10, 6), (2, 9, 10)],
    &[(1, 1, 100), (2, 4, 1), (3, 2, 50)],
];

#[test]
fn round_robin_picks_each_endpoint_as_often_as_its_weight() {
    for shape in SHAPES {
        let (picks, slots) = passes(shape);
        // A cycle may be two passes: no single step spreads six slots evenly.
        for passes in picks.chunks(slots * 2) {
            let counts = counts(passes);
            for (endpoint, weight) in shares(shape) {
                assert_eq!(counts[&*endpoint], 2 * weight as usize, "{endpoint} of {shape:?}");
            }
        }
    }
}

// The counts of a cycle can be right while an endpoint gets all of its requests at once.
#[test]
fn round_robin_spreads_heavy_endpoints_over_the_cycle() {
    let mut wrong = Vec::new();
    for shape in SHAPES {
        let (picks, slots) = passes(shape);
        for (endpoint, weight) in shares(shape) {
            let at: Vec<usize> = (0..picks.len()).filter(|index| picks[*index] == endpoint).collect();
            let longest_wait = at.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            if longest_wait * weight as usize > 3 * slots {
                wrong.push(format!("{endpoint} of {shape:?} waits for {longest_wait} of {slots} picks"));
            }
            let has_run = at.windows(3).any(|three| three[2] - three[0] == 2);
            if has_run && weight as usize * 2 <= slots {
                wrong.push(format!("{endpoint} of {shape:?}, not half of all, comes thrice in a row"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

// With one turn for all, two Services of two endpoints that get requests alternately would use one endpoint each.
#[test]
fn round_robin_keeps_a_turn_per_service_and_port() {
    let mut services = json!({});
    for name in ["web", "api"] {
        services[format!("shop/{name}")] = json!({"endpoints": [group(1, 2, 1)],
            "ports": [{"name": "http", "port": 80}, {"name": "more", "port": 81}]});
        services[format!("shop/{name}")]["endpoints"][0]["ports"]["more"] = json!(8081);
    }
    let config = config(json!({"steering": {"by": "endpoint"}, "table": {"services": services}}));
    let mut worker = Worker::new(config, 1);
    let asked = ["web", "api", "api", "web:81", "api:81", "web"];
    let mut picked = [const { Vec::new() }; 6];
    for _ in 0..10 {
        for (picks, authority) in picked.iter_mut().zip(asked) {
            picks.push(worker.pick(authority));
        }
    }
    // Each Service gets two requests a round: together they are even.
    let both = |one: usize, other: usize| [picked[one].clone(), picked[other].clone()].concat();
    for picks in [both(0, 5), both(1, 2), picked[3].clone(), picked[4].clone()] {
        let counts = counts(&picks);
        assert!(counts.len() == 2 && counts.values().all(|count| *count == picks.len() / 2), "{counts:?}");
    }
}

// Otherwise all workers of all sidecars start with the same endpoint after a rollout.
#[test]
fn round_robin_starts_each_worker_at_a_random_endpoint() {
    let config = || web(groups(&[(1, 4, 1)]), simple("ROUND_ROBIN"));
    let first: Vec<String> = (0..400).map(|seed| Worker::new(config(), seed).pick("web")).collect();
    assert!(is_spread(&first, &shares(&[(1, 4, 1)])), "{:?}", counts(&first));
}

// A configuration push may come every second. If it lost the turn, the next request would go to a random endpoint.
#[test]
fn round_robin_keeps_its_turn_across_a_push() {
    let config = || web(groups(&[(1, 2, 1), (2, 1, 2)]), simple("ROUND_ROBIN"));
    for swept in [false, true] {
        let mut worker = Worker::new(config(), 5);
        let turn = worker.picks("web", 4);
        for round in 0..12 {
            worker.config = config();
            if swept {
                worker.balance.sweep(worker.env.now);
            }
            assert_eq!(worker.pick("web"), turn[round % 4], "push {round}, swept: {swept}");
        }
    }
}

#[test]
fn random_picks_in_proportion_to_weight() {
    for shape in
        [&[(1, 8, 1)][..], &[(1, 3, 5), (2, 5, 5)], &[(1, 3, 1), (2, 2, 2), (3, 1, 5)], &[(1, 1, 1), (2, 1, 40)]]
    {
        let mut worker = Worker::new(web(groups(shape), simple("RANDOM")), 11);
        let picks = worker.picks("web", 8_000);
        assert!(is_spread(&picks, &shares(shape)), "{shape:?}: {:?}", counts(&picks));
    }
}

// A bound that nothing exceeds proves nothing.
#[test]
fn the_spread_check_fails_for_skewed_picks() {
    let skewed = [(1, 3, 10), (2, 1, 12)];
    let picks = Worker::new(web(groups(&skewed), simple("RANDOM")), 11).picks("web", 8_000);
    assert!(is_spread(&picks, &shares(&skewed)));
    assert!(!is_spread(&picks, &shares(&[(1, 3, 1), (2, 1, 1)])), "24, 24, 24 and 29 of 100 are not even");
    assert!(!is_spread(&picks, &shares(&skewed)[..3]), "an endpoint that is not expected");
    assert!(!is_about(560, 1_000, 0.5));
}

/// Simulates ten endpoints with a queue each, one of them ten times as slow, and a request each tick. Returns the length of the
/// longest queue.
fn worst_queue(policy: &str) -> (usize, Worker) {
    let (endpoints, ticks) = (shares(&[(1, 10, 1)]), 3_000);
    let mut worker = Worker::new(web(groups(&[(1, 10, 1)]), simple(policy)), 42);
    let mut queues: Vec<VecDeque<Option<Ticket>>> = vec![VecDeque::new(); 10];
    let mut worst = 0;
    for tick in 1.. {
        if tick <= ticks {
            let (endpoint, ticket) = worker.send("web");
            let at = endpoints.iter().position(|(other, _)| *other == endpoint).expect("one of the ten");
            queues[at].push_back(ticket);
            worst = worst.max(queues[at].len());
        } else if queues.iter().all(VecDeque::is_empty) {
            break;
        }
        for (at, queue) in queues.iter_mut().enumerate() {
            // An endpoint finishes a request in 5 ticks and gets a tenth of the requests; the slow one needs 50 ticks.
            if tick % (if at == 0 { 50 } else { 5 }) == 0
                && let Some(ticket) = queue.pop_front()
            {
                worker.end(ticket, Some(200));
            }
        }
        assert!(policy == "RANDOM" || worker.balance.len() == queues.iter().filter(|queue| !queue.is_empty()).count());
    }
    (worst, worker)
}

#[test]
fn least_request_keeps_queues_short() {
    let (random, _) = worst_queue("RANDOM");
    let (least_request, worker) = worst_queue("LEAST_REQUEST");
    assert!(least_request * 10 <= random, "the longest queue is {least_request}, and {random} with RANDOM");
    // A count that does not return to 0 makes an endpoint look busy forever.
    assert!(worker.balance.is_empty(), "{} left", worker.balance.len());
}

#[test]
fn least_request_respects_weights_when_all_are_busy() {
    let mut worker = Worker::new(web(groups(&[(1, 1, 1), (2, 1, 3)]), simple("LEAST_REQUEST")), 9);
    // No request ends.
    let picks: Vec<String> = (0..400).map(|_| worker.send("web").0).collect();
    let light = counts(&picks)["10.0.1.1:8080"];
    assert!((90..=110).contains(&light), "{light} of 400 with a weight of 1 in 4");
}

// Most Services are idle most of the time, and weights must hold then too.
#[test]
fn least_request_respects_weights_when_all_are_idle() {
    let mut worker = Worker::new(web(groups(&[(1, 1, 1), (2, 1, 3)]), simple("LEAST_REQUEST")), 9);
    let picks = worker.picks("web", 4_000);
    let light = counts(&picks)["10.0.1.1:8080"];
    assert!((500..=1_500).contains(&light), "{light} of 4,000 with a weight of 1 in 4");
}

/// Leaves each of these endpoints with that many open requests, and every other endpoint with none.
fn leave_open(worker: &mut Worker, busy: &[(&str, usize)]) -> Vec<Ticket> {
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    let mut missing: BTreeMap<&str, usize> = busy.iter().copied().collect();
    for _ in 0..1_000 {
        let (endpoint, ticket) = worker.send("web");
        match missing.get_mut(endpoint.as_str()).filter(|missing| **missing > 0) {
            Some(missing) => {
                *missing -= 1;
                kept.extend(ticket);
            }
            None => others.push(ticket),
        }
        if missing.values().all(|missing| *missing == 0) {
            others.into_iter().for_each(|ticket| _ = worker.end(ticket, Some(200)));
            return kept;
        }
    }
    panic!("{missing:?} requests are missing after 1,000");
}

/// The share of the picks that each endpoint gets if two different ones are drawn by weight and the one with fewer open requests
/// for its weight wins, in a tie the first drawn: the sum over all ordered pairs.
fn least_request_shares(endpoints: &[(String, u32)], busy: &[(&str, usize)]) -> BTreeMap<String, f64> {
    let total: u32 = endpoints.iter().map(|(_, weight)| weight).sum();
    let open = |endpoint: &str| busy.iter().find(|(other, _)| *other == endpoint).map_or(0, |(_, open)| *open);
    let mut shares: BTreeMap<String, f64> = endpoints.iter().map(|(endpoint, _)| (endpoint.clone(), 0.0)).collect();
    for (first, first_weight) in endpoints {
        for (second, second_weight) in endpoints.iter().filter(|(second, _)| second != first) {
            let drawn = f64::from(*first_weight) / f64::from(total) * f64::from(*second_weight)
                / f64::from(total - first_weight);
            let is_second_less_busy = open(second) * (*first_weight as usize) < open(first) * (*second_weight as usize);
            *shares.get_mut(if is_second_less_busy { second } else { first }).unwrap() += drawn;
        }
    }
    shares
}

// Drawing with replacement would draw the busy endpoint twice, and so pick it, in a quarter of the picks.
#[test]
fn least_request_never_picks_the_busy_one_of_two() {
    let mut worker = Worker::new(web(groups(&[(1, 2, 1)]), simple("LEAST_REQUEST")), 9);
    let busy = "10.0.1.1:8080";
    leave_open(&mut worker, &[(busy, 3)]);
    let picks = worker.picks("web", 1_000);
    assert_eq!(counts(&picks), [("10.0.1.2:8080", 1_000)].into(), "{busy} has 3 open requests");
}

// With one idle, one busy and one busier endpoint, the shares show the probability of every pair.
#[test]
fn least_request_draws_two_different_endpoints_by_weight() {
    let (light, other_light, heavy) = ("10.0.1.1:8080", "10.0.1.2:8080", "10.0.2.1:8080");
    let shape = [(1, 2, 1), (2, 1, 2)];
    for busy in [
        &[(light, 1)][..],
        &[(heavy, 1)],
        &[(light, 1), (other_light, 2)],
        &[(light, 1), (heavy, 4)],
        &[(light, 4), (heavy, 1)],
        // Fewer requests than the heavy one, and more for its weight.
        &[(light, 2), (heavy, 3)],
    ] {
        let mut worker = Worker::new(web(groups(&shape), simple("LEAST_REQUEST")), 13);
        leave_open(&mut worker, busy);
        let picks = worker.picks("web", 8_000);
        let counts = counts(&picks);
        let expected = least_request_shares(&shares(&shape), busy);
        assert!(expected.values().any(|share| *share == 0.0), "the busiest for its weight loses against any other");
        for (endpoint, share) in expected {
            let count = counts.get(endpoint.as_str()).copied().unwrap_or(0);
            assert!(is_about(count, picks.len(), share), "{count} picks of {endpoint}, not {share}, with {busy:?}");
        }
    }
}

// The second draw leaves out all slots of the first endpoint, as many as its weight. With a wrong offset the busy endpoint could
// be drawn twice, and would then win against itself.
#[test]
fn least_request_leaves_out_all_slots_of_the_first_drawn() {
    for shape in [
        &[(1, 1, 1), (2, 1, 3)][..],
        &[(1, 1, 3), (2, 1, 1)],
        &[(1, 3, 4), (2, 5, 1)],
        &[(1, 2, 5), (2, 1, 1), (3, 2, 3)],
        &[(1, 1, 1_000), (2, 1, 1)],
        &[(1, 1, 1), (2, 1, 1_000)],
    ] {
        let endpoints = shares(shape);
        for (busy, _) in &endpoints {
            let mut worker = Worker::new(web(groups(shape), simple("LEAST_REQUEST")), 17);
            // One open request makes it the busiest, however heavy it is.
            leave_open(&mut worker, &[(busy, 1)]);
            let picks = worker.picks("web", 2_000);
            let counts = counts(&picks);
            assert!(!counts.contains_key("none"), "{busy} of {shape:?}: a slot out of range");
            assert!(!counts.contains_key(busy.as_str()), "{busy} of {shape:?} was drawn twice");
            for (endpoint, share) in least_request_shares(&endpoints, &[(busy, 1)]) {
                let count = counts.get(endpoint.as_str()).copied().unwrap_or(0);
                assert!(
                    is_about(count, picks.len(), share),
                    "{count} picks of {endpoint}, not {share}: {busy} is busy"
                );
            }
        }
    }
}
