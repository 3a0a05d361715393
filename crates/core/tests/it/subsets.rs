//! Subsets: which named subset of a Service a request goes to, and that a key stays in it.

use byname_core::Config;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    fixture::{config, with_fields},
    worker::{Worker, by_header, counts, group, is_about, is_spread, shares},
};

/// A group of endpoints `10.0.NET.*` with the label `version`.
fn version(version: &str, net: u8, count: u8) -> Value {
    let mut group = group(net, count, 1);
    group["labels"] = json!({"version": version, "app": "web"});
    group
}

/// A subset of the endpoints with this version.
fn of(version: &str, weight: u32) -> Value {
    json!({"labels": {"version": version}, "weight": weight})
}

fn two(one: u32, other: u32) -> Value {
    json!({"v1": of("v1", one), "v2": of("v2", other)})
}

fn both() -> Value {
    json!([version("v1", 1, 5), version("v2", 2, 4)])
}

/// A configuration with `shop/web` and these subsets, for a caller in the zone `a`. The cluster's name is `to-SUBSET`.
fn steered(endpoints: Value, subsets: Value, by: &str, mut steering: Value, fields: Value) -> Config {
    let mut web = json!({"ports": [{"name": "http", "port": 80}], "endpoints": endpoints, "subsets": subsets});
    if endpoints.is_null() {
        web.as_object_mut().unwrap().remove("endpoints");
    }
    let web = with_fields(web, fields);
    steering["by"] = json!(by);
    steering["cluster"] = json!("to-{subset}");
    config(json!({"caller": {"namespace": "shop", "zone": "a"}, "steering": steering,
                  "table": {"services": {"shop/web": web}}}))
}

/// The clusters of 1,000 requests, such as `to-v1`.
fn clusters(endpoints: Value, subsets: Value, fields: Value) -> Vec<String> {
    let mut worker = Worker::new(steered(endpoints, subsets, "cluster", json!({}), fields), 1);
    (0..1_000).map(|_| worker.cluster("web")).collect()
}

/// The subsets that these requests went to.
fn used(endpoints: Value, subsets: Value, fields: Value) -> String {
    let clusters = clusters(endpoints.clone(), subsets.clone(), fields.clone());
    let used: Vec<&str> = counts(&clusters).into_keys().map(|name| name.trim_start_matches("to-")).collect();
    if !endpoints.is_null() {
        // Steering by endpoint chooses the subset in the same way.
        let mut worker = Worker::new(steered(endpoints, subsets, "endpoint", json!({}), fields), 1);
        for _ in 0..50 {
            let trace = worker.trace("web");
            let is_in = |name: &&str| match *name {
                "" => trace.contains("endpoints outside every subset"),
                name => trace.contains(&format!("subset {name} of")),
            };
            assert!(used.iter().any(is_in), "{trace}");
        }
    }
    used.join(" ")
}

#[test]
fn uses_only_subsets_with_usable_endpoints() {
    let with = |field: &str, value: Value| {
        let mut endpoints = both();
        endpoints[0][field] = value;
        endpoints
    };
    for (endpoints, expected) in [
        (both(), "v1 v2"),
        (with("ready", json!(false)), "v2"),
        (with("ports", json!({"admin": 9901})), "v2"),
        (with("labels", json!({"app": "web"})), "v2"),
        (with("labels", json!({"version": "v3", "app": "web"})), "v2"),
        (json!([version("v1", 1, 1)]), "v1"),
    ] {
        assert_eq!(used(endpoints.clone(), two(1, 1), json!({})), expected, "{endpoints}");
    }
    // They are not ready, but no other endpoint is.
    let mut draining = both();
    for index in [0, 1] {
        draining[index]["ready"] = json!(false);
    }
    draining[1]["terminating"] = json!(true);
    assert_eq!(used(draining, two(1, 1), json!({})), "v2");
    let local = json!({"v1": {"zone": "a"}, "v2": {"zone": "b", "labels": {"app": "web"}}});
    let mut zones = both();
    (zones[0]["zone"], zones[1]["zone"]) = (json!("c"), json!("b"));
    assert_eq!(used(zones, local, json!({})), "v2", "a zone selects endpoints as labels do");
}

// A canary with weight 0 is filled later, and must get no request until then.
#[test]
fn uses_a_subset_of_weight_0_only_if_no_other_is_left() {
    assert_eq!(used(both(), two(0, 1), json!({})), "v2");
    assert_eq!(used(json!([version("v1", 1, 2)]), two(0, 1), json!({})), "v1");
    assert_eq!(used(both(), two(0, 0), json!({})), "v1 v2");
}

