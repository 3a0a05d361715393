//! Baseline namespaces: what a name resolves to for a caller whose own namespace lacks it.

use byname_core::{Config, Scheme};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    fallbacks::{alias, decide, to},
    fixture::{check, config, with_fields},
};

/// A test environment `test-1` with a few Services of its own, and its baseline `staging`, which has all of them.
pub(crate) fn staged(fallbacks: Value, fields: Value) -> Config {
    let baselines = json!({"test-1": "staging", "test-2": "prod"});
    let whole = json!({
        "caller": {"namespace": "test-1"},
        "fallback": {"services": fallbacks, "baselines": baselines},
        "table": {"version": 7, "services": {
            "test-1/cart": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.244.5.1"}]},
            "test-1/down": {"ports": [{"port": 80}], "endpoints": []},
            "test-1/asleep": {"clusterIPs": "None", "ports": [{"port": 80}], "endpoints": []},
            "test-1/queue": alias("gone.test-1.svc.cluster.local"),
            "test-1/orders": alias("orders.staging.svc.cluster.local"),
            "staging/cart": {"ports": [{"port": 80}]},
            "staging/payments": {"clusterIPs": ["10.96.0.30"], "ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 9090}],
                                 "endpoints": [{"addresses": "10.244.5.2"}]},
            "staging/db": {"clusterIPs": "None", "ports": [{"port": 80}], "endpoints": [{"addresses": "10.244.5.3", "hostnames": "db-0"}]},
            "staging/down": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.244.5.4"}]},
            "staging/asleep": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.244.5.5"}]},
            "staging/empty": {"ports": [{"port": 80}], "endpoints": []},
            "staging/queue": {"ports": [{"port": 80}]},
            "staging/orders": {"ports": [{"port": 80}]},
            "staging/pay": alias("payments.staging.svc.cluster.local"),
            "staging/api": {"type": "ExternalName", "externalName": "api.example.com", "alias": {"port": 443, "tls": true}},
            "staging/bank": alias("bank.example.com"),
            "staging/spare": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.244.5.6"}]},
            "staging/org": {"clusterIPs": "None", "ports": [{"port": 80}], "endpoints": [{"addresses": "10.244.5.7"}]},
            "staging/unlisted": {"ports": [{"port": 80}]},
            "prod/ledger": {"ports": [{"port": 80}]},
        }},
        "externalNames": {"allow": [{"host": "api.example.com", "ports": [443]}]},
    });
    config(with_fields(whole, fields))
}

#[test]
fn resolves_names_that_the_own_namespace_lacks_in_the_baseline() {
    check(
        &staged(json!({}), json!({})),
        &[
            ("payments", "baseline payments.staging:80", "it is not in test-1"),
            ("PAYMENTS:9090", "baseline payments.staging:9090", "the requested port stays"),
            ("payments:8080", "pass port_not_found", "the ports of the baseline's Service count"),
            ("db-0.db", "baseline db-0.db.staging:80", "one endpoint"),
            ("10-244-5-2.payments", "baseline 10-244-5-2.payments.staging:80", "one endpoint by its address"),
            ("db-9.db", "pass name_not_found", "that endpoint is missing"),
            ("_http._tcp.payments", "baseline payments.staging:80", "a port by its name"),
            ("_grpc._tcp.payments", "baseline payments.staging:9090", "another"),
            ("pay", "baseline payments.staging:80", "an alias in the baseline"),
            ("api", "baseline api.example.com:443", "an alias of an external host"),
            ("bank", "pass external as bank.example.com:80", "an alias of a host that is not listed"),
            ("empty", "refuse no_endpoints", "it exists, and has no endpoints"),
            ("cart", "service cart.test-1:80", "the own namespace first"),
            ("cart.staging", "service cart.staging:80", "a name with a namespace reaches that namespace"),
            (
                "payments.staging",
                "service payments.staging:80",
                "found on the search path, so the reason is not baseline",
            ),
            ("payments.test-1", "pass name_not_found", "a name with a namespace has no baseline"),
            ("payments.test-1.svc.cluster.local", "pass name_not_found", ""),
            ("ledger", "pass name_not_found", "the baseline of test-2 is not that of test-1"),
            ("nope", "pass name_not_found", "in neither namespace"),
            ("10.96.0.30", "cluster_ip payments.staging:80", "an address has no search path"),
            ("www.example.org", "pass name_not_found", "a public name"),
        ],
    );
}

#[test]
fn does_not_replace_broken_services_by_the_baseline() {
    let rows = [
        ("down", "refuse no_endpoints", "it exists without endpoints: only a fallback replaces it"),
        ("queue", "pass name_not_found as gone.test-1:80", "an alias of a missing Service"),
        ("orders", "alias orders.staging:80", "an alias into another namespace"),
    ];
    check(&staged(json!({}), json!({})), &rows);
    let listed = json!({"externalNames": {"mode": "listed"}});
    check(&staged(json!({}), listed), &[("orders", "refuse alias_denied", "an alias without a grant")]);
    let grants = json!({"externalNames": {"grants": [{"from": "test-1", "to": "staging"}]}});
    let down = json!({"test-1/down": {"service": "staging/down", "when": ["noEndpoints"]}});
    check(
        &staged(down, grants.clone()),
        &[
            ("down", "fallback_no_endpoints down.staging:80", "by its own fallback"),
            ("payments", "baseline payments.staging:80", "the baseline as before"),
            ("orders", "alias orders.staging:80", "granted"),
        ],
    );
    check(
        &staged(json!({"test-1/down": {"service": "staging/down", "when": ["missing"]}}), grants.clone()),
        &[("down", "refuse no_endpoints", "a fallback for another trigger does not apply")],
    );
    check(
        &staged(json!({"test-1/payments": to("staging/spare")}), grants),
        &[("payments", "fallback_missing spare.staging:80", "a fallback comes before the baseline")],
    );
}

