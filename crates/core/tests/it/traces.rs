//! Traces: every step of a decision, in words.

use byname_core::Plan;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{self, config, http, shop};

#[test]
fn traces_every_step_in_order() {
    let mut services = shop();
    services["shop/pay"] =
        json!({"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local", "alias": {"port": 9090}});
    services["shop/payments"]["ports"][1]["appProtocol"] = json!("kubernetes.io/h2c");
    let config = config(json!({
        "dns": {"extraSearches": ["ec2.internal"], "ndots": 2},
        "table": {"version": 7, "services": services},
    }));
    let rows = [
        (
            "pay",
            "table version 7; pay.shop.svc.cluster.local exists; alias shop/pay -> payments.shop.svc.cluster.local exists; \
            port 9090 by the alias is a port of the Service named grpc with appProtocol kubernetes.io/h2c; 1 of 2 endpoints can serve by IPv4; \
            cluster outbound|9090||payments.shop.svc.cluster.local by steering.cluster, authority payments.shop.svc.cluster.local:9090",
        ),
        (
            "payments.nope",
            "table version 7; payments.nope.shop.svc.cluster.local does not exist: no such Service; \
            payments.nope.svc.cluster.local does not exist: no such Service; payments.nope.cluster.local does not exist: \
            no name of the cluster has this form; payments.nope.ec2.internal is outside the cluster domain: may differ from DNS; \
            payments.nope is outside the cluster domain: may differ from DNS; \
            cluster left to Envoy's routes by steering.passCluster, authority payments.nope",
        ),
        (
            "api.example.com",
            "table version 7; api.example.com is first asked of public DNS, whose answer byname does not know: may differ from DNS; \
            cluster left to Envoy's routes by steering.passCluster, authority api.example.com",
        ),
        (
            "10.96.0.10:81",
            "table version 7; 10.96.0.10 is the cluster IP of shop/payments; port 81 from the authority is not a port of the Service, \
            which has only the ports 80, 9090; cluster left to Envoy's routes by steering.passCluster, authority 10.96.0.10:81",
        ),
        (
            "_admin._tcp.db.shop.svc.cluster.local",
            "table version 7; _admin._tcp.db.shop.svc.cluster.local exists; port 9901 by its name is a port of the Service named admin; \
            2 of 5 endpoints can serve; \
            cluster outbound|9901||db.shop.svc.cluster.local by steering.cluster, authority db.shop.svc.cluster.local:9901",
        ),
        ("a,b", "table version 7; the authority is invalid: two Host headers were joined into one"),
    ];
    for (authority, expected) in rows {
        let trace = fixture::trace(&config, authority);
        assert_eq!(trace.to_string(), expected);
    }
}

#[test]
fn writes_one_line_whatever_the_table_holds() {
    let service = json!({"ports": [{"port": 80, "appProtocol": "a\nb".repeat(1_000)}]});
    let config = config(json!({"table": {"services": {"shop/web": service}}}));
    let trace = fixture::trace(&config, "web");
    let trace = trace.to_string();
    assert!(trace.contains("with appProtocol a\\nb") && trace.lines().count() == 1 && trace.len() < 500, "{trace}");
}

#[test]
fn fits_into_a_header() {
    let searches: Vec<String> = (0..32).map(|n| format!("d{n}.{}", ["x"; 100].join("."))).collect();
    let config = config(json!({"dns": {"searches": searches}}));
    let trace = fixture::trace(&config, "a-name");
    assert!(trace.to_string().len() > 4_096);
    let value = trace.header_value();
    assert!(value.len() <= 4_096 && value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{value}");
}

#[test]
fn changes_no_decision() {
    let config = config(json!({"table": {"services": shop()}}));
    for authority in ["payments", "db-0.db", "nope", "a,b", "10.96.0.10", "payments:1"] {
        let (mut with, mut without) = (Plan::default(), Plan::default());
        let (traced, _) = fixture::decide_traced(&config, http(authority), &mut with);
        let plain = fixture::decide(&config, http(authority), &mut without);
        assert_eq!(traced.reason(), plain.reason());
        assert_eq!((with.cluster(), with.authority()), (without.cluster(), without.authority()));
    }
}

/// The lines that docs/endpoints.md shows.
#[test]
fn names_the_rule_that_chose_the_endpoint() {
    let group = |address: &str, zone: &str| json!({"addresses": address, "zone": zone, "ports": {"http": 8080}});
    let web = json!({
        "ports": [{"name": "http", "port": 80}],
        "trafficDistribution": "PreferSameZone",
        "endpoints": [group("10.244.1.7", "a"), group("10.244.1.8", "b")],
        "steering": {"by": "endpoint"},
    });
    let split = json!({
        "ports": [{"name": "http", "port": 80}],
        "subsets": {"v1": {"weight": 1, "zone": "a"}, "v2": {"weight": 0, "zone": "b"}},
        "endpoints": [group("10.244.1.7", "a"), group("10.244.1.8", "b")],
        "steering": {"by": "endpoint", "loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}},
    });
    let config = config(json!({
        "caller": {"namespace": "shop", "zone": "a"},
        "fallback": {"services": {"shop/cart": {"service": "shop/payments"}}},
        "table": {"version": 7, "services": {
            "shop/web": web,
            "shop/split": split,
            "shop/cart": {"ports": [{"port": 80}], "endpoints": []},
            "shop/payments": {"ports": [{"port": 80}]},
        }},
    }));
    let rows = [
        (
            "web",
            "port 80 by the scheme is a port of the Service named http; 1 of 2 endpoints can serve: those hinted for the \
             caller's zone; endpoint 10.244.1.7:8080 of 1 by ROUND_ROBIN; cluster original-dst by \
             steering.originalDst.cluster, authority web.shop.svc.cluster.local",
        ),
        (
            "split",
            "2 of 2 endpoints can serve; subset v1 of 1, chosen by weight; endpoint 10.244.1.7:8080 of 1 by consistentHash of a \
             header, RANDOM because the request has no affinity key; cluster original-dst by steering.originalDst.cluster, authority \
             split.shop.svc.cluster.local",
        ),
        ("cart", "shop/cart has no endpoints: fallback shop/payments exists; port 80 by the scheme"),
    ];
    for (asked, expected) in rows {
        let trace = fixture::trace(&config, asked);
        assert!(trace.to_string().contains(expected), "{trace}\nshould hold\n{expected}");
    }
}
