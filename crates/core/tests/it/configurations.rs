//! A configuration is taken whole or refused whole; every error names the place, the input, the reason and the way out.

use byname_core::{Config, Defaults};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::world::{ask, read, try_config, with_fields};

#[track_caller]
fn refused(fields: Value, expected: &str) {
    let error = try_config(fields).expect_err("it is wrong");
    assert!(error.starts_with(expected), "{error:?}\nshould begin with\n{expected:?}");
}

fn service_refused(service: Value, expected: &str) {
    refused(json!({"table": {"services": {"shop/web": service}}}), &format!("table.services[\"shop/web\"]{expected}"));
}

/// How an error shows what stood there: nothing where it was empty.
fn quoted(found: &str) -> String {
    if found.is_empty() { String::new() } else { format!(": \"{}\"", found.escape_default()) }
}

#[test]
fn the_least_configuration_needs_a_version_and_a_namespace() {
    let defaults = Defaults { namespace: Some("shop"), zone: Some("eu-a"), ..Defaults::default() };
    let config = Config::read(r#"{"version": 1}"#, &defaults).expect("the node says the rest");
    assert_eq!((config.caller.namespace(), config.caller.zone()), ("shop", Some("eu-a")));

    assert!(read("{}").expect_err("no version").contains("missing field `version`"));
    assert_eq!(
        read(r#"{"version": 1}"#).expect_err("no namespace"),
        "caller.namespace is not set, and the node's metadata has no NAMESPACE; set caller.namespace, or NAMESPACE in the node's metadata"
    );
    refused(
        json!({"version": 2}),
        "version: \"2\" is not a version of the configuration that this module reads; write \"version\": 1",
    );
}

#[test]
fn unknown_fields_are_refused_by_name_and_path() {
    refused(json!({"tables": {}}), "tables cannot be read: unknown field `tables`");
    refused(json!({"dns": {"nDots": 5}}), "dns.nDots cannot be read: unknown field `nDots`");
    refused(
        json!({"table": {"services": {"shop/a": {"ports": [{"port": 80, "targetPort": 8080}]}}}}),
        "table.services[\"shop/a\"].ports[0].targetPort cannot be read: unknown field `targetPort`",
    );
    refused(
        json!({"steering": {"by": "header"}}),
        "steering.by cannot be read: unknown variant `header`, expected one of `cluster`, `authority`, `endpoint`",
    );
    refused(
        json!({"table": {"services": {"shop/a": {"ports": [{"port": 70000}]}}}}),
        "table.services[\"shop/a\"].ports[0].port cannot be read: invalid value: integer `70000`, expected u16",
    );
    refused(
        json!({"table": {"services": {"shop/a": {"endpoints": [{"addresses": ["10.0.0.1 10.0.0.2"]}]}}}}),
        "table.services[\"shop/a\"].endpoints[0].addresses",
    );
}

#[test]
fn what_cannot_be_read_is_named_by_its_path() {
    for (json, expected) in [
        ("{}", "the configuration cannot be read: missing field `version` at line 1 column 2"),
        ("{\"version\": 1} x", "the configuration cannot be read: trailing characters"),
        ("[1, 2]", "the configuration cannot be read: invalid type: sequence, expected struct Config"),
        (r#"{"version": 1, "dns": ["x", 5]}"#, "dns cannot be read: invalid type: sequence, expected struct Dns"),
        (
            r#"{"version": 1, "dns": {"ndots": 1, "searches": ["a", 7]}}"#,
            "dns.searches[1] cannot be read: invalid type",
        ),
        (r#"{"version": 1, "dns": {"ndots": "5"}}"#, "dns.ndots cannot be read: invalid type: string \\\"5\\\""),
        (
            r#"{"version": 1, "table": {"services": {"shop/a": {"ports": [{"port": 1}, {"name": "b"}]}}}}"#,
            "table.services[\"shop/a\"].ports[1] cannot be read: missing field `port`",
        ),
        (
            r#"{"table": {"services": {"a\"]{,": {"x": 1}}}}"#,
            r#"table.services["a\"]{,"].x cannot be read: unknown field `x`"#,
        ),
        ("{\n\n \"dns\": {\"a\": 1, \"a\"", "dns.a cannot be read: unknown field `a`"),
        (r#"{"dns": {"ndots": 1, "ndots": 2}}"#, "dns.ndots cannot be read: duplicate field `ndots`"),
        (r#"{"dns": {"ndots": 1,}}"#, "dns cannot be read: trailing comma"),
        (r#"{"dns": {"searches": ["a" "b"]}}"#, "dns.searches[1] cannot be read: expected `,` or `]`"),
        (r#"{"version": 1, "table": {"services": {"#, "table.services cannot be read: EOF while parsing"),
    ] {
        let error = read(json).expect_err(json);
        assert!(error.starts_with(expected), "{error:?}\nshould begin with\n{expected:?}");
    }
}

#[test]
fn broken_json_says_where() {
    let error = read("{\"version\": 1,\n  \"table\": {]}").expect_err("it is broken");
    assert!(error.contains("line 2 column"), "{error}");
    for broken in ["", "null", "[]", "{", "\"a\"", "\u{0}", "{\"version\":1e9999}"] {
        assert!(read(broken).is_err(), "{broken:?}");
    }
    let deep = "{\"table\":".to_owned() + &"[".repeat(100_000);
    assert!(read(&deep).is_err(), "nesting is bounded");
}

#[test]
fn errors_of_meaning_are_collected() {
    let error = try_config(json!({
        "dns": {"clusterDomain": "a..b", "ndots": 16},
        "steering": {"controlHeader": "Host", "cluster": "{hots}"},
        "externalNames": {"allow": [{"host": "*", "ports": []}]},
        "table": {"services": {"shop/A": {}, "web": {}, "shop/b": {"ports": [{"port": 0}]}}},
    }))
    .expect_err("much is wrong");
    let expected = [
        "table.services: \"shop/A\" is not one lowercase DNS label; use a-z, 0-9 and '-', not at an end, at most 63 bytes",
        "table.services[\"shop/b\"].ports[0].port: \"0\" is not a port; use 1 to 65535",
        "table.services: \"web\" does not name a Service; write it as \"namespace/name\"",
        "dns.clusterDomain: \"a..b\" is not a DNS name; use labels of a-z, 0-9, '-' and '_' joined by dots, at most 253 bytes",
        "dns.ndots: \"16\" is more than the bound of 15; shorten it, or split the table by what each namespace may see",
        "steering.controlHeader: \"Host\" is not a header name that can steer; use lowercase a-z, 0-9 and '-', no ':', at most 64 bytes, \
            and no header that means something to others",
        "steering.cluster: \"{hots}\" is not a cluster name template; use text and {host} {service} {namespace} {port} {portName} {subset} \
            {endpoint}, at most 256 bytes",
        "externalNames.allow[0].ports is empty; name at least one, or leave it out",
        "externalNames.allow[0].host: \"*\" is not a host pattern; write a full name, or \"*.\" followed by a domain",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_thousand_problems_make_a_short_error() {
    let services: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("{n}"), json!({}))).collect();
    let error = try_config(json!({"table": {"services": services}})).expect_err("all are wrong");
    assert_eq!(error.lines().count(), 21);
    assert!(error.ends_with("and 980 more"), "{error}");
    let long = try_config(json!({"caller": {"namespace": "x\n".repeat(10_000)}})).expect_err("it is no label");
    assert!(long.len() < 500 && long.lines().count() == 1, "{long}");
    let group = json!({"ports": {"p\n".repeat(10_000): 0}});
    let long = try_config(json!({"table": {"services": {"shop/a": {"endpoints": [group]}}}})).expect_err("no port");
    assert!(long.len() < 500 && long.lines().count() == 1, "{long}");
}

#[test]
fn each_field_of_a_service_is_checked() {
    service_refused(json!({"clusterIPs": ["10.0.0"]}), ".clusterIPs[0]: \"10.0.0\" is not an IP address");
    service_refused(
        json!({"clusterIPs": ["169.254.169.254"]}),
        ".clusterIPs[0]: \"169.254.169.254\" is loopback, link-local",
    );
    service_refused(
        json!({"clusterIPs": "10.0.0.1 10.0.0.2 10.0.0.3"}),
        ".clusterIPs: \"3\" is more than the bound of 2",
    );
    service_refused(json!({"ports": [{"port": 80}, {"port": 81}]}), ".ports[0].name has no name beside other ports");
    service_refused(
        json!({"ports": [{"name": "A", "port": 80}]}),
        ".ports[0].name: \"A\" is not one lowercase DNS label",
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
        ".externalName: \"a.example\" is for Services of type ExternalName alone",
    );
    service_refused(json!({"alias": {"port": 1}}), ".alias is for Services of type ExternalName alone");
    let alias = |more: Value| with_fields(json!({"type": "ExternalName", "externalName": "a.example"}), more);
    service_refused(json!({"type": "ExternalName"}), " is an ExternalName Service without an externalName");
    for target in ["10.0.0.1", "10.1", "0x7f000001", "10.0.0.1."] {
        service_refused(
            alias(json!({"externalName": target})),
            &format!(".externalName: \"{target}\" is read as an IPv4 address by resolvers"),
        );
    }
    for target in ["", ".", "a..b", "fd00::1", "[fd00::1]", "a b", "user@a", "a:80", "http://a", "bücher.example"] {
        service_refused(alias(json!({"externalName": target})), ".externalName");
    }
    service_refused(alias(json!({"alias": {"port": 0}})), ".alias.port: \"0\" is not a port");
    service_refused(
        alias(json!({"clusterIPs": "10.0.0.1"})),
        ".clusterIPs has no meaning on a Service of type ExternalName",
    );
    service_refused(alias(json!({"endpoints": []})), ".endpoints has no meaning on a Service of type ExternalName");
    service_refused(
        alias(json!({"externalName": "a.shop.svc.cluster.local", "alias": {"tls": true}})),
        ".alias.tls: \"a.shop.svc.cluster.local\" is inside the cluster, where alias.tls has no meaning",
    );
    service_refused(
        alias(json!({"externalName": "a.shop.svc.cluster.local", "alias": {"tls": false}})),
        ".alias.tls: \"a.shop.svc.cluster.local\" is inside",
    );
    service_refused(alias(json!({"steering": {}})), ".steering has no meaning on a Service of type ExternalName");
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
        ".endpoints[0].hostnames[0]: \"A\" is not one lowercase DNS label",
    );
    service_refused(group(json!({"ports": {"http": 0}})), ".endpoints[0].ports[\"http\"]: \"0\" is not a port");
    let ports: serde_json::Map<String, Value> = (0..257).map(|n| (format!("p{n}"), json!(80))).collect();
    service_refused(group(json!({"ports": ports})), ".endpoints[0].ports: \"257\" is more than the bound of 256");
    service_refused(
        json!({"endpoints": vec![json!({}); 5000]}),
        ".endpoints[4096] cannot be read: invalid length 4097, expected at most 4096 groups of endpoints",
    );
    service_refused(json!({"clusterIPs": "::ffff:127.0.0.1"}), ".clusterIPs[0]: \"::ffff:127.0.0.1\" is loopback");
    service_refused(json!({"steering": {"cluster": ""}}), ".steering.cluster is empty");
    service_refused(
        json!({"steering": {"cluster": "a\r\nb: c"}}),
        ".steering.cluster: \"a\\r\\nb: c\" holds a byte that no header value may hold",
    );
    service_refused(json!({"steering": {"subset": "a b"}}), ".steering.subset: \"a b\" holds a byte");
}

#[test]
fn each_other_field_is_checked() {
    refused(json!({"caller": {"namespace": "Shop"}}), "caller.namespace: \"Shop\" is not one lowercase DNS label");
    refused(json!({"caller": {"namespace": "shop", "podIP": "x"}}), "caller.podIP: \"x\" is not an IP address");
    let zone = |bytes: usize| [&*"a".repeat(60), &"b".repeat(bytes - 61)].join(".");
    assert!(try_config(json!({"dns": {"clusterDomain": zone(121)}})).is_ok(), "as long as a Service's name allows");
    refused(json!({"dns": {"clusterDomain": zone(122)}}), "dns.clusterDomain: \"122\" is more than the bound of 121");
    refused(json!({"dns": {"clusterDomain": "k8s.10"}}), "dns.clusterDomain: \"k8s.10\" is read as an IPv4 address");
    refused(json!({"dns": {"searches": ["a", "b..c"]}}), "dns.searches[1]: \"b..c\" is not a DNS name");
    refused(json!({"dns": {"extraSearches": [""]}}), "dns.extraSearches[0]");
    refused(json!({"dns": {"searches": vec!["a"; 33]}}), "dns.searches: \"33\" is more than the bound of 32");
    for header in [
        "",
        ":authority",
        "host",
        "X-Upper",
        "a b",
        "content-length",
        "x-forwarded-host",
        "x-envoy-original-dst-host",
        "cookie",
        "authorization",
        &"x".repeat(65),
    ] {
        refused(json!({"steering": {"controlHeader": header}}), "steering.controlHeader");
        refused(json!({"trace": {"requestHeader": header}}), "trace.requestHeader");
    }
    for template in ["", "{host", "host}", "{}", "{host}}", "a b", "ä", &"x".repeat(257)] {
        refused(json!({"steering": {"cluster": template}}), "steering.cluster");
        refused(json!({"steering": {"endpointCluster": template}}), "steering.endpointCluster");
        refused(json!({"steering": {"external": {"cluster": template}}}), "steering.external.cluster");
        refused(json!({"steering": {"external": {"tlsCluster": template}}}), "steering.external.tlsCluster");
    }
    refused(
        json!({"trace": {"requestHeader": "x-byname-cluster"}}),
        "trace.requestHeader: \"x-byname-cluster\" is the control header",
    );
    refused(
        json!({"steering": {"external": {"cluster": "a", "tlsCluster": "a"}}}),
        "steering.external.tlsCluster: \"a\" is the cluster for clear text too",
    );
    refused(json!({"steering": {"passCluster": ""}}), "steering.passCluster is empty");
    refused(json!({"steering": {"passCluster": "a\n"}}), "steering.passCluster: \"a\\n\" holds a byte");
    refused(
        json!({"externalNames": {"allow": [{"host": "a.b", "ports": [0]}]}}),
        "externalNames.allow[0].ports[0]: \"0\" is not a port",
    );
    refused(
        json!({"externalNames": {"allow": [{"host": "a.b", "ports": [1]}, {"host": "A.b.", "ports": [2]}]}}),
        "externalNames.allow[1].host: \"A.b.\" is given twice",
    );
    for host in ["", "*.", "*", "a.*.b", "10.0.0.1", "*.10"] {
        refused(json!({"externalNames": {"allow": [{"host": host, "ports": [1]}]}}), "externalNames.allow[0].host");
    }
    refused(
        json!({"externalNames": {"grants": [{"from": "*", "to": "prod"}]}}),
        "externalNames.grants[0].from: \"*\" is not one lowercase",
    );
}

#[test]
fn weights_labels_and_subsets_are_checked() {
    let group = |group: Value| json!({"endpoints": [group]});
    let subsets = |subsets: Value| json!({"subsets": subsets});
    let many = |count: usize, value: Value| -> Value {
        Value::Object((0..count).map(|n| (format!("k{n}"), value.clone())).collect())
    };
    for weight in [0, 1_001] {
        service_refused(
            group(json!({"weight": weight})),
            &format!(".endpoints[0].weight: \"{weight}\" is not from 1 to 1000; write a number in these bounds"),
        );
    }
    service_refused(
        group(json!({"labels": many(65, json!("x"))})),
        ".endpoints[0].labels: \"65\" is more than the bound of 16",
    );
    service_refused(
        subsets(json!({"v1": {"weight": 1_000_001}})),
        ".subsets[\"v1\"].weight: \"1000001\" is more than the bound of 1000000",
    );
    let twice = r#"{"version": 1, "caller": {"namespace": "shop"}, "table": {"services": {"shop/web":
        {"endpoints": [{"labels": {"version": "v1", "version": "v2"}}]}}}}"#;
    let expected = "table.services[\"shop/web\"].endpoints[0].labels: \"version\" is given twice; keep one of them";
    assert_eq!(read(twice).unwrap_err(), expected);
    // What each port of a Service takes of memory is the product of its groups and subsets.
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
        ".endpoints: \"66560\" is more than 65536, and it is ports times groups of endpoints times subsets; put endpoints that",
    );
    service_refused(subsets(many(65, json!({}))), ".subsets: \"65\" is more than the bound of 64");
    service_refused(
        subsets(json!({"v1": {"labels": many(65, json!("x"))}})),
        ".subsets[\"v1\"].labels: \"65\" is more than the bound of 16",
    );
    for name in ["", "V1", "v 1", "v.1", "-v1", &"v".repeat(64)] {
        service_refused(
            subsets(json!({name: {}})),
            &format!(".subsets[\"{name}\"]{} is not one lowercase DNS label", quoted(name)),
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
        ".steering.subset: \"v2\" has no meaning beside subsets; leave it out, or leave out subsets",
    );
    for field in [json!({"subsets": {"v1": {}}}), json!({"endpoints": [{"addresses": "10.0.0.1"}]})] {
        let name = field.as_object().and_then(|fields| fields.keys().next().cloned()).expect("a field");
        let mut service = field;
        service["type"] = json!("ExternalName");
        service["externalName"] = json!("a.example");
        service_refused(service, &format!(".{name} has no meaning on a Service of type ExternalName; leave it out"));
    }

    // The bounds themselves are good.
    let widest = json!({
        "endpoints": [{"weight": 1, "labels": many(16, json!("x"))}, {"weight": 1_000}],
        "subsets": {"v1": {"weight": 0}, "v2": {"weight": 1_000_000, "labels": many(16, json!("x"))}, &*"v".repeat(63): {}},
    });
    let widest =
        try_config(json!({"table": {"services": {"shop/web": widest, "shop/many": subsets(many(64, json!({})))}}}));
    assert!(widest.is_ok(), "{}", widest.unwrap_err());
}

#[test]
fn load_balancers_and_outlier_detection_are_checked_wherever_they_stand() {
    let everywhere = |field: &str, value: Value, expected: &str| {
        refused(json!({"steering": {field: value}}), &format!("steering.{field}{expected}"));
        service_refused(json!({"steering": {field: value}}), &format!(".steering.{field}{expected}"));
    };
    let two = "has none of what it needs, or too much: exactly one of";
    everywhere(
        "loadBalancer",
        json!({"simple": "RANDOM", "consistentHash": {"useSourceIp": true}}),
        &format!(" {two} simple or consistentHash; keep one"),
    );
    for hash in [json!({}), json!({"useSourceIp": false}), json!({"httpHeaderName": "x-user", "useSourceIp": true})] {
        everywhere(
            "loadBalancer",
            json!({"consistentHash": hash}),
            &format!(".consistentHash {two} httpHeaderName or useSourceIp; keep one"),
        );
    }
    for name in ["", "X-User", ":path", "x user", "x_user", "ä", &"x".repeat(65)] {
        everywhere(
            "loadBalancer",
            json!({"consistentHash": {"httpHeaderName": name}}),
            &format!(".consistentHash.httpHeaderName{} is not the name of a request header", quoted(name)),
        );
    }
    everywhere(
        "loadBalancer",
        json!({"simple": "LEAST_CONN"}),
        ".simple cannot be read: unknown variant `LEAST_CONN`, expected one of `ROUND_ROBIN`, `RANDOM`, `LEAST_REQUEST`",
    );
    for balancer in [json!({"simple": "RANDOM"}), json!({"consistentHash": {"useSourceIp": true}}), json!({})] {
        service_refused(
            json!({"sessionAffinity": "ClientIP", "steering": {"loadBalancer": balancer}}),
            ".steering.loadBalancer has no effect beside sessionAffinity: ClientIP; leave out one of the two",
        );
    }
    for seconds in [0, 3_601] {
        everywhere(
            "outlierDetection",
            json!({"baseEjectionTimeSeconds": seconds}),
            &format!(".baseEjectionTimeSeconds: \"{seconds}\" is not from 1 to 3600; write a number in these bounds"),
        );
    }
    for percent in [0, 101] {
        everywhere(
            "outlierDetection",
            json!({"maxEjectionPercent": percent}),
            &format!(".maxEjectionPercent: \"{percent}\" is not from 1 to 100"),
        );
    }
    everywhere(
        "outlierDetection",
        json!({"consecutive5xxErrors": 0, "maxEjectionPercent": 0}),
        ".maxEjectionPercent: \"0\" is not from 1 to 100",
    );
    everywhere("outlierDetection", json!({"consecutive5xxErrors": -1}), ".consecutive5xxErrors cannot be read");

    for steering in [
        json!({}),
        json!({"loadBalancer": {}}),
        json!({"loadBalancer": {"simple": "LEAST_REQUEST"}}),
        json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user", "useSourceIp": false}}}),
        // What may not carry a cluster's name may well be what a client is known by.
        json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "authorization"}}}),
        json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x".repeat(64)}}}),
        json!({"outlierDetection": {}}),
        json!({"outlierDetection": {"consecutive5xxErrors": 0}}),
        json!({"outlierDetection": {"baseEjectionTimeSeconds": 3_600, "maxEjectionPercent": 100}}),
    ] {
        let services = json!({"shop/web": {"steering": steering}, "shop/b": {"sessionAffinity": "ClientIP"}});
        let good = try_config(json!({"steering": steering, "table": {"services": services}}));
        assert!(good.is_ok(), "{steering}: {}", good.unwrap_err());
    }
}

