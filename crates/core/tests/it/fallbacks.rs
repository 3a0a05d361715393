//! Fallbacks of Services that are missing or have no endpoints: when they apply, in which order, and on which port.

use byname_core::{Config, Plan, Request, Scheme, limits::MAX_FALLBACK_HOPS};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{self, ask, ask_over, check, config, http, shop, with_fields};

/// `shop()` with two Services without endpoints, one with endpoints, and a StatefulSet whose pod lacks one of its ports.
fn cluster() -> Value {
    let mut services = shop();
    services["shop/empty"] = json!({"clusterIPs": ["10.96.0.20"], "endpoints": [],
                                    "ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 9090}]});
    services["shop/empty-2"] = services["shop/empty"].clone();
    services["shop/empty-2"]["clusterIPs"] = json!(["10.96.0.22"]);
    services["shop/web"] = json!({"ports": [{"port": 80}, {"name": "alt", "port": 8080}],
                                  "endpoints": [{"addresses": "10.244.3.1"}]});
    services["shop/web"]["ports"][0]["name"] = json!("http");
    services["shop/set"] = json!({"clusterIPs": "None", "ports": [{"name": "http", "port": 80}, {"name": "grpc", "port": 9090}],
                                  "endpoints": [{"addresses": "10.244.4.1", "hostnames": "set-0", "ports": {"http": 8080}}]});
    services
}

/// The fields of a configuration: `cluster()` with more Services, fallbacks by Service, and other fields.
pub(crate) fn with(more: Value, fallbacks: Value, fields: Value) -> Value {
    let services = with_fields(cluster(), more);
    let whole = json!({"fallback": {"services": fallbacks}, "table": {"version": 7, "services": services}});
    with_fields(whole, fields)
}

fn fallbacks(fallbacks: Value) -> Config {
    config(with(json!({}), fallbacks, json!({})))
}

pub(crate) fn to(service: &str) -> Value {
    json!({"service": service})
}

pub(crate) fn alias(target: &str) -> Value {
    json!({"type": "ExternalName", "externalName": target})
}

/// A fallback from each Service to the next.
pub(crate) fn chain<S: AsRef<str>>(keys: &[S]) -> Value {
    let links = keys.windows(2).map(|pair| (pair[0].as_ref().to_owned(), to(pair[1].as_ref())));
    Value::Object(links.collect())
}

/// The plan as `CLUSTER | AUTHORITY`, each `-` if the plan has none, and every step.
pub(crate) fn decide(config: &Config, authority: &str, scheme: Scheme) -> (String, String) {
    let mut plan = Plan::default();
    let (_, trace) = fixture::decide_traced(config, Request::new(authority, scheme), &mut plan);
    let planned = format!("{} | {}", plan.cluster().unwrap_or("-"), plan.authority().unwrap_or("-"));
    (planned, trace.to_string())
}

pub(crate) fn body(config: &Config, authority: &str) -> String {
    fixture::local_reply(config, http(authority)).map(|reply| reply.body).unwrap_or_default()
}

#[test]
fn applies_to_its_triggers_only() {
    let when = |when: Value| json!({"service": "shop/payments", "when": when});
    let config = fallbacks(json!({
        "shop/gone": when(json!(["missing"])),
        "shop/gone-other": when(json!(["noEndpoints"])),
        "shop/gone-both": when(json!(["noEndpoints", "missing"])),
        "shop/gone-any": when(json!([])),
        "shop/gone-plain": to("shop/payments"),
        "prod/gone": to("prod/payments"),
        "shop/empty": when(json!(["noEndpoints"])),
        "shop/empty-2": when(json!(["missing"])),
        "shop/unready": to("shop/payments"),
        "shop/payments": to("shop/web"),
        "shop/2048": to("shop/web"),
        "shop/db": to("shop/web"),
    }));
    check(
        &config,
        &[
            ("gone", "fallback_missing payments.shop:80", "it is missing"),
            ("GONE.shop.svc.cluster.local.", "fallback_missing payments.shop:80", "by its full name"),
            ("gone-other", "pass name_not_found", "its fallback is for noEndpoints only"),
            ("gone-both", "fallback_missing payments.shop:80", "for both"),
            ("gone-any", "fallback_missing payments.shop:80", "an empty list is both"),
            ("gone-plain", "fallback_missing payments.shop:80", "no list is both"),
            (
                "gone.prod",
                "fallback_missing payments.prod:80",
                "the namespace of the Service counts, not that of the caller",
            ),
            ("empty", "fallback_no_endpoints payments.shop:80", "it exists, and has no usable endpoint"),
            ("10.96.0.20", "fallback_no_endpoints payments.shop:80", "by its cluster IP too"),
            ("empty-2", "refuse no_endpoints", "it exists, so it is not missing"),
            ("10.96.0.22", "refuse no_endpoints", "by its cluster IP"),
            ("unready", "fallback_no_endpoints payments.shop:80", "headless with nothing ready: DNS has no such name"),
            ("payments", "service payments.shop:80", "it has endpoints"),
            ("payments:8080", "pass port_not_found", "a missing port triggers no fallback"),
            ("2048.shop", "service 2048.shop:80", "unknown endpoints are not zero endpoints"),
            ("db", "service db.shop:80", ""),
            ("nope", "pass name_not_found", "it has no fallback"),
            ("gone.nope", "pass name_not_found", "another Service"),
            ("gone.nope.prod", "pass name_not_found", "not the name of a Service"),
        ],
    );
}

#[test]
fn treats_a_headless_service_without_ready_endpoints_as_empty_not_missing() {
    let config = fallbacks(json!({"shop/unready": {"service": "shop/web", "when": ["missing"]}}));
    check(&config, &[("unready", "refuse no_endpoints", "it is in the table, so it is not missing")]);
    let config = fallbacks(json!({"shop/unready": {"service": "shop/web", "when": ["noEndpoints"]}}));
    check(&config, &[("unready", "fallback_no_endpoints web.shop:80", "though DNS has no such name")]);
}

#[test]
fn keeps_the_requested_port_unless_the_fallback_has_one() {
    let config = fallbacks(json!({
        "shop/gone": to("shop/web"),
        "shop/gone-alt": {"service": "shop/web", "port": 8080},
        "shop/gone-bad": {"service": "shop/web", "port": 9999},
        "shop/empty": to("shop/payments"),
        "shop/empty-2": {"service": "shop/web", "port": 8080},
        "shop/set": to("shop/payments"),
    }));
    check(
        &config,
        &[
            ("gone", "fallback_missing web.shop:80", "by the scheme"),
            ("gone:8080", "fallback_missing web.shop:8080", "from the authority"),
            ("gone:9090", "pass name_not_found", "the fallback lacks the port, so it does not help"),
            ("gone-alt", "fallback_missing web.shop:8080", "its own"),
            ("gone-alt:443", "fallback_missing web.shop:8080", "whatever port was requested"),
            ("gone-bad", "pass name_not_found", "the fallback's port, which its Service lacks"),
            ("empty:9090", "fallback_no_endpoints payments.shop:9090", "kept"),
            ("empty:9999", "pass port_not_found", "a Service without endpoints still has its ports"),
            ("_http._tcp.empty", "fallback_no_endpoints payments.shop:80", "a port by its name"),
            ("_grpc._tcp.empty", "fallback_no_endpoints payments.shop:9090", "kept as its number"),
            ("grpc.tcp.empty:9090", "fallback_no_endpoints payments.shop:9090", "the same port, written twice"),
            ("_grpc._tcp.empty:80", "pass port_not_found", "a port that the name contradicts"),
            ("_dns._tcp.empty", "pass name_not_found", "a port that it lacks"),
            ("empty-2", "fallback_no_endpoints web.shop:8080", "its own"),
            ("_grpc._tcp.empty-2", "fallback_no_endpoints web.shop:8080", "the fallback's port wins over a port name"),
            ("set", "service set.shop:80", "a port with endpoints"),
            ("set:9090", "fallback_no_endpoints payments.shop:9090", "a port without endpoints"),
        ],
    );
    assert_eq!(ask_over(&config, "gone", Scheme::Https), "pass name_not_found", "443 by the scheme");
    assert_eq!(ask_over(&config, "gone-alt", Scheme::Https), "fallback_missing web.shop:8080");
}

#[test]
fn follows_a_chain_up_to_the_bound() {
    // Every Service but the last is missing, and has a fallback to the next.
    let missing = |links: usize| {
        let mut keys: Vec<String> = (0..links).map(|link| format!("shop/gone-{link}")).collect();
        keys.push("shop/payments".into());
        chain(&keys)
    };
    let reached = "fallback_missing payments.shop:80";
    assert_eq!(ask(&fallbacks(missing(1)), "gone-0"), reached);
    assert_eq!(ask(&fallbacks(missing(MAX_FALLBACK_HOPS)), "gone-0"), reached, "the longest chain");
    let too_long = missing(MAX_FALLBACK_HOPS + 1);
    assert_eq!(ask(&fallbacks(too_long.clone()), "gone-0"), "pass name_not_found", "one fallback too many");
    assert_eq!(ask(&fallbacks(too_long.clone()), "gone-1"), reached, "short enough from its second Service on");
    let refusing = |fallbacks: Value| config(with(json!({}), fallbacks, json!({"unknownNames": "refuse"})));
    assert_eq!(ask(&refusing(too_long), "gone-0"), "refuse name_not_found");

    // Every Service but the last exists without endpoints.
    let empty = |links: usize| {
        let of_chain = |link: usize| format!("shop/hollow-{link}");
        let service = || json!({"ports": [{"port": 80}], "endpoints": []});
        let services: Vec<(String, Value)> = (0..links).map(|link| (of_chain(link), service())).collect();
        let mut keys: Vec<String> = (0..links).map(of_chain).collect();
        keys.push("shop/payments".into());
        config(with(Value::Object(services.into_iter().collect()), chain(&keys), json!({})))
    };
    assert_eq!(ask(&empty(MAX_FALLBACK_HOPS), "hollow-0"), "fallback_no_endpoints payments.shop:80");
    assert_eq!(ask(&empty(MAX_FALLBACK_HOPS + 1), "hollow-0"), "refuse no_endpoints");
    assert_eq!(ask(&empty(MAX_FALLBACK_HOPS + 1), "hollow-1"), "fallback_no_endpoints payments.shop:80");
}

#[test]
fn ends_a_circle_as_if_there_were_no_fallback() {
    let missing = chain(&["shop/gone", "shop/gone-2", "shop/gone"]);
    check(&fallbacks(missing.clone()), &[("gone", "pass name_not_found", "two missing Services")]);
    check(
        &config(with(json!({}), missing, json!({"unknownNames": "refuse"}))),
        &[("gone", "refuse name_not_found", "refused with unknownNames: refuse")],
    );
    check(
        &fallbacks(chain(&["shop/empty", "shop/empty-2", "shop/empty"])),
        &[
            ("empty", "refuse no_endpoints", "two Services without endpoints"),
            ("10.96.0.20", "refuse no_endpoints", "by address"),
        ],
    );
    check(
        &fallbacks(chain(&["shop/empty", "shop/gone", "shop/empty"])),
        &[("empty", "refuse no_endpoints", "one without endpoints, one missing")],
    );
}

// The reason is that of the requested name, whatever the last Service of the chain lacks.
#[test]
fn reports_the_reason_of_the_requested_name_when_no_fallback_helps() {
    let fallbacks_of = json!({
        "shop/empty": to("shop/gone-2"),
        "shop/gone": to("shop/empty-2"),
        "shop/gone-3": to("shop/unready"),
    });
    let rows = [
        ("empty", "refuse no_endpoints", "empty, and its fallback is missing"),
        ("gone-3", "pass name_not_found", "missing, and its fallback is headless with nothing ready"),
        ("gone", "pass name_not_found", "missing, and its fallback is empty"),
    ];
    check(&fallbacks(fallbacks_of), &rows);
    check(
        &fallbacks(chain(&["shop/gone", "shop/empty", "shop/gone"])),
        &[("gone", "pass name_not_found", "missing, then empty, then a circle")],
    );
}

// As with aliases, the last fallback with a port decides.
#[test]
fn keeps_the_port_of_a_fallback_for_the_rest_of_the_chain() {
    let config = fallbacks(json!({
        "shop/empty": {"service": "shop/empty-2", "port": 9090},
        "shop/empty-2": to("shop/payments"),
        "shop/gone": {"service": "shop/gone-2", "port": 9090},
        "shop/gone-2": to("shop/payments"),
        "shop/gone-3": {"service": "shop/gone-4", "port": 9090},
        "shop/gone-4": {"service": "shop/web", "port": 8080},
    }));
    check(
        &config,
        &[
            ("empty", "fallback_no_endpoints payments.shop:9090", "through a Service without endpoints"),
            ("gone-3", "fallback_missing web.shop:8080", "the last port on the way decides"),
            ("gone", "fallback_missing payments.shop:9090", "through a missing Service"),
        ],
    );
}

#[test]
fn uses_the_fallback_of_the_first_candidate() {
    let services = json!({"prod/gone": {"ports": [{"port": 80}]}, "prod/empty": {"ports": [{"port": 80}]}});
    let fallbacks = json!({"shop/gone": to("shop/web"), "prod/gone-2": to("prod/payments")});
    let config = config(with(services, fallbacks, json!({"dns": {"extraSearches": ["prod.svc.cluster.local"]}})));
    check(
        &config,
        &[
            ("gone", "fallback_missing web.shop:80", "gone.prod would come later on the search path"),
            ("gone-2", "fallback_missing payments.prod:80", "of a later candidate"),
            ("empty", "refuse no_endpoints", "it exists, and the search ends"),
        ],
    );
}

#[test]
fn never_replaces_a_named_endpoint() {
    let config = fallbacks(json!({
        "shop/db": to("shop/web"),
        "shop/set": to("shop/payments"),
        "shop/unready": to("shop/web"),
        "shop/gone": to("shop/web"),
        "shop/empty": to("shop/web"),
    }));
    check(
        &config,
        &[
            ("db-0.db", "endpoint db-0.db.shop:80", "it exists"),
            ("db-2.db", "refuse no_endpoints", "not ready, and no other endpoint is what the client asked for"),
            ("db-9.db", "pass name_not_found", "it is missing"),
            ("set-0.set", "endpoint set-0.set.shop:80", ""),
            ("set-0.set:9090", "refuse no_endpoints", "it lacks the port; the Service's fallback does not apply"),
            ("unready-0.unready", "pass name_not_found", "of a Service without endpoints"),
            ("gone-0.gone", "pass name_not_found", "of a missing Service"),
            ("10-244-9-9.empty", "pass name_not_found", "by its address"),
        ],
    );
}

#[test]
fn follows_changes_of_the_table() {
    let mut config = fallbacks(json!({"shop/web": to("shop/payments")}));
    assert_eq!(ask(&config, "web"), "service web.shop:80");
    assert!(config.table.remove("shop", "web"));
    assert_eq!(ask(&config, "web"), "fallback_missing payments.shop:80");
    let wire = serde_json::from_value(json!({"ports": [{"port": 80}], "endpoints": []})).expect("the wire form");
    let service = byname_core::ServiceSpec::compile("shop/web", &wire).expect("a valid Service");
    config.table.put(service).expect("there is room");
    assert_eq!(ask(&config, "web"), "fallback_no_endpoints payments.shop:80");
    assert!(config.table.remove("shop", "payments"));
    assert_eq!(ask(&config, "web"), "refuse no_endpoints");
}
