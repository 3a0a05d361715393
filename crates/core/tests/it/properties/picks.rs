//! Picks under random Services, pushes, failures and times.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{fixture::config, worker::Worker};

fn group() -> impl Strategy<Value = Value> {
    let maybe = |values: &'static [&str]| prop::option::of(prop::sample::select(values));
    let ports = prop::sample::select(vec![json!(null), json!({"http": 8080}), json!({"admin": 9901})]);
    let addresses = prop::collection::btree_set(1u8..9, 0..4);
    let conditions = (prop::bool::weighted(0.8), any::<bool>());
    (addresses, maybe(&["v1", "v2", "v3"]), maybe(&["a", "b"]), ports, conditions, 1u32..4).prop_map(
        |(addresses, version, zone, ports, (ready, terminating), weight)| {
            let addresses: Vec<String> = addresses.iter().map(|last| format!("10.0.0.{last}")).collect();
            let labels = version.map_or(json!({}), |version| json!({"version": version}));
            let mut group = json!({"addresses": addresses, "labels": labels, "ready": ready, "weight": weight,
                                   "terminating": terminating});
            for (field, value) in [("zone", json!(zone)), ("ports", ports)] {
                if !value.is_null() {
                    group[field] = value;
                }
            }
            group
        },
    )
}

fn service() -> impl Strategy<Value = Value> {
    let subset =
        (prop::sample::select(vec!["v1", "v2"]), 0u32..3, any::<bool>()).prop_map(|(version, weight, by_zone)| {
            if by_zone {
                json!({"zone": "a", "weight": weight})
            } else {
                json!({"labels": {"version": version}, "weight": weight})
            }
        });
    let subsets = prop::collection::btree_map(prop::sample::select(vec!["x", "y", "z"]), subset, 0..4);
    let policy = prop::sample::select(vec![
        json!({"simple": "ROUND_ROBIN"}),
        json!({"simple": "RANDOM"}),
        json!({"simple": "LEAST_REQUEST"}),
        json!({"consistentHash": {"httpHeaderName": "x-user"}}),
        json!({"consistentHash": {"useSourceIp": true}}),
    ]);
    let outliers = (0u32..3, 1u32..101, 1u32..60).prop_map(|(failures, percent, time)| {
        json!({"consecutive5xxErrors": failures, "maxEjectionPercent": percent, "baseEjectionTimeSeconds": time})
    });
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (prop::collection::vec(group(), 0..5), subsets, policy, outliers, flags).prop_map(
        |(endpoints, subsets, policy, outliers, (headless, near, has_outliers))| {
            let mut web = json!({"ports": [{"name": "http", "port": 80}], "endpoints": endpoints, "subsets": subsets,
                                 "steering": {"loadBalancer": policy}});
            if has_outliers {
                web["steering"]["outlierDetection"] = outliers;
            }
            if headless {
                web["clusterIPs"] = json!("None");
            }
            if near {
                web["trafficDistribution"] = json!("PreferClose");
            }
            web
        },
    )
}

fn compiled(web: &Value) -> byname_core::Config {
    config(json!({"caller": {"namespace": "shop", "zone": "a", "podIP": "10.1.1.1"}, "steering": {"by": "endpoint"},
                  "table": {"services": {"shop/web": web}}}))
}

/// A request: its user, the seconds since the last request, and its status.
fn request() -> impl Strategy<Value = (u8, u64, Option<u16>)> {
    (0u8..4, 0u64..40, prop::sample::select(vec![None, Some(200), Some(503), Some(503)]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn picks_only_usable_endpoints(
        services in prop::collection::vec(service(), 1..3),
        requests in prop::collection::vec(request(), 1..40),
        seed in any::<u64>(),
    ) {
        let mut worker = Worker::new(compiled(&services[0]), seed);
        let mut open = Vec::new();
        for service in &services {
            worker.config = compiled(service);
            worker.balance.sweep(worker.env.now);
            for (user, seconds, status) in &requests {
                worker.env.now += seconds * 1_000_000_000;
                worker.env.headers.clear();
                if *user > 0 {
                    worker.env.headers.push(("x-user".into(), user.to_string()));
                }
                let (endpoint, ticket) = worker.send("web");
                let web = worker.config.table.get("shop", "web").expect("the Service");
                let usable: Vec<String> = web.usable("http").expect("known endpoints").1.map(|endpoint| endpoint.ip().to_string()).collect();
                let (address, port) = endpoint.rsplit_once(':').unwrap_or(("none", ""));
                prop_assert_eq!(address == "none", usable.is_empty(), "{}", service);
                prop_assert!(address == "none" || usable.iter().any(|other| other == address), "{}", service);
                prop_assert!(matches!(port, "" | "80" | "8080"), "{}", port);
                prop_assert_eq!(ticket.map(|ticket| ticket.endpoint().0.to_string()).unwrap_or(address.into()), address);
                open.push((ticket, *status));
                if open.len() > 5 {
                    let (ticket, status) = open.remove(0);
                    worker.end(ticket, status);
                }
            }
        }
        for (ticket, _) in open {
            worker.end(ticket, Some(200));
        }
    }
}
