//! The checks of a configuration's fields outside the table. Every error names the path, the value, the fault and the fix.

use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{read, try_config};

#[track_caller]
pub(crate) fn refused(fields: Value, expected: &str) {
    let error = try_config(fields).expect_err("an invalid configuration");
    assert!(error.starts_with(expected), "{error:?}\nshould begin with\n{expected:?}");
}

pub(crate) fn service_refused(service: Value, expected: &str) {
    refused(json!({"table": {"services": {"shop/web": service}}}), &format!("table.services[\"shop/web\"]{expected}"));
}

/// A value as an error shows it: nothing if it is empty.
pub(crate) fn quoted(found: &str) -> String {
    if found.is_empty() { String::new() } else { format!(": \"{}\"", found.escape_default()) }
}

#[test]
fn checks_each_field_outside_the_table() {
    refused(json!({"caller": {"namespace": "Shop"}}), "caller.namespace: \"Shop\" is not a lower-case DNS label");
    refused(json!({"caller": {"namespace": "shop", "podIP": "x"}}), "caller.podIP: \"x\" is not an IP address");
    let zone = |bytes: usize| [&*"a".repeat(60), &"b".repeat(bytes - 61)].join(".");
    assert!(
        try_config(json!({"dns": {"clusterDomain": zone(121)}})).is_ok(),
        "the longest cluster domain that leaves room for a Service's name"
    );
    refused(
        json!({"dns": {"clusterDomain": zone(122)}}),
        "dns.clusterDomain: 122 bytes are more than the limit of 121",
    );
    refused(json!({"dns": {"clusterDomain": "8.10"}}), "dns.clusterDomain: \"8.10\" reads as an IPv4 address");
    refused(json!({"dns": {"searches": ["a", "b..c"]}}), "dns.searches[1]: \"b..c\" is not a DNS name");
    refused(json!({"dns": {"extraSearches": [""]}}), "dns.extraSearches[0]");
    refused(json!({"dns": {"searches": vec!["a"; 33]}}), "dns.searches: 33 entries are more than the limit of 32");
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
        "steering.external.tlsCluster: \"a\" is also the cluster for plaintext",
    );
    refused(json!({"steering": {"passCluster": ""}}), "steering.passCluster is empty");
    refused(json!({"steering": {"passCluster": "a\n"}}), "steering.passCluster: \"a\\n\" contains a byte");
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
        "externalNames.grants[0].from: \"*\" is not a lower-case DNS label",
    );
}