#[test]
fn the_clusters_of_endpoints_are_checked() {
    for field in ["cluster", "tlsCluster", "http2Cluster"] {
        let original = |value: &str| json!({"steering": {"originalDst": {field: value}}});
        refused(original(""), &format!("steering.originalDst.{field} is empty; name at least one, or leave it out"));
        for (name, shown) in [("a\r\nb: c", "a\\r\\nb: c"), ("a b", "a b"), ("ä", "\\u{e4}")] {
            refused(
                original(name),
                &format!(
                    "steering.originalDst.{field}: \"{shown}\" holds a byte that no header value may hold; use visible ASCII"
                ),
            );
        }
    }
    for (original, name) in [
        (json!({"cluster": "a", "tlsCluster": "a"}), "a"),
        (json!({"tlsCluster": "original-dst"}), "original-dst"),
        (json!({"cluster": "original-dst-tls"}), "original-dst-tls"),
        (json!({"tlsCluster": "t", "http2Cluster": "t"}), "t"),
        (json!({"http2Cluster": "original-dst-tls"}), "original-dst-tls"),
    ] {
        refused(
            json!({"steering": {"originalDst": original}}),
            &format!("steering.originalDst.tlsCluster: \"{name}\" is the cluster for clear text too"),
        );
    }
    let same = json!({"steering": {"originalDst": {"cluster": "a", "http2Cluster": "a"}}});
    assert!(try_config(same).is_ok(), "one cluster may speak both, in clear text");
}

