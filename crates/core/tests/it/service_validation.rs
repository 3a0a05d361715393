//! The checks of a Service's fields. Every error names the path, the value, what is wrong and what to do.

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    config_validation::{quoted, refused, service_refused},
    fixture::{read, try_config, with_fields},
};

#[test]
fn checks_each_field_of_a_service() {
    service_refused(json!({"clusterIPs": ["10.0.0"]}), ".clusterIPs[0]: \"10.0.0\" is not an IP address");
    service_refused(
        json!({"clusterIPs": ["169.254.169.254"]}),
        ".clusterIPs[0]: \"169.254.169.254\" is loopback, link-local",
    );
    service_refused(
        json!({"clusterIPs": "10.0.0.1 10.0.0.2 10.0.0.3"}),
        ".clusterIPs: 3 entries are more than the limit of 2",
    );
    service_refused(
        json!({"ports": [{"port": 80}, {"port": 81}]}),
        ".ports[0].name has no name, but the Service has several ports",
    );
    service_refused(
        json!({"ports": [{"name": "A", "port": 80}]}),
        ".ports[0].name: \"A\" is not a lower-case DNS label",
    );
    service_refused(
        json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}),
        ".ports[1].name: \"a\" is given twice",
    );
    service_refused(
        json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
        ".ports[1].port: \"80\" is given twice",
    );
    service_refused(
        json!({"externalName": "a.example"}),
        ".externalName: \"a.example\" is only allowed on Services of type ExternalName",
    );
    service_refused(json!({"alias": {"port": 1}}), ".alias is only allowed on Services of type ExternalName");
    let alias = |more: Value| with_fields(json!({"type": "ExternalName", "externalName": "a.example"}), more);
    service_refused(json!({"type": "ExternalName"}), " has type ExternalName but no externalName");
    for target in ["10.0.0.1", "10.1", "0x7f000001", "10.0.0.1."] {
        service_refused(
            alias(json!({"externalName": target})),
            &format!(".externalName: \"{target}\" reads as an IPv4 address to resolvers"),
        );
    }
    for target in ["", ".", "a..b", "fd00::1", "[fd00::1]", "a b", "user@a", "a:80", "http://a", "bücher.example"] {
        service_refused(alias(json!({"externalName": target})), ".externalName");
    }
    service_refused(alias(json!({"alias": {"port": 0}})), ".alias.port: \"0\" is not a port");
    service_refused(
        alias(json!({"clusterIPs": "10.0.0.1"})),
        ".clusterIPs is not allowed on a Service of type ExternalName",
    );
    service_refused(alias(json!({"endpoints": []})), ".endpoints is not allowed on a Service of type ExternalName");
    service_refused(
        alias(json!({"externalName": "a.shop.svc.cluster.local", "alias": {"tls": true}})),
        ".alias.tls: \"a.shop.svc.cluster.local\" is inside the cluster, where alias.tls is not allowed",
    );
    service_refused(
        alias(json!({"externalName": "a.shop.svc.cluster.local", "alias": {"tls": false}})),
        ".alias.tls: \"a.shop.svc.cluster.local\" is inside",
    );
    service_refused(alias(json!({"steering": {}})), ".steering is not allowed on a Service of type ExternalName");
    let group = |group: Value| json!({"endpoints": [group]});
    service_refused(
        group(json!({"addresses": "10.0.0.1 x"})),
        ".endpoints[0].addresses[1]: \"x\" is not an IP address",
    );
    service_refused(
        group(json!({"addresses": "10.0.0.1", "hostnames": "a b"})),
        ".endpoints[0].hostnames: \"2\" does not hold one hostname for each",
    );
    service_refused(
        group(json!({"addresses": "10.0.0.1", "hostnames": "A"})),
        ".endpoints[0].hostnames[0]: \"A\" is not a lower-case DNS label",
    );
    service_refused(group(json!({"ports": {"http": 0}})), ".endpoints[0].ports[\"http\"]: \"0\" is not a port");
    let ports: serde_json::Map<String, Value> = (0..257).map(|n| (format!("p{n}"), json!(80))).collect();
    service_refused(group(json!({"ports": ports})), ".endpoints[0].ports: 257 entries are more than the limit of 256");
    for port in ["dns", "dns/udp", "dns/", "/UDP", "A/UDP", "dns/UDP/"] {
        service_refused(
            group(json!({"otherPorts": port})),
            &format!(".endpoints[0].otherPorts[0]: \"{port}\" is not a port's name and protocol; write it as name/UDP"),
        );
    }
    service_refused(
        group(json!({"otherPorts": vec!["dns/UDP"; 257]})),
        ".endpoints[0].otherPorts: 257 entries are more than the limit of 256",
    );
    service_refused(
        json!({"endpoints": vec![json!({}); 5000]}),
        ".endpoints cannot be read: it has more than 4096 entries",
    );
    service_refused(json!({"clusterIPs": "::ffff:127.0.0.1"}), ".clusterIPs[0]: \"::ffff:127.0.0.1\" is loopback");
    service_refused(json!({"steering": {"cluster": ""}}), ".steering.cluster is empty");
    service_refused(
        json!({"steering": {"cluster": "a\r\nb: c"}}),
        ".steering.cluster: \"a\\r\\nb: c\" contains a byte that no header value may contain",
    );
    service_refused(json!({"steering": {"subset": "a b"}}), ".steering.subset: \"a b\" contains a byte");
}