#[test]
fn uses_endpoints_outside_all_subsets_only_if_no_subset_is_left() {
    let mut endpoints = json!([version("v1", 1, 1), version("v3", 3, 9)]);
    assert_eq!(used(endpoints.clone(), two(1, 1), json!({})), "v1");
    endpoints[0]["ready"] = json!(false);
    assert_eq!(used(endpoints.clone(), two(1, 1), json!({})), "", "the name is left out");
    let mut worker = Worker::new(steered(endpoints, two(1, 1), "endpoint", json!({}), json!({})), 1);
    assert_eq!(counts(&worker.picks("web", 90)).len(), 9);
    assert!(
        worker.trace("web").contains("endpoints outside every subset, chosen by weight"),
        "{}",
        worker.trace("web")
    );
}

#[test]
fn prefers_subsets_in_the_callers_zone_with_a_traffic_distribution() {
    let zones = |near: u32| json!({"near": {"zone": "a", "weight": near}, "far": {"zone": "b", "weight": 100}});
    // One endpoint has no zone, so the derived hints restrict nothing and only the subsets do.
    let mut endpoints = json!([group(1, 2, 1), group(2, 2, 1), group(3, 1, 1)]);
    (endpoints[0]["zone"], endpoints[1]["zone"]) = (json!("a"), json!("b"));
    let same_zone = json!({"trafficDistribution": "PreferSameZone"});
    assert_eq!(used(endpoints.clone(), zones(1), same_zone.clone()), "near");
    assert_eq!(used(endpoints.clone(), zones(1), json!({})), "far near");
    assert_eq!(used(endpoints.clone(), zones(0), same_zone.clone()), "far", "weight comes before zone");
    assert_eq!(used(Value::Null, zones(1), same_zone.clone()), "near", "also where endpoints are not known");
    endpoints[0]["zone"] = json!("c");
    assert_eq!(used(endpoints, zones(1), same_zone), "far");
}

#[test]
fn chooses_subsets_by_weight() {
    let subsets = json!({"v1": of("v1", 70), "v2": of("v2", 20), "v3": of("v3", 10), "none": of("v4", 1_000)});
    let weights = [("to-v1", 70), ("to-v2", 20), ("to-v3", 10)].map(|(name, weight)| (name.to_owned(), weight));
    // The number of endpoints in a subset does not count.
    let endpoints = json!([version("v1", 1, 1), version("v2", 2, 8), version("v3", 3, 2)]);
    let picks = clusters(endpoints, subsets, json!({}));
    assert!(is_spread(&picks, &weights), "{:?}", counts(&picks));
    let mut even = weights.clone();
    even.iter_mut().for_each(|(_, weight)| *weight = 1);
    assert!(!is_spread(&picks, &even), "the spread check can fail");
}

#[test]
fn uses_all_subsets_if_endpoints_are_unknown() {
    let picks = clusters(Value::Null, two(3, 1), json!({}));
    assert!(is_spread(&picks, &[("to-v1".into(), 3), ("to-v2".into(), 1)]), "{:?}", counts(&picks));
    assert_eq!(used(Value::Null, two(0, 1), json!({})), "v2");
}

#[test]
fn picks_an_endpoint_inside_the_chosen_subset() {
    for policy in ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"] {
        let steering = json!({"loadBalancer": {"simple": policy}});
        let mut worker = Worker::new(steered(both(), two(90, 10), "endpoint", steering, json!({})), 1);
        let picks = worker.picks("web", 3_000);
        let (v1, v2): (Vec<String>, Vec<String>) = picks.into_iter().partition(|pick| pick.starts_with("10.0.1."));
        assert!(is_about(v2.len(), 3_000, 0.1), "{} of 3,000, {policy}", v2.len());
        assert!(is_spread(&v1, &shares(&[(1, 5, 1)])), "{:?}, {policy}", counts(&v1));
        assert!(is_spread(&v2, &shares(&[(2, 4, 1)])), "{:?}, {policy}", counts(&v2));
        if policy == "ROUND_ROBIN" {
            let most = counts(&v2).into_values().max().unwrap();
            assert!(most * 4 < v2.len() + 4, "each subset has its own turn");
        }
    }
}

const KEYS: usize = 2_000;

/// The endpoint of each user.
fn by_key(endpoints: Value, subsets: Value) -> Vec<String> {
    Worker::new(steered(endpoints, subsets, "endpoint", by_header(), json!({})), 1).picks_by("x-user", KEYS)
}

fn is_v1(endpoint: &str) -> bool {
    endpoint.starts_with("10.0.1.")
}

