//! Which endpoints a request may be sent to, and what `web` resolves to with these endpoints.

use byname_core::Resolution;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{ask, check, config, http};

fn web(service: Value, caller_node: Option<&str>) -> String {
    let caller = json!({"namespace": "shop", "node": caller_node});
    ask(&config(json!({"caller": caller, "table": {"services": {"shop/web": service}}})), "web")
}

const OK: &str = "service web.shop:80";
const NONE: &str = "refuse no_endpoints";

#[test]
fn follows_the_conditions_of_endpoints() {
    let rows = [
        (json!(null), OK, "absent: unknown, so not refused"),
        (json!([]), NONE, "known to have no endpoints"),
        (json!([{"addresses": []}]), NONE, "an empty group"),
        (json!([{"addresses": "10.0.0.1"}]), OK, "absent ready counts as ready"),
        (json!([{"addresses": "10.0.0.1", "ready": true}]), OK, "ready"),
        (json!([{"addresses": "10.0.0.1", "ready": false}]), NONE, "not ready"),
        (json!([{"addresses": "10.0.0.1", "ready": false, "serving": true}]), NONE, "serving, but not terminating"),
        (
            json!([{"addresses": "10.0.0.1", "ready": false, "serving": true, "terminating": true}]),
            OK,
            "the fallback to terminating endpoints",
        ),
        (
            json!([{"addresses": "10.0.0.1", "ready": false, "terminating": true}]),
            OK,
            "absent serving counts as serving",
        ),
        (
            json!([{"addresses": "10.0.0.1", "ready": false, "serving": false, "terminating": true}]),
            NONE,
            "not ready and not serving",
        ),
        (json!([{"addresses": "10.0.0.1", "ports": {"http": 8080}}]), OK, "the endpoint has the port"),
        (json!([{"addresses": "10.0.0.1", "ports": {"admin": 9901}}]), NONE, "it has only another port"),
        (
            json!([{"addresses": "127.0.0.1 169.254.1.1 ::1 fe80::1 224.0.0.1 ff02::1 0.0.0.0 :: 255.255.255.255 ::ffff:127.0.0.1"}]),
            NONE,
            "addresses that lead to no other machine are dropped",
        ),
    ];
    let rows = rows.into_iter().chain(
        [
            "0.1.2.3",
            "::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
        ]
        .map(|address| (json!([{"addresses": address}]), NONE, "this host, or a metadata service")),
    );
    for (endpoints, expected, why) in rows {
        let service = match &endpoints {
            Value::Null => json!({"ports": [{"name": "http", "port": 80}]}),
            endpoints => json!({"ports": [{"name": "http", "port": 80}], "endpoints": endpoints}),
        };
        assert_eq!(web(service, None), expected, "{why}: {endpoints}");
    }
}

#[test]
fn uses_the_other_family_only_for_dual_stack_services() {
    let service = |families: Value, clusters: &str| {
        json!({"clusterIPs": clusters, "ipFamilies": families, "ports": [{"port": 80}],
            "endpoints": [{"addresses": "fd00::1"}]})
    };
    assert_eq!(web(service(json!(["IPv4", "IPv6"]), "10.0.0.1 fd00:96::1"), None), OK, "none of the preferred family");
    assert_eq!(web(service(json!([]), "10.0.0.1"), None), OK, "the families are not known");
    assert_eq!(web(service(json!(["IPv4"]), "10.0.0.1"), None), NONE, "kube-proxy reads no slice of the other family");
    assert_eq!(web(service(json!(["IPv6"]), "fd00:96::1"), None), OK, "its own family");
    assert_eq!(web(service(json!(["IPv4"]), "None"), None), OK, "headless: DNS answers with what there is");
}

#[test]
fn counts_all_as_ready_with_publish_not_ready_addresses() {
    let service = |publish: bool, ips: &str| {
        json!({"clusterIPs": ips, "publishNotReadyAddresses": publish, "ports": [{"port": 80}],
        "endpoints": [{"addresses": "10.0.0.1", "ready": false}]})
    };
    assert_eq!(web(service(true, ""), None), OK);
    assert_eq!(web(service(false, ""), None), NONE);
    assert_eq!(web(service(true, "None"), None), OK, "a headless Service exists then");
    assert_eq!(web(service(false, "None"), None), NONE, "its name comes back with its endpoints");
}

#[test]
fn uses_no_terminating_endpoints_of_headless_services() {
    let service = json!({"clusterIPs": "None", "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}],
        "endpoints": [{"addresses": "10.0.0.1", "ready": false, "terminating": true},
                      {"addresses": "10.0.0.2", "ports": {"admin": 81}}]});
    assert_eq!(web(service, None), NONE, "the only ready endpoint does not have the port");
}

#[test]
fn uses_only_the_own_node_with_a_local_traffic_policy() {
    let service =
        |endpoints: Value| json!({"internalTrafficPolicy": "Local", "ports": [{"port": 80}], "endpoints": endpoints});
    let here = json!({"addresses": "10.0.0.1", "node": "n1"});
    let there = json!({"addresses": "10.0.0.2", "node": "n2"});
    let nowhere = json!({"addresses": "10.0.0.3"});
    let draining = json!({"addresses": "10.0.0.4", "node": "n1", "ready": false, "terminating": true});
    assert_eq!(web(service(json!([here, there])), Some("n1")), OK);
    assert_eq!(web(service(json!([there, nowhere])), Some("n1")), NONE, "never an endpoint of another node");
    assert_eq!(
        web(service(json!([draining, there])), Some("n1")),
        OK,
        "its own terminating ones before another node's"
    );
    assert_eq!(web(service(json!([here, there])), None), NONE, "no endpoint is known to be on the caller's node");
    assert_eq!(web(service(json!([draining])), None), NONE, "nor one that terminates");
    assert_eq!(web(service(json!([nowhere])), None), NONE, "an endpoint without a node is on no node");
    assert_eq!(web(service(json!([])), None), NONE, "no endpoints at all");
    let headless =
        json!({"clusterIPs": "None", "internalTrafficPolicy": "Local", "ports": [{"port": 80}], "endpoints": [there]});
    assert_eq!(web(headless, Some("n1")), OK, "the policy does not apply to headless Services, KEP-2086");
}

