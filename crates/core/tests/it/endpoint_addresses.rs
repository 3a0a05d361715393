//! The address and port of the endpoint that a name leads to.

use std::collections::BTreeSet;

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    fixture::config,
    worker::{Worker, by_header, counts, service, simple},
};

fn headless() -> Value {
    json!({"clusterIPs": "None", "ports": [{"name": "http", "port": 80}], "endpoints": [
        {"addresses": ["10.0.1.1", "10.0.1.2"], "hostnames": ["web-0", "web-1"], "ports": {"http": 8080, "admin": 9901}},
        {"addresses": "10.0.2.1", "ports": {"http": 8081, "admin": 9902}},
        {"addresses": "10.0.3.1 fd00::7"},
    ]})
}

#[test]
fn picks_the_endpoint_that_a_name_names_whatever_the_policy() {
    let pods = json!({"loadBalancer": {"consistentHash": {"useSourceIp": true}}});
    for mut steering in [simple("ROUND_ROBIN"), simple("RANDOM"), simple("LEAST_REQUEST"), by_header(), pods] {
        steering["outlierDetection"] = json!({"consecutive5xxErrors": 1, "maxEjectionPercent": 100});
        let mut worker = Worker::new(service(headless(), steering), 1);
        worker.env.headers = vec![("x-user".into(), "me".into())];
        for round in 0..20 {
            for (authority, endpoint) in [
                ("web-0.web", "10.0.1.1:8080"),
                ("web-1.web:80", "10.0.1.2:8080"),
                ("10-0-2-1.web", "10.0.2.1:8081"),
                ("10-0-3-1.web", "10.0.3.1:80"),
                ("fd00--7.web", "[fd00::7]:80"),
            ] {
                let (is, ticket) = worker.send(authority);
                assert_eq!((&*is, ticket), (endpoint, None), "round {round}");
            }
            // In the end all but one of them are ejected.
            let (_, ticket) = worker.send("web");
            worker.end(ticket, Some(503));
        }
        assert_eq!(worker.balance.take_events().ejected, 4);
    }
}

#[test]
fn picks_by_policy_for_the_name_of_a_headless_service() {
    let mut worker = Worker::new(service(headless(), json!({})), 1);
    let picks = worker.picks("web", 20);
    let each = ["10.0.1.1:8080", "10.0.1.2:8080", "10.0.2.1:8081", "10.0.3.1:80", "[fd00::7]:80"];
    assert_eq!(counts(&picks), each.map(|endpoint| (endpoint, 4)).into());
}

// The Service does not declare such a port, so it has no number for it.
#[test]
fn uses_the_endpoints_number_for_a_port_that_only_they_have() {
    for policy in ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"] {
        let mut declared = headless();
        declared["endpoints"].as_array_mut().unwrap().pop();
        let picks = Worker::new(service(declared, simple(policy)), 1).picks("_admin._tcp.web", 100);
        let known: BTreeSet<&str> = counts(&picks).into_keys().collect();
        assert_eq!(known, ["10.0.1.1:9901", "10.0.1.2:9901", "10.0.2.1:9902"].into(), "{policy}");
    }
}

// Endpoints without ports serve those of the Service, and this port is not among them.
#[test]
fn never_picks_port_0() {
    let picks = Worker::new(service(headless(), json!({})), 1).picks("_admin._tcp.web", 100);
    let zero: BTreeSet<&String> = picks.iter().filter(|endpoint| endpoint.ends_with(":0")).collect();
    assert!(zero.is_empty(), "{zero:?}");
}

#[test]
fn uses_the_target_port_of_the_group_or_else_the_service_port() {
    let services = json!({
        "shop/web": {"ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 90}],
                     "endpoints": [{"addresses": "fd00::7", "ports": {"http": 8080, "grpc": 9090}}]},
        "shop/own": {"ports": [{"port": 8000}], "endpoints": [{"addresses": "::ffff:10.0.0.1"}]},
        "shop/unnamed": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.2", "ports": {"": 8080}}]},
    });
    let config = config(json!({"steering": {"by": "endpoint"}, "table": {"services": services}}));
    let mut worker = Worker::new(config, 1);
    for (authority, endpoint) in [
        ("web", "[fd00::7]:8080"),
        ("web:90", "[fd00::7]:9090"),
        ("_grpc._tcp.web", "[fd00::7]:9090"),
        ("own:8000", "10.0.0.1:8000"),
        ("unnamed", "10.0.0.2:8080"),
    ] {
        assert_eq!(worker.pick(authority), endpoint, "{authority}");
    }
}