// Affinity must prevent that a client sees the new version with one request and the old one with the next.
#[test]
fn keeps_a_key_in_its_subset_and_moves_few_when_weights_change() {
    let (before, after) = (by_key(both(), two(90, 10)), by_key(both(), two(80, 20)));
    let second = |picks: &[String]| picks.iter().filter(|endpoint| !is_v1(endpoint)).count();
    assert!(is_about(second(&before), KEYS, 0.1), "{} of {KEYS}", second(&before));
    assert!(is_about(second(&after), KEYS, 0.2), "{} of {KEYS}", second(&after));
    let moved: Vec<usize> = (0..KEYS).filter(|key| before[*key] != after[*key]).collect();
    assert!(moved.iter().all(|key| is_v1(&before[*key]) && !is_v1(&after[*key])), "only to what gained weight");
    assert!(is_about(moved.len(), KEYS, 0.1), "{} of {KEYS} moved", moved.len());
    // The choice of an endpoint is independent of the choice of its subset.
    let (v1, v2): (Vec<String>, Vec<String>) = after.iter().cloned().partition(|endpoint| is_v1(endpoint));
    assert!(is_spread(&v1, &shares(&[(1, 5, 1)])), "{:?}", counts(&v1));
    assert!(is_spread(&v2, &shares(&[(2, 4, 1)])), "{:?}", counts(&v2));
    let mut worker = Worker::new(steered(both(), two(80, 20), "cluster", by_header(), json!({})), 2);
    for (key, endpoint) in after.iter().enumerate().take(200) {
        worker.env.headers = vec![("x-user".into(), format!("user-{key}"))];
        let subset = if is_v1(endpoint) { "to-v1" } else { "to-v2" };
        assert_eq!(worker.cluster("web"), subset, "by cluster as by endpoint");
    }
    assert!(worker.trace("web").contains("of 2, chosen by the affinity key"), "{}", worker.trace("web"));
}

#[test]
fn moves_only_the_keys_of_a_subset_that_empties() {
    let mut without = both();
    without[1]["ready"] = json!(false);
    let (before, after) = (by_key(both(), two(80, 20)), by_key(without, two(80, 20)));
    assert!((0..KEYS).all(|key| is_v1(&after[key]) && (before[key] == after[key]) == is_v1(&before[key])));
}

// A canary starts as a new subset. Subsets are sorted by name, so it may come first.
#[test]
fn moves_only_the_keys_that_a_new_subset_gets() {
    for (canary, why) in [("v3", "listed last"), ("canary", "listed first")] {
        let mut subsets = two(45, 45);
        subsets[canary] = of("v3", 10);
        let endpoints = json!([version("v1", 1, 5), version("v2", 2, 4), version("v3", 3, 2)]);
        let (before, after) = (by_key(both(), two(45, 45)), by_key(endpoints, subsets));
        let moved: Vec<usize> = (0..KEYS).filter(|key| before[*key] != after[*key]).collect();
        assert!(is_about(moved.len(), KEYS, 0.1), "{} of {KEYS} moved: {why}", moved.len());
        assert!(moved.iter().all(|key| after[*key].starts_with("10.0.3.")), "{why}");
    }
}

// Otherwise the same users would get all canaries at once.
#[test]
fn chooses_subsets_of_different_services_independently() {
    let web = json!({"ports": [{"port": 80}], "subsets": two(50, 50)});
    let whole = json!({"steering": {"cluster": "to-{subset}", "loadBalancer": by_header()["loadBalancer"]},
                       "table": {"services": {"shop/web": web, "shop/api": web}}});
    let mut worker = Worker::new(config(whole), 1);
    let mut is_same = |key: &usize| {
        worker.env.headers = vec![("x-user".into(), format!("user-{key}"))];
        worker.cluster("web") == worker.cluster("api")
    };
    let same = (0..KEYS).filter(&mut is_same).count();
    assert!(is_about(same, KEYS, 0.5), "{same} of {KEYS}");
}

#[test]
fn keeps_a_pod_in_one_subset() {
    let affinity = json!({"sessionAffinity": "ClientIP"});
    let of = |pod: usize| {
        let web = json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP", "subsets": two(75, 25)});
        let whole = json!({"caller": {"namespace": "shop", "podIP": format!("10.244.{}.{}", pod / 250, pod % 250)},
                           "steering": {"cluster": "to-{subset}"}, "table": {"services": {"shop/web": web}}});
        let mut worker = Worker::new(config(whole), pod as u64);
        let first = worker.cluster("web");
        assert!((0..10).all(|_| worker.cluster("web") == first));
        first
    };
    let pods: Vec<String> = (0..1_000).map(of).collect();
    assert!(is_spread(&pods, &[("to-v1".into(), 3), ("to-v2".into(), 1)]), "{:?}", counts(&pods));
    assert_eq!(used(both(), two(1, 1), affinity), "v1 v2", "an unknown pod goes to a random subset");
}
