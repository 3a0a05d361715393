//! Session affinity: one key, from a header or the pod, goes to one endpoint.

use byname_core::{Config, Defaults};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::worker::{Worker, by_header, counts, group, is_about, is_spread, shares, web};

const KEYS: usize = 3_000;

fn by_key(groups: Value, seed: u64) -> Vec<String> {
    Worker::new(web(groups, by_header()), seed).picks_by("x-user", KEYS)
}

// Workers, sidecars and configuration pushes share only the table. If anything else went into the hash, a client would change
// its endpoint with the worker that accepted its connection.
#[test]
fn maps_a_key_to_the_same_endpoint_in_every_worker() {
    let picks = by_key(json!([group(1, 10, 1)]), 1);
    assert!(is_spread(&picks, &shares(&[(1, 10, 1)])), "{:?}", counts(&picks));
    let backwards: Vec<String> = (1..=10).rev().map(|last| format!("10.0.1.{last}")).collect();
    let backwards = json!([{"addresses": backwards, "ports": {"http": 8080}}]);
    let mut parts = json!([group(1, 10, 1), group(1, 10, 1)]);
    parts[0]["addresses"] = json!("10.0.1.10 10.0.1.2 10.0.1.4 10.0.1.6");
    parts[1]["addresses"] = json!("10.0.1.8 10.0.1.7 10.0.1.5 10.0.1.9 10.0.1.1 10.0.1.3");
    for (same, why) in [(json!([group(1, 10, 1)]), "read again"), (backwards, "backwards"), (parts, "in two groups")] {
        assert_eq!(by_key(same, 2), picks, "{why}");
    }
    let mut worker = Worker::new(web(json!([group(1, 10, 1)]), by_header()), 3);
    worker.picks("web", 5);
    assert_eq!(worker.picks_by("x-user", KEYS), picks, "earlier requests do not matter");
}

#[test]
fn moves_only_the_keys_of_an_endpoint_that_leaves() {
    let all = by_key(json!([group(1, 10, 1)]), 1);
    let without = by_key(json!([group(1, 9, 1)]), 1);
    let moved: Vec<usize> = (0..KEYS).filter(|key| all[*key] != without[*key]).collect();
    assert!(moved.iter().all(|key| all[*key] == "10.0.1.10:8080"));
    assert_eq!(moved.len(), counts(&all)["10.0.1.10:8080"]);
    assert!(is_about(moved.len(), KEYS, 0.1), "{} of {KEYS} keys moved", moved.len());
    // On a hash ring with few points they would all go to one neighbour.
    let to: Vec<String> = moved.iter().map(|key| without[*key].clone()).collect();
    assert!(is_spread(&to, &shares(&[(1, 9, 1)])), "{:?}", counts(&to));
    assert_eq!(by_key(json!([group(1, 10, 1)]), 1), all, "its keys return with it");
}

#[test]
fn spreads_keys_by_weight_and_moves_few_when_a_weight_changes() {
    let weighted = |heavy| json!([group(1, 4, 2), group(2, 2, heavy)]);
    let (three, four) = (by_key(weighted(6), 1), by_key(weighted(8), 1));
    assert!(is_spread(&three, &shares(&[(1, 4, 2), (2, 2, 6)])), "{:?}", counts(&three));
    assert!(is_spread(&four, &shares(&[(1, 4, 2), (2, 2, 8)])), "{:?}", counts(&four));
    // The light endpoints' share falls from 8 in 20 to 8 in 24: that many keys move, and only to endpoints that gained weight.
    let moved: Vec<usize> = (0..KEYS).filter(|key| three[*key] != four[*key]).collect();
    assert!(moved.iter().all(|key| four[*key].starts_with("10.0.2.")));
    assert!(moved.len() < KEYS / 10, "{} of {KEYS} keys moved", moved.len());
}

#[test]
fn picks_at_random_without_the_header_and_says_so_in_the_trace() {
    let mut worker = Worker::new(web(json!([group(1, 4, 1)]), by_header()), 1);
    let picks = worker.picks("web", 2_000);
    assert!(is_spread(&picks, &shares(&[(1, 4, 1)])), "{:?}", counts(&picks));
    let says = "of 4 by consistentHash of a header, RANDOM because the request has no affinity key";
    assert!(worker.trace("web").contains(says), "{}", worker.trace("web"));
    // An empty header value is a key.
    worker.env.headers = vec![("x-user".into(), String::new())];
    assert_eq!(counts(&worker.picks("web", 50)).len(), 1);
    assert!(!worker.trace("web").contains("no key"), "{}", worker.trace("web"));
}

/// `shop/web` with `sessionAffinity` and two ports, for this pod.
fn affine(pod_ip: Option<&str>, id: Option<&str>) -> Config {
    let mut endpoints = group(1, 5, 1);
    endpoints["ports"]["more"] = json!(8080);
    let web = json!({"ports": [{"name": "http", "port": 80}, {"name": "more", "port": 81}],
                     "sessionAffinity": "ClientIP", "endpoints": [endpoints]});
    let mut whole = json!({"version": 1, "caller": {"namespace": "shop"}, "steering": {"by": "endpoint"},
                           "table": {"services": {"shop/web": web}}});
    if let Some(address) = pod_ip {
        whole["caller"]["podIP"] = json!(address);
    }
    let defaults = Defaults { id, ..Defaults::default() };
    Config::read(whole.to_string(), &defaults).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The endpoint of each port for this pod, which is the same for every request and worker.
fn stays(pod_ip: Option<&str>, id: Option<&str>) -> [String; 2] {
    let mut worker = Worker::new(affine(pod_ip, id), 1);
    ["web", "web:81"].map(|authority| {
        let first = worker.pick(authority);
        worker.env.seed += 1_000;
        assert_eq!(counts(&worker.picks(authority, 5)).len(), 1, "{pod_ip:?} {id:?}");
        assert_eq!(Worker::new(affine(pod_ip, id), 2).pick(authority), first, "{pod_ip:?} {id:?}");
        first
    })
}

// If all pods chose the same endpoint, each of them would still stay with one: so the spread is tested too.
#[test]
fn keeps_a_pod_on_one_endpoint_and_spreads_pods() {
    for by_address in [true, false] {
        let of = |pod: u32| {
            let text = format!("10.244.{}.{}", pod / 200, pod % 200);
            if by_address { stays(Some(&text), Some("ignored")) } else { stays(None, Some(&text)) }
        };
        let pods: Vec<[String; 2]> = (0..600).map(of).collect();
        for port in [0, 1] {
            let picks: Vec<String> = pods.iter().map(|picks| picks[port].clone()).collect();
            assert!(is_spread(&picks, &shares(&[(1, 5, 1)])), "{:?}", counts(&picks));
        }
        let same = pods.iter().filter(|[one, other]| one == other).count();
        assert!(is_about(same, pods.len(), 0.2), "{same}: another port is another choice");
    }
}

#[test]
fn picks_at_random_for_an_unknown_pod() {
    for id in [None, Some("")] {
        let mut worker = Worker::new(affine(None, id), 1);
        let picks = worker.picks("web", 1_000);
        assert!(is_spread(&picks, &shares(&[(1, 5, 1)])), "{:?}", counts(&picks));
        assert!(
            worker.trace("web").contains("of the pod, RANDOM because the request has no affinity key"),
            "{}",
            worker.trace("web")
        );
    }
}