#[test]
fn what_is_steered_by_endpoint_has_to_have_endpoints() {
    let unknown =
        " is steered by endpoint, and its endpoints are not in the table; give its endpoints, or steer it by cluster";
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
    assert!(try_config(by("cluster", web(json!({})))).is_ok(), "by cluster they may be left out");
}

#[test]
fn fallbacks_are_checked() {
    let of = |fallback: Value| json!({"fallback": {"services": {"shop/web": fallback}}});
    let fallback_refused = |fallback: Value, expected: &str| {
        refused(of(fallback), &format!("fallback.services[\"shop/web\"]{expected}"));
    };
    for key in ["web", "", "/", "shop/", "/web", "shop/web/x", "Shop/web", "shop/web.x", "shop/_web"] {
        refused(
            json!({"fallback": {"services": {key: {"service": "shop/other"}}}}),
            &format!("fallback.services{} does not name a Service; write it as \"namespace/name\"", quoted(key)),
        );
        fallback_refused(
            json!({"service": key}),
            &format!(".service{} does not name a Service; write it as \"namespace/name\"", quoted(key)),
        );
    }
    let two = " has none of what it needs, or too much: exactly one of service or host; keep one";
    fallback_refused(json!({}), two);
    fallback_refused(json!({"port": 80}), two);
    fallback_refused(json!({"service": "shop/other", "host": "a.example", "port": 80}), two);
    fallback_refused(
        json!({"service": "shop/web"}),
        ".service: \"shop/web\" stands in for itself; name another Service",
    );
    fallback_refused(
        json!({"service": "prod/web"}),
        ".service: \"prod/web\" is in another namespace, which is not granted; grant it in externalNames.grants",
    );
    for tls in [true, false] {
        fallback_refused(
            json!({"service": "shop/other", "tls": tls}),
            ".tls has no meaning with a Service; leave it out; the upstream cluster of that Service decides its TLS",
        );
    }
    fallback_refused(json!({"service": "shop/other", "port": 0}), ".port: \"0\" is not a port; use 1 to 65535");
    fallback_refused(json!({"host": "a.example", "port": 0}), ".port: \"0\" is not a port");
    fallback_refused(json!({"host": "a.example"}), ".port is not a port; use 1 to 65535");
    fallback_refused(json!({"host": "a.example", "port": 65_536}), ".port cannot be read: invalid value");
    fallback_refused(
        json!({"host": "a.example", "port": 80}),
        ".host: \"a.example\" is not listed with this port; list the host with the port in externalNames.allow",
    );
    for host in ["", "a..b", "a b", "a:80", "http://a", "[fd00::1]", "*.a.example"] {
        fallback_refused(json!({"host": host, "port": 80}), &format!(".host{} is not a DNS name", quoted(host)));
    }
    fallback_refused(
        json!({"service": "shop/other", "when": ["empty"]}),
        ".when[0] cannot be read: unknown variant `empty`, expected `missing` or `noEndpoints`",
    );
    let twice = r#"{"version": 1, "caller": {"namespace": "shop"}, "fallback": {"services":
        {"shop/web": {"service": "shop/a"}, "shop/web": {"service": "shop/b"}}}}"#;
    assert_eq!(read(twice).unwrap_err(), "fallback.services: \"shop/web\" is given twice; keep one of them");
    let many = |count: usize| -> Value {
        Value::Object((0..count).map(|n| (format!("shop/a{n}"), json!({"service": "shop/web"}))).collect())
    };
    assert!(try_config(json!({"fallback": {"services": many(4_096)}})).is_ok());
    refused(
        json!({"fallback": {"services": many(4_097)}}),
        "fallback.services[\"shop/a999\"] cannot be read: invalid length 4097, expected an object of at most 4096 entries",
    );
    let allow = json!({"allow": [{"host": "a.example", "ports": [443]}]});
    for good in [
        json!({"service": "shop/other"}),
        json!({"service": "shop/other", "port": 65_535, "when": ["missing", "noEndpoints", "missing"]}),
        json!({"host": "a.example", "port": 443, "tls": true, "when": []}),
    ] {
        let mut fields = of(good);
        fields["externalNames"] = allow.clone();
        assert!(try_config(fields.clone()).is_ok(), "{fields}");
    }
}