#[test]
fn checks_weights_labels_and_subsets() {
    let group = |group: Value| json!({"endpoints": [group]});
    let subsets = |subsets: Value| json!({"subsets": subsets});
    let many = |count: usize, value: Value| -> Value {
        Value::Object((0..count).map(|n| (format!("k{n}"), value.clone())).collect())
    };
    for weight in [0, 1_001] {
        service_refused(
            group(json!({"weight": weight})),
            &format!(".endpoints[0].weight: \"{weight}\" is outside 1 to 1000; use a number in that range"),
        );
    }
    service_refused(
        group(json!({"labels": many(65, json!("x"))})),
        ".endpoints[0].labels: 65 entries are more than the limit of 16",
    );
    service_refused(
        subsets(json!({"v1": {"weight": 1_000_001}})),
        ".subsets[\"v1\"].weight: 1000001 is more than 1000000",
    );
    let twice = r#"{"version": 1, "caller": {"namespace": "shop"}, "table": {"services": {"shop/web":
        {"endpoints": [{"labels": {"version": "v1", "version": "v2"}}]}}}}"#;
    let expected = "table.services[\"shop/web\"].endpoints[0].labels: \"version\" is given twice; keep one of them";
    assert_eq!(read(twice).unwrap_err(), expected);
    // A Service takes memory for the product of its ports, groups and subsets.
    let ports: Vec<Value> = (1..=64).map(|n| json!({"name": format!("p{n}"), "port": n})).collect();
    let many_shares = |groups: usize| {
        let groups: Vec<Value> =
            (0..groups).map(|n| json!({"addresses": format!("10.0.{}.{}", n / 250, n % 250)})).collect();
        json!({"ports": ports, "endpoints": groups, "subsets": many(15, json!({}))})
    };
    let accepted = many_shares(64);
    assert!(try_config(json!({"table": {"services": {"shop/web": accepted}}})).is_ok());
    service_refused(
        many_shares(65),
        ".endpoints: \"66560\" is ports times groups of endpoints times subsets, and exceeds 65536; put endpoints that",
    );
    service_refused(subsets(many(65, json!({}))), ".subsets: 65 entries are more than the limit of 64");
    service_refused(
        subsets(json!({"v1": {"labels": many(65, json!("x"))}})),
        ".subsets[\"v1\"].labels: 65 entries are more than the limit of 16",
    );
    for name in ["", "V1", "v 1", "v.1", "-v1", &"v".repeat(64)] {
        service_refused(
            subsets(json!({name: {}})),
            &format!(".subsets[\"{name}\"]{} is not a lower-case DNS label", quoted(name)),
        );
    }
    let twice = r#"{"version": 1, "caller": {"namespace": "shop"}, "table": {"services": {"shop/web": {"subsets": {"v1": {}, "v2": {}, "v1": {}}}}}}"#;
    assert_eq!(
        read(twice).unwrap_err(),
        "table.services[\"shop/web\"].subsets: \"v1\" is given twice; keep one of them"
    );
    let twice = r#"{"version": 1, "caller": {"namespace": "shop"}, "table": {"services": {"shop/web": {"endpoints": [{"ports": {"http": 1, "http": 2}}]}}}}"#;
    assert_eq!(
        read(twice).unwrap_err(),
        "table.services[\"shop/web\"].endpoints[0].ports: \"http\" is given twice; keep one of them"
    );
    service_refused(
        json!({"subsets": {"v1": {}}, "steering": {"subset": "v2"}}),
        ".steering.subset: \"v2\" is not allowed together with subsets; remove one of the two",
    );
    for field in [json!({"subsets": {"v1": {}}}), json!({"endpoints": [{"addresses": "10.0.0.1"}]})] {
        let name = field.as_object().and_then(|fields| fields.keys().next().cloned()).expect("a field");
        let mut service = field;
        service["type"] = json!("ExternalName");
        service["externalName"] = json!("a.example");
        service_refused(service, &format!(".{name} is not allowed on a Service of type ExternalName; leave it out"));
    }

    // Values at the bounds are accepted.
    let widest = json!({
        "endpoints": [{"weight": 1, "labels": many(16, json!("x"))}, {"weight": 1_000}],
        "subsets": {"v1": {"weight": 0}, "v2": {"weight": 1_000_000, "labels": many(16, json!("x"))}, &*"v".repeat(63): {}},
    });
    let widest =
        try_config(json!({"table": {"services": {"shop/web": widest, "shop/many": subsets(many(64, json!({})))}}}));
    assert!(widest.is_ok(), "{}", widest.unwrap_err());
}

