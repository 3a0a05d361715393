//! Steering: the cluster, authority and dynamic host that a resolution leads to.

use byname_core::{Config, Plan, Scheme};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{self, config, http, shop, with_fields};

/// The plan as `CLUSTER | AUTHORITY`, each `-` if the plan has none, and ` | HOST PORT` for a dynamic forward proxy.
fn plan(config: &Config, authority: &str, scheme: Scheme) -> String {
    let plan = fixture::plan(config, authority, scheme);
    let dynamic = plan.dynamic_host().map(|(host, port)| format!(" | {host} {port}")).unwrap_or_default();
    format!("{} | {}{dynamic}", plan.cluster().unwrap_or("-"), plan.authority().unwrap_or("-"))
}

fn steering(steering: Value) -> Config {
    let mut services = shop();
    services["shop/pay"] = json!({"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local"});
    services["shop/api"] =
        json!({"type": "ExternalName", "externalName": "api.example.com", "alias": {"port": 443, "tls": true}});
    services["shop/clear"] = json!({"type": "ExternalName", "externalName": "api.example.com"});
    services["shop/odd"] = json!({"ports": [{"name": "web", "port": 80}], "endpoints": [{"addresses": "10.0.0.1", "hostnames": "o"}],
        "steering": {"cluster": "fixed-{portName}", "subset": "v2", "rewriteAuthority": "never"}});
    services["shop/other"] = json!({"ports": [{"port": 80}], "steering": {"by": "authority"}});
    services["shop/v2"] = json!({"ports": [{"port": 80}], "steering": {"by": "cluster", "subset": "v2"}});
    let allow = json!([{"host": "api.example.com", "ports": [80, 443]}]);
    config(json!({"steering": steering, "externalNames": {"allow": allow}, "table": {"services": services}}))
}

#[track_caller]
fn check(config: &Config, rows: &[(&str, &str)]) {
    for (authority, expected) in rows {
        assert_eq!(plan(config, authority, Scheme::Http), *expected, "{authority}");
    }
}

#[test]
fn steers_by_cluster_and_rewrites_the_authority() {
    check(
        &steering(json!({})),
        &[
            ("payments", "outbound|80||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local"),
            ("payments:9090", "outbound|9090||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local:9090"),
            ("payments.shop.svc.cluster.local", "outbound|80||payments.shop.svc.cluster.local | -"),
            (
                "payments.shop.svc.cluster.local:80",
                "outbound|80||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local",
            ),
            ("10.96.0.10", "outbound|80||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local"),
            ("db-0.db", "outbound|80||db-0.db.shop.svc.cluster.local | db-0.db.shop.svc.cluster.local"),
            ("10-244-0-7.shop.pod", "- | 10-244-0-7.shop.pod.cluster.local"),
            ("pay", "outbound|80||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local"),
            ("api", "external-tls|443|api.example.com | api.example.com"),
            ("clear", "external|80|api.example.com | api.example.com"),
            ("clear:443", "external|443|api.example.com | api.example.com:443"),
            ("nope", "- | -"),
            ("a,b", "- | -"),
            ("v2", "outbound|80|v2|v2.shop.svc.cluster.local | v2.shop.svc.cluster.local"),
            ("odd", "fixed-web | -"),
            ("o.odd", "outbound|80|v2|o.odd.shop.svc.cluster.local | -"),
            ("other", "- | other.shop.svc.cluster.local"),
        ],
    );
    let https = plan(&steering(json!({})), "clear", Scheme::Https);
    assert_eq!(
        https, "external-tls|443|api.example.com | api.example.com",
        "TLS to an external target as the request came"
    );
}

#[test]
fn keeps_the_port_of_a_connect_request() {
    let config = steering(json!({}));
    for (authority, expected) in [
        ("payments:80", "outbound|80||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local:80"),
        ("clear:80", "external|80|api.example.com | api.example.com:80"),
        // The client's own TLS is in the tunnel.
        ("api:1", "external|443|api.example.com | api.example.com:443"),
        ("payments", "- | -"),
    ] {
        assert_eq!(plan(&config, authority, Scheme::Connect), expected, "{authority}");
    }
}

#[test]
fn tunnels_to_an_endpoint_where_the_cluster_would_speak_tls() {
    let unknown = json!({"ports": [{"name": "https", "port": 443}]});
    let endpoints = json!({"endpoints": [{"addresses": "10.244.0.9", "ports": {"https": 8443}}]});
    let table = json!({"services": {"shop/secure": with_fields(unknown.clone(), endpoints)}});
    for (by, expected) in [
        ("cluster", "original-dst 10.244.0.9:8443"),
        ("endpoint", "original-dst 10.244.0.9:8443"),
        ("authority", "- -"),
    ] {
        let config = config(json!({"steering": {"by": by}, "table": table}));
        let plan = fixture::plan(&config, "secure:443", Scheme::Connect);
        let steered = [plan.cluster().unwrap_or("-"), plan.endpoint().unwrap_or("-")].join(" ");
        assert_eq!(steered, expected, "{by}");
    }
    let config = config(json!({"table": {"services": {"shop/unknown": unknown}}}));
    let steered = fixture::plan(&config, "unknown:443", Scheme::Connect);
    assert_eq!(steered.cluster(), Some("outbound|443||unknown.shop.svc.cluster.local"), "no endpoint is known");
}

