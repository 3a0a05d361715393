//! The address and port of the endpoint that a name leads to.

use std::collections::BTreeSet;

use byname_core::Resolution;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    fixture::{ask, config, http},
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

/// The endpoints that `authority` may go to, by the table of `service` as `shop/web`.
fn endpoints_of(service: &Value, authority: &str) -> Vec<String> {
    let config = config(json!({"table": {"services": {"shop/web": service}}}));
    match config.resolve(http(authority), None) {
        Resolution::Route(route) => {
            route.endpoints().expect("known endpoints").iter().map(ToString::to_string).collect()
        }
        _ => vec![ask(&config, authority)],
    }
}

// A Deployment whose template sets hostname and subdomain: DNS answers with every ready pod.
#[test]
fn balances_among_the_endpoints_that_share_a_hostname() {
    let web = json!({"clusterIPs": "None", "ports": [{"name": "http", "port": 80}], "endpoints": [
        {"addresses": "10.0.1.1 10.0.1.2 10.0.1.9", "hostnames": "worker worker db-0", "ports": {"http": 8080}},
        {"addresses": "10.0.2.1", "hostnames": "worker", "ports": {"http": 8081}},
        {"addresses": "10.0.2.2", "hostnames": "worker", "ready": false},
        {"addresses": "10.0.2.3", "hostnames": "worker", "ready": false, "terminating": true},
    ]});
    let each = ["10.0.1.1:8080", "10.0.1.2:8080", "10.0.2.1:8081"];
    for (policy, of_each) in [("ROUND_ROBIN", 20..=20), ("RANDOM", 5..=40), ("LEAST_REQUEST", 5..=40)] {
        let mut worker = Worker::new(service(web.clone(), simple(policy)), 1);
        let picks = worker.picks("worker.web", 60);
        let counts = counts(&picks);
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), each, "{policy}");
        assert!(counts.values().all(|count| of_each.contains(count)), "{policy}: {counts:?}");
        assert_eq!(worker.pick("db-0.web"), "10.0.1.9:8080", "{policy}: another hostname of the same group");
    }
    let mut worker = Worker::new(service(web.clone(), by_header()), 1);
    worker.env.headers = vec![("x-user".into(), "me".into())];
    let picks = worker.picks("worker.web", 20);
    assert_eq!(counts(&picks).len(), 1, "one key stays with one endpoint: {picks:?}");
    assert_eq!(endpoints_of(&web, "worker.web"), each, "a cluster of the name has them all");
}

#[test]
fn ejects_one_of_the_endpoints_that_share_a_hostname() {
    let web = json!({"clusterIPs": "None", "ports": [{"port": 80}], "endpoints": [
        {"addresses": "10.0.1.1 10.0.1.2", "hostnames": "worker worker"}]});
    let outlier_detection = json!({"outlierDetection": {"consecutive5xxErrors": 1, "maxEjectionPercent": 50}});
    let mut worker = Worker::new(service(web, outlier_detection), 1);
    let (failed, ticket) = worker.send("worker.web");
    assert!(worker.end(ticket, Some(503)));
    let picks = worker.picks("worker.web", 20);
    assert!(!picks.contains(&failed), "{failed} is ejected: {picks:?}");
}