#[test]
fn requires_endpoints_for_services_steered_by_endpoint() {
    let unknown =
        " is steered by endpoint, but has no endpoints in the table; add its endpoints, or steer it by cluster";
    let by = |by: &str, services: Value| json!({"steering": {"by": by}, "table": {"services": services}});
    let web = |service: Value| json!({"shop/web": service});
    let expected = format!("table.services[\"shop/web\"]{unknown}");
    refused(by("endpoint", web(json!({"ports": [{"port": 80}]}))), &expected);
    refused(by("endpoint", web(json!({"clusterIPs": "None"}))), &expected);
    refused(by("cluster", web(json!({"steering": {"by": "endpoint"}}))), &expected);
    refused(by("authority", web(json!({"steering": {"by": "endpoint"}}))), &expected);
    for services in [
        web(json!({"endpoints": []})),
        web(json!({"steering": {"by": "cluster"}})),
        web(json!({"steering": {"by": "authority"}})),
        web(json!({"type": "ExternalName", "externalName": "a.example"})),
        web(json!({"endpoints": [{"addresses": "10.0.0.1"}], "steering": {"by": "endpoint"}})),
    ] {
        let good = try_config(by("endpoint", services.clone()));
        assert!(good.is_ok(), "{services}: {}", good.unwrap_err());
    }
    assert!(try_config(by("cluster", web(json!({})))).is_ok(), "a Service steered by cluster needs no endpoints");
}

#[test]
fn refuses_a_duplicate_service_or_cluster_ip() {
    let twice =
        r#"{"version": 1, "caller": {"namespace": "shop"}, "table": {"services": {"shop/a": {}, "shop/a": {}}}}"#;
    assert_eq!(read(twice).unwrap_err(), "table.services: \"shop/a\" is given twice; keep one of them");
    let shared =
        json!({"table": {"services": {"shop/a": {"clusterIPs": "10.0.0.1"}, "shop/b": {"clusterIPs": "10.0.0.1"}}}});
    refused(
        shared,
        "table.services[\"shop/b\"].clusterIPs[0]: \"10.0.0.1\" is already the cluster IP of another Service",
    );
}