#[test]
fn writes_the_port_for_routes_unless_it_is_80() {
    let config = steering(json!({"by": "authority"}));
    for (authority, scheme, expected) in [
        ("payments:80", Scheme::Https, "- | payments.shop.svc.cluster.local"),
        ("clear", Scheme::Https, "- | api.example.com:443"),
        ("clear:80", Scheme::Https, "- | api.example.com"),
    ] {
        assert_eq!(plan(&config, authority, scheme), expected, "{authority}");
    }
}

#[test]
fn leaves_the_cluster_to_the_routes_by_authority() {
    check(
        &steering(json!({"by": "authority", "rewriteAuthority": "never"})),
        &[
            ("payments", "- | payments.shop.svc.cluster.local"),
            ("api", "- | api.example.com:443"),
            ("nope", "- | -"),
            ("v2", "outbound|80|v2|v2.shop.svc.cluster.local | -"),
        ],
    );
}

#[test]
fn rewrites_the_authority_as_configured() {
    check(
        &steering(json!({"rewriteAuthority": "alias"})),
        &[
            ("payments", "outbound|80||payments.shop.svc.cluster.local | -"),
            ("pay", "outbound|80||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local"),
            ("api", "external-tls|443|api.example.com | api.example.com"),
        ],
    );
    check(
        &steering(json!({"rewriteAuthority": "never"})),
        &[
            ("pay", "outbound|80||payments.shop.svc.cluster.local | -"),
            ("api", "external-tls|443|api.example.com | api.example.com"),
        ],
    );
}

#[test]
fn fills_templates_for_services_and_endpoints() {
    check(
        &steering(json!({"cluster": "{service}.{namespace}/{port}/{portName}", "passCluster": "pass"})),
        &[
            ("payments:9090", "payments.shop/9090/grpc | payments.shop.svc.cluster.local:9090"),
            ("db-0.db", "outbound|80||db-0.db.shop.svc.cluster.local | db-0.db.shop.svc.cluster.local"),
            ("nope", "pass | -"),
            ("203.0.113.1", "pass | -"),
            ("10-244-0-7.shop.pod", "pass | 10-244-0-7.shop.pod.cluster.local"),
        ],
    );
    check(
        &steering(json!({"endpointCluster": "{endpoint}@{service}"})),
        &[("db-0.db", "db-0@db | db-0.db.shop.svc.cluster.local")],
    );
}

#[test]
fn gives_host_and_port_to_a_dynamic_forward_proxy() {
    let external = json!({"cluster": "dfp", "tlsCluster": "dfp-tls", "dynamicForwardProxy": true});
    check(
        &steering(json!({"external": external})),
        &[
            ("api", "dfp-tls | api.example.com | api.example.com 443"),
            ("clear", "dfp | api.example.com | api.example.com 80"),
            ("payments", "outbound|80||payments.shop.svc.cluster.local | payments.shop.svc.cluster.local"),
        ],
    );
}

#[test]
fn clears_a_reused_plan() {
    let config =
        steering(json!({"external": {"cluster": "dfp", "tlsCluster": "dfp-tls", "dynamicForwardProxy": true}}));
    let mut plan = Plan::default();
    for authority in ["api", "a,b", "nope"] {
        fixture::decide(&config, http(authority), &mut plan);
    }
    assert_eq!((plan.cluster(), plan.authority(), plan.dynamic_host()), (None, None, None));
}

// TLS must never go to a plaintext cluster, and few Services set `appProtocol`.
#[test]
fn chooses_the_original_dst_cluster_by_the_ports_protocol() {
    let rows = [
        ("http", None, "original-dst"),
        ("web", Some("http"), "original-dst"),
        ("https", None, "original-dst-tls"),
        ("https-web", None, "original-dst-tls"),
        ("web", Some("https"), "original-dst-tls"),
        ("web", Some("HTTPS"), "original-dst-tls"),
        ("web", Some("tls"), "original-dst-tls"),
        ("web", Some("kubernetes.io/wss"), "original-dst-tls"),
        ("wss", None, "original-dst-tls"),
        ("https", Some("http"), "original-dst"),
        ("grpc", None, "h2"),
        ("grpc-web", None, "original-dst"),
        ("web", Some("kubernetes.io/h2c"), "h2"),
        ("http2-api", None, "h2"),
        ("", None, "original-dst"),
    ];
    for (name, app_protocol, cluster) in rows {
        let web = json!({"ports": [{"name": name, "port": 443, "appProtocol": app_protocol}],
                         "endpoints": [{"addresses": "10.0.0.1"}]});
        let config = config(json!({"steering": {"by": "endpoint", "originalDst": {"http2Cluster": "h2"}},
                                   "table": {"services": {"shop/web": web}}}));
        for scheme in [Scheme::Http, Scheme::Https] {
            let plan = fixture::plan(&config, "web:443", scheme);
            assert_eq!(
                (plan.cluster(), plan.endpoint()),
                (Some(cluster), Some("10.0.0.1:443")),
                "{name} {app_protocol:?}"
            );
        }
    }
}