#[test]
fn finds_the_endpoints_of_a_hostname_by_family_and_port() {
    let web = |families: &[&str], ips: &str, endpoints: Value| {
        json!({"clusterIPs": ips, "ipFamilies": families, "endpoints": endpoints,
               "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]})
    };
    let both = json!([{"addresses": "10.0.0.1 10.0.0.2", "hostnames": "w w"}, {"addresses": "fd00::1 fd00::2", "hostnames": "w w"}]);
    let v4 = ["10.0.0.1:80", "10.0.0.2:80"];
    let v6 = ["[fd00::1]:80", "[fd00::2]:80"];
    let statefulset = json!([{"addresses": "10.0.0.1", "hostnames": "w"}, {"addresses": "fd00::1", "hostnames": "w"}]);
    let one_left = json!([{"addresses": "10.0.0.1 10.0.0.2", "hostnames": "w w", "ready": false},
                          {"addresses": "fd00::1 fd00::2", "hostnames": "w w"}]);
    // Two EndpointSlices of one pod, each with one of its ports.
    let two_slices = json!([{"addresses": "10.0.0.1", "hostnames": "w", "ports": {"admin": 9901}},
                            {"addresses": "10.0.0.1", "hostnames": "w", "ports": {"http": 8080}}]);
    let no_hostname = json!([{"addresses": "10.0.0.1", "ports": {"admin": 9901}}, {"addresses": "10.0.0.1", "ports": {"http": 8080}}]);
    let admin = json!([{"addresses": "10.0.0.1 10.0.0.2", "hostnames": "w w", "ports": {"admin": 9901}}]);
    let loopback = json!([{"addresses": "127.0.0.1 10.0.0.2", "hostnames": "w w"}]);
    let elsewhere = json!([{"addresses": "10.0.0.1 10.0.0.2", "hostnames": "w w", "node": "n2", "forZones": "b", "zone": "b"},
                           {"addresses": "10.0.0.3", "node": "n1", "forZones": "a", "zone": "a"}]);
    let unready = json!([{"addresses": "10.0.0.1 10.0.0.2", "hostnames": "w w", "ready": false}]);
    let mut local = web(&[], "10.96.0.1", elsewhere);
    local["internalTrafficPolicy"] = json!("Local");
    local["subsets"] = json!({"a": {"zone": "a"}});
    for (service, authority, expected, why) in [
        (web(&["IPv4", "IPv6"], "None", both.clone()), "w.web", &v4[..], "a dual-stack pod is one endpoint"),
        (web(&["IPv6", "IPv4"], "None", both.clone()), "w.web", &v6, "by the preferred family"),
        (web(&[], "None", both.clone()), "w.web", &v4, "also where the families are not known"),
        (web(&["IPv4", "IPv6"], "10.96.0.1", both), "w.web", &v4, "Services with a cluster IP have such names too"),
        (web(&["IPv4", "IPv6"], "None", statefulset), "w.web", &v4[..1], "one pod"),
        (web(&["IPv4", "IPv6"], "None", one_left), "w.web", &v6, "no ready endpoint of the preferred family"),
        (web(&[], "None", two_slices.clone()), "w.web", &["10.0.0.1:8080"], "the port is joined first"),
        (web(&[], "None", two_slices), "w.web:81", &["10.0.0.1:9901"], "each port in its own slice"),
        (web(&[], "None", no_hostname), "10-0-0-1.web", &["10.0.0.1:8080"], "by the dashed address too"),
        (web(&[], "None", admin), "w.web", &["refuse no_endpoints"], "none of them has the port"),
        (web(&[], "None", loopback), "w.web", &["10.0.0.2:80"], "addresses that lead nowhere are dropped"),
        (local, "w.web", &v4, "neither topology nor policies nor subsets apply to names of endpoints"),
        (web(&[], "None", unready), "w.web", &["refuse no_endpoints"], "they will be there again"),
    ] {
        assert_eq!(endpoints_of(&service, authority), expected, "{why}");
    }
}

// DNS resolves these names to pod addresses, where any port of the pods answers, whether the Service lists it or not.
#[test]
fn reaches_any_port_of_the_pods_that_a_name_resolves_to() {
    let db = json!({"clusterIPs": "None", "ports": [{"port": 80, "appProtocol": "https"}], "endpoints": [
        {"addresses": "10.0.1.1 10.0.1.2 10.0.1.3", "hostnames": "db-0 worker worker", "ports": {"": 8080}},
        {"addresses": "10.0.1.4", "ports": {"other": 1}},
        {"addresses": "10.0.1.5", "hostnames": "db-9", "ready": false},
    ]});
    let all = ["10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"];
    let workers = &all[1..3];
    let mut worker = Worker::new(service(db.clone(), json!({})), 1);
    for (authority, addresses, port, why) in [
        ("db-0.web:9187", &all[..1], 9187, "a port that the Service does not list"),
        ("db-0.web", &all[..1], 8080, "a port of the Service is joined to the slice's"),
        ("db-0.web:8080", &all[..1], 8080, "the target port itself"),
        ("10-0-1-4.web:9187", &all[3..], 9187, "by the dashed address"),
        ("worker.web:9187", workers, 9187, "a shared hostname"),
        ("web:9187", &all, 9187, "the Service's own name: every ready endpoint, whatever ports its slice lists"),
        ("web.shop.svc.cluster.local:53", &all, 53, "any port"),
    ] {
        let picks: BTreeSet<String> = worker.picks(authority, 40).into_iter().collect();
        let expected: BTreeSet<String> = addresses.iter().map(|address| format!("{address}:{port}")).collect();
        assert_eq!(picks, expected, "{why}");
    }
    assert_eq!(worker.cluster("db-0.web"), "original-dst-tls", "the Service's port speaks TLS");
    assert_eq!(worker.cluster("db-0.web:9187"), "original-dst", "the Service says nothing of a port of the pods");
    let by_endpoint =
        |service: Value| config(json!({"steering": {"by": "endpoint"}, "table": {"services": {"shop/web": service}}}));
    let no_ports = json!({"clusterIPs": "None", "endpoints": [{"addresses": "10.0.1.1", "hostnames": "db-0"}]});
    let not_headless = json!({"ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": "10.0.1.1"}]});
    let mut by_cluster = db;
    by_cluster["steering"] = json!({"by": "cluster"});
    for (service, authority, expected, why) in [
        (no_ports.clone(), "db-0.web:8080", "endpoint db-0.web.shop:8080", "a Service without ports"),
        (no_ports.clone(), "web", "service web.shop:80", "the scheme's port"),
        (no_ports.clone(), "_http._tcp.web:80", "pass name_not_found", "it has no named port"),
        (no_ports, "db-1.web:8080", "pass name_not_found", "no such endpoint"),
        (not_headless.clone(), "10-0-1-1.web:81", "endpoint 10-0-1-1.web.shop:81", "an endpoint's name is a pod's"),
        (not_headless.clone(), "web:81", "pass port_not_found", "a cluster IP has the Service's ports alone"),
        (not_headless, "_http._tcp.web:81", "pass port_not_found", "another port than the one named"),
        (by_cluster.clone(), "db-0.web:9187", "pass port_not_found", "no cluster has this port"),
        (by_cluster, "web:9187", "pass port_not_found", "nor for the whole Service"),
    ] {
        assert_eq!(ask(&by_endpoint(service), authority), expected, "{why}");
    }
}

#[test]
fn ejects_an_endpoint_for_one_port_of_the_pods_alone() {
    let web = json!({"clusterIPs": "None", "endpoints": [{"addresses": "10.0.1.1 10.0.1.2"}]});
    let outlier_detection = json!({"outlierDetection": {"consecutive5xxErrors": 1, "maxEjectionPercent": 50}});
    let mut worker = Worker::new(service(web, outlier_detection), 1);
    let (failed, ticket) = worker.send("web:9187");
    assert_eq!(ticket.map(|ticket| ticket.endpoint().1), Some(9187));
    assert!(worker.end(ticket, Some(503)));
    assert!(!worker.picks("web:9187", 20).contains(&failed), "{failed} is ejected");
    let address = failed.strip_suffix(":9187").expect("the port asked for");
    assert!(worker.picks("web:9188", 20).contains(&format!("{address}:9188")), "another port of it still serves");
}