#[test]
fn checks_load_balancers_and_outlier_detection_globally_and_per_service() {
    let everywhere = |field: &str, value: Value, expected: &str| {
        refused(json!({"steering": {field: value}}), &format!("steering.{field}{expected}"));
        service_refused(json!({"steering": {field: value}}), &format!(".steering.{field}{expected}"));
    };
    let two = "must set exactly one of";
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
            ".steering.loadBalancer has no effect together with sessionAffinity: ClientIP; remove one of the two",
        );
    }
    for seconds in [0, 3_601] {
        everywhere(
            "outlierDetection",
            json!({"baseEjectionTimeSeconds": seconds}),
            &format!(".baseEjectionTimeSeconds: \"{seconds}\" is outside 1 to 3600; use a number in that range"),
        );
    }
    for percent in [0, 101] {
        everywhere(
            "outlierDetection",
            json!({"maxEjectionPercent": percent}),
            &format!(".maxEjectionPercent: \"{percent}\" is outside 1 to 100"),
        );
    }
    everywhere(
        "outlierDetection",
        json!({"consecutive5xxErrors": 0, "maxEjectionPercent": 0}),
        ".maxEjectionPercent: \"0\" is outside 1 to 100",
    );
    everywhere("outlierDetection", json!({"consecutive5xxErrors": -1}), ".consecutive5xxErrors cannot be read");

    for steering in [
        json!({}),
        json!({"loadBalancer": {}}),
        json!({"loadBalancer": {"simple": "LEAST_REQUEST"}}),
        json!({"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user", "useSourceIp": false}}}),
        // A header that must not carry a cluster's name may still be an affinity key.
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
fn checks_the_original_dst_clusters() {
    for field in ["cluster", "tlsCluster", "http2Cluster"] {
        let original = |value: &str| json!({"steering": {"originalDst": {field: value}}});
        refused(original(""), &format!("steering.originalDst.{field} is empty; set it, or remove the field"));
        for (name, shown) in [("a\r\nb: c", "a\\r\\nb: c"), ("a b", "a b"), ("ä", "\\u{e4}")] {
            refused(
                original(name),
                &format!(
                    "steering.originalDst.{field}: \"{shown}\" contains a byte that no header value may contain; use visible ASCII"
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
            &format!("steering.originalDst.tlsCluster: \"{name}\" is also the cluster for plaintext"),
        );
    }
    let same = json!({"steering": {"originalDst": {"cluster": "a", "http2Cluster": "a"}}});
    assert!(try_config(same).is_ok(), "HTTP/1 and HTTP/2 may share a plaintext cluster");
}

#[test]
fn checks_fallbacks() {
    let of = |fallback: Value| json!({"externalNames": {"mode": "listed"}, "fallback": {"services": {"shop/web": fallback}}});
    let fallback_refused = |fallback: Value, expected: &str| {
        refused(of(fallback), &format!("fallback.services[\"shop/web\"]{expected}"));
    };
    for key in ["web", "", "/", "shop/", "/web", "shop/web/x", "Shop/web", "shop/web.x", "shop/_web"] {
        refused(
            json!({"fallback": {"services": {key: {"service": "shop/other"}}}}),
            &format!("fallback.services{} is not namespace/name; write it as \"namespace/name\"", quoted(key)),
        );
        fallback_refused(
            json!({"service": key}),
            &format!(".service{} is not namespace/name; write it as \"namespace/name\"", quoted(key)),
        );
    }
    let two = " must set exactly one of service or host; keep one";
    fallback_refused(json!({}), two);
    fallback_refused(json!({"port": 80}), two);
    fallback_refused(json!({"service": "shop/other", "host": "a.example", "port": 80}), two);
    fallback_refused(json!({"service": "shop/web"}), ".service: \"shop/web\" is its own fallback; name another one");
    fallback_refused(
        json!({"service": "prod/web"}),
        ".service: \"prod/web\" is in another namespace, without a grant; add a grant to externalNames.grants",
    );
    for tls in [true, false] {
        fallback_refused(
            json!({"service": "shop/other", "tls": tls}),
            ".tls is not allowed with a fallback to a Service; remove it: the upstream cluster of that Service decides its TLS",
        );
    }
    fallback_refused(json!({"service": "shop/other", "port": 0}), ".port: \"0\" is not a port; use 1 to 65535");
    fallback_refused(json!({"host": "a.example", "port": 0}), ".port: \"0\" is not a port");
    fallback_refused(json!({"host": "a.example"}), ".port is not a port; use 1 to 65535");
    fallback_refused(
        json!({"host": "a.example", "port": 65_536}),
        ".port cannot be read: it is the number 65536, not a whole number",
    );
    fallback_refused(
        json!({"host": "a.example", "port": 80}),
        ".host: \"a.example\" is not listed in externalNames.allow with this port; add the host with the port to externalNames.allow",
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
        "fallback.services cannot be read: it has more than 4096 entries",
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
fn checks_baselines() {
    let baselines = |baselines: Value| json!({"fallback": {"baselines": baselines}});
    for namespace in ["", "Shop", "a.b", "a/b", "*"] {
        let expected =
            format!("fallback.baselines[\"{namespace}\"]{} is not a lower-case DNS label", quoted(namespace));
        refused(baselines(json!({namespace: "staging"})), &expected);
        let expected = format!("fallback.baselines[\"test-1\"]{} is not a lower-case DNS label", quoted(namespace));
        refused(baselines(json!({"test-1": namespace})), &expected);
    }
    refused(baselines(json!({"test-1": "test-1"})), "fallback.baselines[\"test-1\"]: \"test-1\" is its own fallback");
    let many = |count: usize| -> Value {
        Value::Object((0..count).map(|n| (format!("test-{n}"), json!("staging"))).collect())
    };
    assert!(try_config(baselines(many(4_096))).is_ok());
    refused(baselines(many(4_097)), "fallback.baselines cannot be read: it has more than 4096 entries");
    refused(
        baselines(json!({"test-1": ["staging"]})),
        "fallback.baselines[\"test-1\"] cannot be read: it is a list, not",
    );
    let circle = baselines(json!({"a": "b", "b": "a"}));
    assert!(try_config(circle).is_ok(), "a caller takes one step, so a circle is harmless");
}

#[test]
fn refuses_a_duplicate_baseline() {
    let twice = r#"{"version": 1, "caller": {"namespace": "shop"}, "fallback": {"baselines": {"a": "b", "a": "c"}}}"#;
    let error = read(twice).expect_err("a duplicate key");
    assert!(error.starts_with("fallback.baselines"), "{error}");
    assert!(error.contains("is given twice"), "{error}");
}