#[test]
fn baselines_are_checked() {
    let baselines = |baselines: Value| json!({"fallback": {"baselines": baselines}});
    for namespace in ["", "Shop", "a.b", "a/b", "*"] {
        let expected = format!("fallback.baselines[\"{namespace}\"]{} is not one lowercase", quoted(namespace));
        refused(baselines(json!({namespace: "staging"})), &expected);
        let expected = format!("fallback.baselines[\"test-1\"]{} is not one lowercase DNS label", quoted(namespace));
        refused(baselines(json!({"test-1": namespace})), &expected);
    }
    refused(baselines(json!({"test-1": "test-1"})), "fallback.baselines[\"test-1\"]: \"test-1\" stands in for itself");
    let many = |count: usize| -> Value {
        Value::Object((0..count).map(|n| (format!("test-{n}"), json!("staging"))).collect())
    };
    assert!(try_config(baselines(many(4_096))).is_ok());
    refused(
        baselines(many(4_097)),
        "fallback.baselines[\"test-999\"] cannot be read: invalid length 4097, expected an object of at most 4096 entries",
    );
    refused(baselines(json!({"test-1": ["staging"]})), "fallback.baselines[\"test-1\"] cannot be read: invalid type");
    let circle = baselines(json!({"a": "b", "b": "a"}));
    assert!(try_config(circle).is_ok(), "a caller takes one step, so that there is no circle to go");
}