// DNS has no such name, so the search continues, and the baseline is its last step.
#[test]
fn looks_up_a_headless_service_without_ready_endpoints_in_the_baseline() {
    check(&staged(json!({}), json!({})), &[("asleep", "baseline asleep.staging:80", "")]);
}

#[test]
fn follows_fallbacks_of_services_in_the_baseline() {
    let of = json!({
        "staging/empty": to("staging/spare"),
        "staging/gone": to("staging/spare"),
        "staging/gone-2": to("staging/gone-2b"),
        "staging/gone-api": {"host": "api.example.com", "port": 443},
    });
    check(
        &staged(of, json!({})),
        &[
            ("empty", "baseline spare.staging:80", "no endpoints in the baseline; the first reason is reported"),
            ("gone", "baseline spare.staging:80", "missing in the baseline too"),
            ("gone-2", "pass name_not_found", "its fallback is missing"),
            ("gone-api", "baseline api.example.com:443", "an external fallback"),
        ],
    );
}

#[test]
fn skips_the_baseline_for_names_without_a_search_list() {
    let absolute = [
        ("payments.", "pass public_name", "a trailing dot makes the name absolute"),
        ("payments.svc.", "pass public_name", ""),
    ];
    check(&staged(json!({}), json!({})), &absolute);
    let dns = |resolver: &str, ndots: u8| json!({"dns": {"resolver": resolver, "ndots": ndots}});
    check(
        &staged(json!({}), dns("musl", 1)),
        &[
            ("payments", "baseline payments.staging:80", "it has fewer dots than ndots"),
            ("db-0.db", "pass public_name", "as many dots as ndots: musl skips the search list"),
        ],
    );
    check(
        &staged(json!({}), dns("glibc", 1)),
        &[("db-0.db", "pass public_name", "glibc asks public DNS first, whose answer the table does not know")],
    );
    check(
        &staged(json!({}), dns("musl", 2)),
        &[("db-0.db", "baseline db-0.db.staging:80", ""), ("www.example.org", "pass public_name", "public")],
    );
    // A full name of the cluster: glibc tries the search list after it, musl does not.
    let whole = "db-0.db.svc.cluster.local";
    check(&staged(json!({}), dns("musl", 1)), &[(whole, "pass name_not_found", "")]);
    check(
        &staged(json!({}), dns("glibc", 1)),
        &[(whole, "pass name_not_found", "a name with too many labels for the baseline")],
    );
    let refuse = |dns: Value| json!({"dns": dns, "unknownNames": "refuse"});
    check(
        &staged(json!({}), refuse(json!({}))),
        &[
            ("payments", "baseline payments.staging:80", "a name of the baseline is known"),
            ("nope", "refuse name_not_found", ""),
            ("www.example.org", "refuse name_not_found", "as without a baseline"),
        ],
    );
}

#[test]
fn passes_public_names_that_the_baseline_lacks() {
    check(
        &staged(json!({}), json!({})),
        &[
            ("www.example.org", "pass name_not_found", ""),
            ("example.org", "pass name_not_found", "org is a Service of staging, and has no such endpoint"),
            ("www.unlisted", "pass name_not_found", "endpoints that are not known may have that name"),
        ],
    );
    check(
        &staged(json!({}), json!({"unknownNames": "refuse"})),
        &[
            ("example.org", "refuse name_not_found", ""),
            ("www.unlisted", "pass name_not_found", "it may exist, so it is passed"),
        ],
    );
}

#[test]
fn applies_a_baseline_to_callers_of_its_namespace_only() {
    let from = |namespace: &str| staged(json!({}), json!({"caller": {"namespace": namespace}}));
    check(&from("test-1"), &[("payments", "baseline payments.staging:80", "")]);
    check(&from("test-2"), &[("ledger", "baseline ledger.prod:80", ""), ("payments", "pass name_not_found", "")]);
    check(
        &from("test-3"),
        &[("payments", "pass name_not_found", "test-3 has no baseline"), ("ledger", "pass name_not_found", "")],
    );
    check(
        &from("staging"),
        &[
            ("payments", "service payments.staging:80", "staging is its own namespace"),
            ("ledger", "pass name_not_found", "a baseline has no baseline"),
        ],
    );
}

#[test]
fn tries_the_baseline_after_the_whole_search_list() {
    let dns = json!({"dns": {"extraSearches": ["prod.svc.cluster.local", "staging.svc.cluster.local"]}});
    check(
        &staged(json!({}), dns),
        &[
            ("ledger", "service ledger.prod:80", "found in an extra search domain"),
            ("payments", "service payments.staging:80", "found before the baseline"),
        ],
    );
    let searches = json!({"dns": {"searches": ["svc.cluster.local"]}});
    check(
        &staged(json!({}), searches),
        &[("cart", "baseline cart.staging:80", "a custom list without the caller's namespace")],
    );
    let domain = json!({"dns": {"clusterDomain": "k8s.example"}});
    let config = staged(json!({}), domain);
    let (planned, _) = decide(&config, "payments", Scheme::Http);
    assert_eq!(planned, "outbound|80||payments.staging.svc.k8s.example | payments.staging.svc.k8s.example");
}