#[test]
fn drops_and_counts_special_addresses_unless_single_machine() {
    let table = |single: bool| {
        json!({"singleMachine": single, "services": {"shop/web": {"ports": [{"port": 80}],
        "endpoints": [{"addresses": "127.0.0.1 10.0.0.1", "hostnames": "a b"}, {"addresses": "127.0.0.2"}]}}})
    };
    let cluster = config(json!({"table": table(false)}));
    assert_eq!((cluster.table.endpoints(), cluster.table.addresses_dropped()), (1, 2));
    assert_eq!(ask(&cluster, "a.web"), "pass name_not_found");
    assert_eq!(ask(&cluster, "b.web"), "endpoint b.web.shop:80", "hostnames stay with their endpoints");
    let machine = config(json!({"table": table(true)}));
    assert_eq!((machine.table.endpoints(), machine.table.addresses_dropped()), (3, 0));
    assert_eq!(ask(&machine, "a.web"), "endpoint a.web.shop:80");
    assert_eq!(ask(&machine, "127-0-0-2.web"), "endpoint 127-0-0-2.web.shop:80");
}

#[test]
fn resolves_a_hostname_of_two_families_if_one_is_ready() {
    let service = json!({"clusterIPs": "None", "ports": [{"port": 80}],
        "endpoints": [{"addresses": "10.0.0.1", "hostnames": "db-0", "ready": false}, {"addresses": "fd00::1", "hostnames": "db-0"}]});
    let config = config(json!({"table": {"services": {"shop/web": service}}}));
    assert_eq!(ask(&config, "db-0.web"), "endpoint db-0.web.shop:80", "the ready one of the two makes it exist");
}

#[test]
fn reaches_a_named_endpoint_by_the_preferred_family() {
    for (families, expected) in
        [(["IPv4", "IPv6"], "10.0.0.1:80"), (["IPv6", "IPv4"], "[fd00::1]:80"), (["IPv6", "IPv6"], "[fd00::1]:80")]
    {
        let service = json!({"clusterIPs": "None", "ports": [{"port": 80}], "ipFamilies": families,
            "endpoints": [{"addresses": "10.0.0.1", "hostnames": "db-0"}, {"addresses": "fd00::1", "hostnames": "db-0"}]});
        let config = config(json!({"table": {"services": {"shop/web": service}}}));
        let Resolution::Route(route) = config.resolve(http("db-0.web"), None) else { panic!("it exists") };
        assert_eq!(route.endpoints().expect("known"), [expected.parse().expect("an address")], "{families:?}");
    }
}

#[test]
fn checks_a_named_endpoint_by_itself() {
    let services = json!({
        "shop/db": {"clusterIPs": "None", "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}],
            "endpoints": [{"addresses": "10.0.0.1", "hostnames": "db-0", "ports": {"admin": 81}},
                          {"addresses": "10.0.0.2", "hostnames": "db-1", "ports": {"http": 80}}]},
        "shop/loc": {"internalTrafficPolicy": "Local", "ports": [{"port": 80}],
            "endpoints": [{"addresses": "10.0.0.3", "hostnames": "l-0", "node": "n2"}]},
        "shop/quiet": {"clusterIPs": "None", "ports": [{"name": "http", "port": 80}],
            "endpoints": [{"addresses": "10.0.0.4", "ports": {"admin": 81}},
                          {"addresses": "10.0.0.5", "ready": false, "ports": {"http": 80, "slow": 82}}]},
    });
    let config = config(json!({"caller": {"namespace": "shop", "node": "n1"}, "table": {"services": services}}));
    check(
        &config,
        &[
            ("db-0.db", NONE, "the port of another endpoint does not count"),
            ("db-0.db:81", "endpoint db-0.db.shop:81", "its own port counts"),
            ("db-1.db", "endpoint db-1.db.shop:80", ""),
            ("l-0.loc", "endpoint l-0.loc.shop:80", "DNS gives its address whatever the traffic policy"),
            ("loc", NONE, "the traffic policy applies to the Service"),
            ("_http._tcp.quiet", "pass name_not_found", "headless: no ready endpoint has the port"),
            ("_slow._tcp.quiet", "pass name_not_found", "not for an undeclared port either"),
            ("_admin._tcp.quiet", "service quiet.shop:81", "a ready endpoint has this one"),
        ],
    );
}

#[test]
fn passes_names_of_unknown_endpoints() {
    let services = json!({
        "shop/db": {"clusterIPs": "None", "ports": [{"port": 80}]},
        "shop/prod": {"ports": [{"port": 80}]},
        "shop/to-db": {"type": "ExternalName", "externalName": "db-0.db.shop.svc.cluster.local"},
        "prod/payments": {"ports": [{"port": 80}]},
    });
    let config = config(json!({"unknownNames": "refuse", "table": {"services": services}}));
    check(
        &config,
        &[
            ("db-0.db", "pass name_not_found", "the endpoint may exist, so it is not refused"),
            ("to-db", "pass name_not_found as db-0.db.shop:80", "an alias of it is not refused either"),
            ("payments.prod", "service payments.prod:80", "the search goes on: most tables for Istio hold names only"),
            ("db-0.nope", "refuse name_not_found", "no Service, no endpoint"),
        ],
    );
}