#[test]
fn a_baseline_that_is_given_twice_is_refused() {
    let twice = r#"{"version": 1, "caller": {"namespace": "shop"}, "fallback": {"baselines": {"a": "b", "a": "c"}}}"#;
    let error = read(twice).expect_err("one of the two would be taken without a word");
    assert!(error.starts_with("fallback.baselines"), "{error}");
    assert!(error.contains("is given twice"), "{error}");
}

#[test]
fn the_same_service_or_cluster_ip_twice_is_refused() {
    let twice =
        r#"{"version": 1, "caller": {"namespace": "shop"}, "table": {"services": {"shop/a": {}, "shop/a": {}}}}"#;
    assert_eq!(read(twice).unwrap_err(), "table.services: \"shop/a\" is given twice; keep one of them");
    let shared =
        json!({"table": {"services": {"shop/a": {"clusterIPs": "10.0.0.1"}, "shop/b": {"clusterIPs": "10.0.0.1"}}}});
    refused(shared, "table.services[\"shop/b\"].clusterIPs[0]: \"10.0.0.1\" is the cluster IP of another Service too");
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let table = r#""table": {"services": {"shop/a": {"type": "ExternalName", "externalName": "a.example.com"},
        "shop/b": {"ports": [{"port": 80}], "endpoints": [{"addresses": "127.0.0.1"}]}}, "singleMachine": true}"#;
    let rest = r#""externalNames": {"allow": [{"host": "a.example.com", "ports": [80]}]}, "caller": {"namespace": "shop"}, "version": 1"#;
    for json in [format!("{{{table}, {rest}}}"), format!("{{{rest}, {table}}}")] {
        let config = read(&json).expect("it is good");
        assert_eq!(ask(&config, "a"), "external a.example.com:80");
        assert_eq!(ask(&config, "b"), "service b.shop:80");
    }
}

#[test]
fn ten_thousand_services_fit_into_two_and_a_half_megabytes() {
    let services: std::collections::BTreeMap<String, byname_core::wire::Service> = (0..10_000u32)
        .map(|n| {
            let addresses: Vec<String> =
                (0..10u32).map(|e| format!("10.244.{}.{}", (n * 7 + e * 31) % 256, (n + e * 11) % 110 + 1)).collect();
            let service = json!({
                "clusterIPs": [format!("10.96.{}.{}", n / 250, n % 250 + 1)],
                "ports": [{"name": "http", "port": 80}],
                "endpoints": [{"addresses": addresses}],
            });
            (format!("ns-{}/svc-{n}", n % 50), serde_json::from_value(service).expect("the wire form"))
        })
        .collect();
    let json =
        serde_json::to_string(&json!({"version": 1, "caller": {"namespace": "ns-1"}, "table": {"services": services}}))
            .expect("JSON");
    assert!(json.len() <= 2_500_000, "{} bytes", json.len());
    let config = read(&json).expect("it is good");
    assert_eq!((config.table.services(), config.table.endpoints()), (10_000, 100_000));
    assert_eq!(ask(&config, "svc-9901"), "service svc-9901.ns-1:80");
}
