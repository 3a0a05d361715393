//! What stands in for a Service that is missing or has no endpoints, and baseline namespaces.

use byname_core::{Balance, Chooser, Config, Plan, Request, Scheme, Scripted, limits::MAX_FALLBACK_HOPS};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::world::{ask, ask_over, check, config, shop, try_config, with_fields};

/// `shop()`, two more Services without endpoints, one with some, and a StatefulSet whose pod lacks one of its ports.
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

/// `cluster()` with more Services, fallbacks by the Service that they stand in for, and other fields.
fn with(more: Value, fallbacks: Value, fields: Value) -> Value {
    let services = with_fields(cluster(), more);
    let whole = json!({"fallback": {"services": fallbacks}, "table": {"version": 7, "services": services}});
    with_fields(whole, fields)
}

fn fallbacks(fallbacks: Value) -> Config {
    config(with(json!({}), fallbacks, json!({})))
}

fn to(service: &str) -> Value {
    json!({"service": service})
}

fn alias(target: &str) -> Value {
    json!({"type": "ExternalName", "externalName": target})
}

/// One fallback from each to the next.
fn chain<S: AsRef<str>>(keys: &[S]) -> Value {
    let links = keys.windows(2).map(|pair| (pair[0].as_ref().to_owned(), to(pair[1].as_ref())));
    Value::Object(links.collect())
}

/// `CLUSTER | AUTHORITY`, `-` where it is left alone, and every step.
fn decide(config: &Config, authority: &str, scheme: Scheme) -> (String, String) {
    let mut plan = Plan::default();
    let mut chooser = Chooser { balance: &mut Balance::default(), ambient: &mut Scripted::default() };
    let request = Request { authority: authority.as_bytes(), scheme };
    let (_, trace) = config.decide_traced(request, &mut chooser, &mut plan);
    let planned = format!("{} | {}", plan.cluster().unwrap_or("-"), plan.authority().unwrap_or("-"));
    (planned, trace.to_string())
}

fn body(config: &Config, authority: &str) -> String {
    let request = Request { authority: authority.as_bytes(), scheme: Scheme::Http };
    config.answer(request).map(|answer| answer.body).unwrap_or_default()
}

#[test]
fn it_stands_in_for_what_it_is_there_for() {
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
            ("GONE.shop.svc.cluster.local.", "fallback_missing payments.shop:80", "by its whole name"),
            ("gone-other", "pass name_not_found", "missing is not what its fallback is for"),
            ("gone-both", "fallback_missing payments.shop:80", "for both"),
            ("gone-any", "fallback_missing payments.shop:80", "an empty list is both"),
            ("gone-plain", "fallback_missing payments.shop:80", "and so is none"),
            ("gone.prod", "fallback_missing payments.prod:80", "whose Service it is counts, not who asks"),
            ("empty", "fallback_no_endpoints payments.shop:80", "it is there, and nothing may serve"),
            ("10.96.0.20", "fallback_no_endpoints payments.shop:80", "by its cluster IP too"),
            ("empty-2", "refuse no_endpoints", "it is there, so it is not missing"),
            ("10.96.0.22", "refuse no_endpoints", "nor by its cluster IP"),
            ("unready", "fallback_no_endpoints payments.shop:80", "headless with nothing ready: DNS has no such name"),
            ("payments", "service payments.shop:80", "it needs none"),
            ("payments:8080", "pass port_not_found", "a port that it does not have is no reason for one"),
            ("2048.shop", "service 2048.shop:80", "endpoints that are not known are not none"),
            ("db", "service db.shop:80", ""),
            ("nope", "pass name_not_found", "has none"),
            ("gone.nope", "pass name_not_found", "is another Service"),
            ("gone.nope.prod", "pass name_not_found", "and this is none"),
        ],
    );
}

#[test]
fn a_headless_service_counts_as_empty_for_noendpoints_alone() {
    let config = fallbacks(json!({"shop/unready": {"service": "shop/web", "when": ["missing"]}}));
    check(&config, &[("unready", "pass name_not_found", "it is in the table, and so it is not missing")]);
    let config = fallbacks(json!({"shop/unready": {"service": "shop/web", "when": ["noEndpoints"]}}));
    check(&config, &[("unready", "fallback_no_endpoints web.shop:80", "though DNS has no such name")]);
}

#[test]
fn the_port_is_what_was_asked_unless_it_has_its_own() {
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
            ("gone:9090", "pass name_not_found", "the other has no such port, and so it does not help"),
            ("gone-alt", "fallback_missing web.shop:8080", "its own"),
            ("gone-alt:443", "fallback_missing web.shop:8080", "whatever was asked"),
            ("gone-bad", "pass name_not_found", "its own, which the other does not have"),
            ("empty:9090", "fallback_no_endpoints payments.shop:9090", "kept"),
            ("empty:9999", "pass port_not_found", "what is empty has its ports all the same"),
            ("_http._tcp.empty", "fallback_no_endpoints payments.shop:80", "a port asked for by its name"),
            ("_grpc._tcp.empty", "fallback_no_endpoints payments.shop:9090", "is kept as the number that it had"),
            ("grpc.tcp.empty:9090", "fallback_no_endpoints payments.shop:9090", "however it is written"),
            ("_grpc._tcp.empty:80", "pass port_not_found", "a port that the name contradicts"),
            ("_dns._tcp.empty", "pass name_not_found", "and one that is not there"),
            ("empty-2", "fallback_no_endpoints web.shop:8080", "its own"),
            ("_grpc._tcp.empty-2", "fallback_no_endpoints web.shop:8080", "before a name"),
            ("set", "service set.shop:80", "its other port is served"),
            ("set:9090", "fallback_no_endpoints payments.shop:9090", "nothing serves this one"),
        ],
    );
    assert_eq!(ask_over(&config, "gone", Scheme::Https), "pass name_not_found", "443 by the scheme");
    assert_eq!(ask_over(&config, "gone-alt", Scheme::Https), "fallback_missing web.shop:8080");
}

#[test]
fn a_chain_is_followed_and_is_bounded() {
    // Services that are missing all but the last, as many fallbacks as links.
    let missing = |links: usize| {
        let mut keys: Vec<String> = (0..links).map(|link| format!("shop/gone-{link}")).collect();
        keys.push("shop/payments".into());
        chain(&keys)
    };
    let reached = "fallback_missing payments.shop:80";
    assert_eq!(ask(&fallbacks(missing(1)), "gone-0"), reached);
    assert_eq!(ask(&fallbacks(missing(MAX_FALLBACK_HOPS)), "gone-0"), reached, "as many as may be");
    let too_long = missing(MAX_FALLBACK_HOPS + 1);
    assert_eq!(ask(&fallbacks(too_long.clone()), "gone-0"), "pass name_not_found", "one more");
    assert_eq!(ask(&fallbacks(too_long.clone()), "gone-1"), reached, "from its second on it is short enough");
    let refusing = |fallbacks: Value| config(with(json!({}), fallbacks, json!({"unknownNames": "refuse"})));
    assert_eq!(ask(&refusing(too_long), "gone-0"), "refuse name_not_found");

    // The same of Services that are there.
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
fn a_circle_ends_as_if_there_were_no_fallback() {
    let missing = chain(&["shop/gone", "shop/gone-2", "shop/gone"]);
    check(&fallbacks(missing.clone()), &[("gone", "pass name_not_found", "two that are missing")]);
    check(
        &config(with(json!({}), missing, json!({"unknownNames": "refuse"}))),
        &[("gone", "refuse name_not_found", "which is refused where that is asked for")],
    );
    check(
        &fallbacks(chain(&["shop/empty", "shop/empty-2", "shop/empty"])),
        &[("empty", "refuse no_endpoints", "two that are empty"), ("10.96.0.20", "refuse no_endpoints", "by address")],
    );
    check(
        &fallbacks(chain(&["shop/empty", "shop/gone", "shop/empty"])),
        &[("empty", "refuse no_endpoints", "one that is empty, and one that is missing")],
    );
}

/// The fault that is told is that of the name that was asked for, whatever the last of the chain lacks.
#[test]
fn what_does_not_help_ends_with_the_fault_of_what_was_asked() {
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

/// As it does with aliases: the last one that has a port decides, whether the Service between is missing or empty.
#[test]
fn a_port_of_its_own_holds_for_the_rest_of_the_chain() {
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
            ("empty", "fallback_no_endpoints payments.shop:9090", "by way of an empty one"),
            ("gone-3", "fallback_missing web.shop:8080", "the last one on the way decides"),
            ("gone", "fallback_missing payments.shop:9090", "by way of a missing one"),
        ],
    );
}

#[test]
fn the_first_candidate_that_has_one_wins() {
    let services = json!({"prod/gone": {"ports": [{"port": 80}]}, "prod/empty": {"ports": [{"port": 80}]}});
    let fallbacks = json!({"shop/gone": to("shop/web"), "prod/gone-2": to("prod/payments")});
    let config = config(with(services, fallbacks, json!({"dns": {"extraSearches": ["prod.svc.cluster.local"]}})));
    check(
        &config,
        &[
            ("gone", "fallback_missing web.shop:80", "gone.prod would come later on the search path"),
            ("gone-2", "fallback_missing payments.prod:80", "of a Service that comes later"),
            ("empty", "refuse no_endpoints", "it exists, and the search ends"),
        ],
    );
}

#[test]
fn an_alias_may_lead_to_what_has_one() {
    let more = json!({
        "shop/to-gone": alias("gone.shop.svc.cluster.local"),
        "shop/to-empty": alias("empty.shop.svc.cluster.local"),
        "shop/to-unready": alias("unready.shop.svc.cluster.local"),
        "shop/to-named": alias("_grpc._tcp.empty.shop.svc.cluster.local"),
        "shop/to-nope": alias("nope.shop.svc.cluster.local"),
        "shop/to-granted": alias("gone.prod.svc.cluster.local"),
        "shop/to-denied": alias("gone.test.svc.cluster.local"),
        "shop/own-port": {"type": "ExternalName", "externalName": "gone.shop.svc.cluster.local", "alias": {"port": 9090}},
        "shop/to-alias": alias("to-gone.shop.svc.cluster.local"),
    });
    let of = json!({
        "shop/gone": to("shop/payments"),
        "shop/empty": to("shop/payments"),
        "shop/unready": to("shop/payments"),
        "prod/gone": to("prod/payments"),
        "test/gone": to("test/payments"),
        "shop/to-nope": to("shop/web"),
    });
    let grants = json!({"externalNames": {"grants": [{"from": "shop", "to": "prod"}]}});
    check(
        &config(with(more, of, grants)),
        &[
            ("to-gone", "fallback_missing payments.shop:80", "its target is missing"),
            ("to-gone:9090", "fallback_missing payments.shop:9090", "the port stays as asked"),
            ("to-alias", "fallback_missing payments.shop:80", "behind two aliases"),
            ("own-port", "fallback_missing payments.shop:9090", "the alias's own port stays too"),
            ("to-empty", "fallback_no_endpoints payments.shop:80", "its target is empty"),
            ("to-unready", "fallback_no_endpoints payments.shop:80", "headless and empty"),
            ("to-named", "fallback_no_endpoints payments.shop:9090", "a port of it by name"),
            ("to-granted", "fallback_missing payments.prod:80", "in a namespace that is granted"),
            ("to-denied", "refuse alias_denied", "a grant is asked for before anything else"),
            ("to-nope", "pass name_not_found", "a broken alias is no missing Service: it is there itself"),
        ],
    );
}

#[test]
fn it_may_lead_to_an_alias() {
    let more = json!({
        "shop/pay": alias("payments.shop.svc.cluster.local"),
        "shop/rpc": {"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local", "alias": {"port": 9090}},
        "shop/first-db": alias("db-0.db.shop.svc.cluster.local"),
        "shop/api": {"type": "ExternalName", "externalName": "api.example.com", "alias": {"port": 443, "tls": true}},
        "shop/there": alias("payments.prod.svc.cluster.local"),
        "shop/a": alias("b.shop.svc.cluster.local"),
        "shop/b": alias("a.shop.svc.cluster.local"),
        "shop/round": alias("gone-round.shop.svc.cluster.local"),
        "shop/into": alias("empty-2.shop.svc.cluster.local"),
    });
    let of = json!({
        "shop/gone": to("shop/pay"),
        "shop/gone-port": {"service": "shop/rpc", "port": 1},
        "shop/gone-db": to("shop/first-db"),
        "shop/gone-api": to("shop/api"),
        "shop/gone-there": to("shop/there"),
        "shop/gone-loop": to("shop/a"),
        "shop/gone-round": to("shop/round"),
        "shop/empty": to("shop/pay"),
        "shop/gone-into": to("shop/into"),
        "shop/empty-2": to("shop/web"),
    });
    let allow = json!({"externalNames": {"allow": [{"host": "api.example.com", "ports": [443]}]}});
    check(
        &config(with(more, of, allow)),
        &[
            ("gone", "fallback_missing payments.shop:80", "the reason is what made the request go elsewhere at first"),
            ("gone-port", "fallback_missing payments.shop:9090", "the alias comes last and decides the port"),
            ("gone-db", "fallback_missing db-0.db.shop:80", "an alias of one endpoint"),
            ("gone-api", "fallback_missing api.example.com:443", "an alias of an external host that is listed"),
            ("gone-there", "pass name_not_found", "its grants count as ever, and so it does not help"),
            ("gone-loop", "pass name_not_found", "nor does an alias that is broken"),
            ("round", "pass name_not_found", "an alias whose missing target's fallback is the alias"),
            ("gone-round", "pass name_not_found", "a fallback to an alias of what it stands in for: a circle"),
            ("empty", "fallback_no_endpoints payments.shop:80", ""),
            ("gone-into", "fallback_missing web.shop:80", "missing, an alias, empty, and one more fallback"),
        ],
    );
}

#[test]
fn an_external_host_has_to_be_listed_with_its_port() {
    let host = |host: &str, port: u16| json!({"host": host, "port": port});
    let allow = json!({"externalNames": {"allow": [
        {"host": "api.example.com", "ports": [443, 8443]}, {"host": "*.example.org", "ports": [80]},
        {"host": "localhost", "ports": [80]}, {"host": "*.internal", "ports": [80]}, {"host": "metadata", "ports": [80]},
        {"host": "payments.shop.svc.cluster.local", "ports": [80]}, {"host": "*.cluster.local", "ports": [80]},
        {"host": "cluster.local", "ports": [80]}]}});
    let of = json!({
        "shop/gone": {"host": "API.example.com.", "port": 443, "tls": true},
        "shop/gone-8443": host("api.example.com", 8443),
        "shop/gone-clear": {"host": "api.example.com", "port": 8443, "tls": false},
        "shop/gone-below": host("a.b.example.org", 80),
        "shop/empty": host("api.example.com", 443),
        "shop/empty-2": to("shop/gone-8443"),
        "shop/unready": host("api.example.com", 443),
    });
    let outside = config(with(json!({}), of, allow.clone()));
    check(
        &outside,
        &[
            ("gone", "fallback_missing api.example.com:443", "in its canonical form"),
            ("gone:80", "fallback_missing api.example.com:443", "its port is its own, so nobody chooses another"),
            ("gone-8443", "fallback_missing api.example.com:8443", "its second port"),
            ("gone-below", "fallback_missing a.b.example.org:80", "by a pattern"),
            ("empty", "fallback_no_endpoints api.example.com:443", ""),
            ("10.96.0.20", "fallback_no_endpoints api.example.com:443", "by cluster IP"),
            (
                "empty-2",
                "fallback_no_endpoints api.example.com:8443",
                "at the end of a chain: the first decides the reason",
            ),
            ("unready", "fallback_no_endpoints api.example.com:443", ""),
        ],
    );
    for (authority, scheme, planned) in [
        ("gone", Scheme::Http, "external-tls|443|api.example.com | api.example.com"),
        ("gone", Scheme::Https, "external-tls|443|api.example.com | api.example.com"),
        ("gone-8443", Scheme::Http, "external|8443|api.example.com | api.example.com:8443"),
        ("gone-8443", Scheme::Https, "external-tls|8443|api.example.com | api.example.com:8443"),
        ("gone-clear", Scheme::Https, "external|8443|api.example.com | api.example.com:8443"),
    ] {
        assert_eq!(decide(&outside, authority, scheme).0, planned, "{authority} over {scheme:?}");
    }

    for (name, port, why) in [
        ("api.example.com", 80, "a port that is not listed"),
        ("other.example.com", 443, "a host that is not"),
        ("example.org", 80, "a pattern leaves out the domain itself"),
        ("localhost", 80, "never, whatever is listed"),
        ("metadata", 80, "never"),
        ("metadata.google.internal", 80, "never"),
        ("instance-data.eu-west-1.compute.internal", 80, "never"),
        ("payments.shop.svc.cluster.local", 80, "inside the cluster: name it as a Service"),
        ("x.cluster.local", 80, "below the cluster domain"),
        ("cluster.local", 80, "the cluster domain itself"),
        ("10.0.0.1", 80, "an address"),
    ] {
        let error = try_config(with(json!({}), json!({"shop/gone": host(name, port)}), allow.clone())).expect_err(why);
        let expected = format!("fallback.services[\"shop/gone\"].host: \"{name}\" is not listed with this port");
        assert!(error.starts_with(&expected), "{why}: {error}");
    }
}

#[test]
fn a_dynamic_forward_proxy_is_told_its_host_and_port() {
    let fields = json!({
        "externalNames": {"allow": [{"host": "api.example.com", "ports": [443]}]},
        "steering": {"external": {"cluster": "dfp", "tlsCluster": "dfp-tls", "dynamicForwardProxy": true}},
    });
    let config =
        config(with(json!({}), json!({"shop/gone": {"host": "api.example.com", "port": 443, "tls": true}}), fields));
    let mut plan = Plan::default();
    let mut chooser = Chooser { balance: &mut Balance::default(), ambient: &mut Scripted::default() };
    config.decide(Request { authority: b"gone", scheme: Scheme::Http }, &mut chooser, &mut plan);
    assert_eq!((plan.cluster(), plan.dynamic_host()), (Some("dfp-tls"), Some(("api.example.com", 443))));
}

#[test]
fn nothing_stands_in_for_one_endpoint() {
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
            ("db-0.db", "endpoint db-0.db.shop:80", "it is there"),
            ("db-2.db", "pass name_not_found", "it is not ready: another would not be what was asked for"),
            ("db-9.db", "pass name_not_found", "it is missing"),
            ("set-0.set", "endpoint set-0.set.shop:80", ""),
            ("set-0.set:9090", "refuse no_endpoints", "it lacks the port, for which the Service has a fallback"),
            ("unready-0.unready", "pass name_not_found", "of an empty Service"),
            ("gone-0.gone", "pass name_not_found", "of a missing one"),
            ("10-244-9-9.empty", "pass name_not_found", "by its address"),
        ],
    );
}

#[test]
fn another_namespace_needs_a_grant_when_it_is_read() {
    let grant = |from: &str, to: &str| json!({"externalNames": {"grants": [{"from": from, "to": to}]}});
    let of = |key: &str, target: &str| Value::Object([(key.to_owned(), to(target))].into_iter().collect());
    let error = try_config(with(json!({}), of("shop/gone", "prod/payments"), json!({}))).expect_err("not granted");
    assert_eq!(
        error,
        "fallback.services[\"shop/gone\"].service: \"prod/payments\" is in another namespace, which is not granted; \
        grant it in externalNames.grants, or name a Service of the same namespace"
    );
    assert!(
        try_config(with(json!({}), of("shop/gone", "prod/payments"), grant("prod", "shop"))).is_err(),
        "a grant has a direction"
    );
    assert!(
        try_config(with(json!({}), of("prod/gone", "test/payments"), grant("shop", "test"))).is_err(),
        "whose fallback it is counts, not who asks"
    );
    assert!(
        try_config(with(json!({}), of("shop/gone", "nope/nothing"), grant("shop", "prod"))).is_err(),
        "whether or not it is in the table"
    );
    let granted = |key: &str, target: &str, grants: Value| config(with(json!({}), of(key, target), grants));
    check(
        &granted("shop/gone", "prod/payments", grant("shop", "prod")),
        &[("gone", "fallback_missing payments.prod:80", "granted")],
    );
    check(
        &granted("shop/empty", "prod/payments", grant("shop", "prod")),
        &[("empty", "fallback_no_endpoints payments.prod:80", "granted")],
    );
    check(
        &granted("prod/gone", "shop/payments", grant("prod", "shop")),
        &[("gone.prod", "fallback_missing payments.shop:80", "granted to prod")],
    );
    // Each link by itself: from shop to test none is needed.
    let links = chain(&["shop/gone", "prod/gone", "test/payments"]);
    let grants = json!([{"from": "shop", "to": "prod"}, {"from": "prod", "to": "test"}]);
    let test = json!({"test/payments": {"ports": [{"port": 80}]}});
    check(
        &config(with(test, links, json!({"externalNames": {"grants": grants}}))),
        &[("gone", "fallback_missing payments.test:80", "each link has its own")],
    );
}

/// The namespaces of a test environment, `test-1`, which has a few Services of its own, and `staging`, which has all.
fn staged(fallbacks: Value, fields: Value) -> Config {
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
fn a_baseline_has_what_the_own_namespace_lacks() {
    check(
        &staged(json!({}), json!({})),
        &[
            ("payments", "baseline payments.staging:80", "it is not in test-1"),
            ("PAYMENTS:9090", "baseline payments.staging:9090", "the port stays as asked"),
            ("payments:8080", "pass port_not_found", "its ports count"),
            ("db-0.db", "baseline db-0.db.staging:80", "one endpoint"),
            ("10-244-5-2.payments", "baseline 10-244-5-2.payments.staging:80", "one by its address"),
            ("db-9.db", "pass name_not_found", "which is not there"),
            ("_http._tcp.payments", "baseline payments.staging:80", "a port by its name"),
            ("_grpc._tcp.payments", "baseline payments.staging:9090", "another"),
            ("pay", "baseline payments.staging:80", "an alias there"),
            ("api", "baseline api.example.com:443", "one of an external host"),
            ("bank", "refuse alias_denied", "one that leads where it may not"),
            ("empty", "refuse no_endpoints", "it is there, and empty"),
            ("cart", "service cart.test-1:80", "the own namespace first"),
            ("cart.staging", "service cart.staging:80", "by its namespace the other is reached as ever"),
            ("payments.staging", "service payments.staging:80", "by the search path, which has no reason to name it"),
            ("payments.test-1", "pass name_not_found", "whoever names the namespace means it"),
            ("payments.test-1.svc.cluster.local", "pass name_not_found", ""),
            ("ledger", "pass name_not_found", "the baseline of test-2 is not that of test-1"),
            ("nope", "pass name_not_found", "is nowhere"),
            ("10.96.0.30", "cluster_ip payments.staging:80", "an address has no search path"),
            ("www.example.org", "pass name_not_found", "a public name"),
        ],
    );
}

#[test]
fn what_is_broken_here_is_not_taken_from_the_baseline() {
    let rows = [
        ("down", "refuse no_endpoints", "it is here, and empty: to take another in its place has to be asked for"),
        ("queue", "pass name_not_found", "an alias that leads nowhere is broken"),
        ("orders", "refuse alias_denied", "one that is not granted as well"),
    ];
    check(&staged(json!({}), json!({})), &rows);
    let grants = json!({"externalNames": {"grants": [{"from": "test-1", "to": "staging"}]}});
    let down = json!({"test-1/down": {"service": "staging/down", "when": ["noEndpoints"]}});
    check(
        &staged(down, grants.clone()),
        &[
            ("down", "fallback_no_endpoints down.staging:80", "its own fallback says so"),
            ("payments", "baseline payments.staging:80", "all else as before"),
            ("orders", "alias orders.staging:80", "granted"),
        ],
    );
    check(
        &staged(json!({"test-1/down": {"service": "staging/down", "when": ["missing"]}}), grants.clone()),
        &[("down", "refuse no_endpoints", "one for another case does not")],
    );
    check(
        &staged(json!({"test-1/payments": to("staging/spare")}), grants),
        &[("payments", "fallback_missing spare.staging:80", "a fallback comes before the baseline")],
    );
}

/// DNS has no such name, so that the search goes on, and the baseline stands at its end.
#[test]
fn a_headless_service_with_nothing_ready_is_looked_up_in_the_baseline() {
    check(&staged(json!({}), json!({})), &[("asleep", "baseline asleep.staging:80", "")]);
}

#[test]
fn a_service_of_the_baseline_may_have_a_fallback() {
    let of = json!({
        "staging/empty": to("staging/spare"),
        "staging/gone": to("staging/spare"),
        "staging/gone-2": to("staging/gone-2b"),
        "staging/gone-api": {"host": "api.example.com", "port": 443},
    });
    check(
        &staged(of, json!({})),
        &[
            ("empty", "baseline spare.staging:80", "it is empty there; the first reason is told"),
            ("gone", "baseline spare.staging:80", "it is missing there too"),
            ("gone-2", "pass name_not_found", "whose fallback is missing"),
            ("gone-api", "baseline api.example.com:443", "an external one"),
        ],
    );
}

#[test]
fn a_name_that_is_not_searched_for_has_no_baseline() {
    let absolute =
        [("payments.", "pass public_name", "with a dot it is a whole name"), ("payments.svc.", "pass public_name", "")];
    check(&staged(json!({}), json!({})), &absolute);
    let dns = |resolver: &str, ndots: u8| json!({"dns": {"resolver": resolver, "ndots": ndots}});
    check(
        &staged(json!({}), dns("musl", 1)),
        &[
            ("payments", "baseline payments.staging:80", "it has fewer dots than ndots"),
            ("db-0.db", "pass public_name", "it has as many: musl does not search for it"),
        ],
    );
    check(
        &staged(json!({}), dns("glibc", 1)),
        &[("db-0.db", "pass public_name", "glibc asks public DNS first, whose answer nobody knows")],
    );
    check(
        &staged(json!({}), dns("musl", 2)),
        &[("db-0.db", "baseline db-0.db.staging:80", ""), ("www.example.org", "pass public_name", "public")],
    );
    // Names of the cluster, asked as they are: glibc tries the list behind them, musl does not.
    let whole = "db-0.db.svc.cluster.local";
    check(&staged(json!({}), dns("musl", 1)), &[(whole, "pass name_not_found", "")]);
    check(&staged(json!({}), dns("glibc", 1)), &[(whole, "pass name_not_found", "too long a form for the baseline")]);
    let refuse = |dns: Value| json!({"dns": dns, "unknownNames": "refuse"});
    check(
        &staged(json!({}), refuse(json!({}))),
        &[
            ("payments", "baseline payments.staging:80", "unknown names are those that the baseline lacks too"),
            ("nope", "refuse name_not_found", ""),
            ("www.example.org", "refuse name_not_found", "as without a baseline"),
        ],
    );
}

#[test]
fn a_public_name_is_passed_where_the_baseline_has_none_like_it() {
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
            ("www.unlisted", "pass name_not_found", "so that this is passed"),
        ],
    );
}

#[test]
fn only_callers_of_the_namespace_have_its_baseline() {
    let from = |namespace: &str| staged(json!({}), json!({"caller": {"namespace": namespace}}));
    check(&from("test-1"), &[("payments", "baseline payments.staging:80", "")]);
    check(&from("test-2"), &[("ledger", "baseline ledger.prod:80", ""), ("payments", "pass name_not_found", "")]);
    check(&from("test-3"), &[("payments", "pass name_not_found", "has none"), ("ledger", "pass name_not_found", "")]);
    check(
        &from("staging"),
        &[
            ("payments", "service payments.staging:80", "itself"),
            ("ledger", "pass name_not_found", "one step, no more"),
        ],
    );
}

#[test]
fn the_baseline_comes_after_the_whole_search_list() {
    let dns = json!({"dns": {"extraSearches": ["prod.svc.cluster.local", "staging.svc.cluster.local"]}});
    check(
        &staged(json!({}), dns),
        &[
            ("ledger", "service ledger.prod:80", "an extra domain is no baseline"),
            ("payments", "service payments.staging:80", "found before the baseline is asked"),
        ],
    );
    let searches = json!({"dns": {"searches": ["svc.cluster.local"]}});
    check(
        &staged(json!({}), searches),
        &[("cart", "baseline cart.staging:80", "a list of one's own without the own namespace")],
    );
    let domain = json!({"dns": {"clusterDomain": "k8s.example"}});
    let config = staged(json!({}), domain);
    let (planned, _) = decide(&config, "payments", Scheme::Http);
    assert_eq!(planned, "outbound|80||payments.staging.svc.k8s.example | payments.staging.svc.k8s.example");
}

#[test]
fn the_authority_changes_with_the_service() {
    let steering = |rewrite: &str| {
        let allow = json!([{"host": "api.example.com", "ports": [443]}]);
        json!({"steering": {"rewriteAuthority": rewrite}, "externalNames": {"allow": allow}})
    };
    let of = json!({
        "shop/gone": to("shop/web"), "shop/empty": to("shop/web"), "shop/unready": {"host": "api.example.com", "port": 443},
    });
    let alias_only = config(with(json!({}), of.clone(), steering("alias")));
    for (authority, planned) in [
        ("gone", "outbound|80||web.shop.svc.cluster.local | web.shop.svc.cluster.local"),
        ("empty", "outbound|80||web.shop.svc.cluster.local | web.shop.svc.cluster.local"),
        ("unready", "external|443|api.example.com | api.example.com:443"),
        ("web", "outbound|80||web.shop.svc.cluster.local | -"),
    ] {
        assert_eq!(decide(&alias_only, authority, Scheme::Http).0, planned, "{authority}");
    }
    let never = config(with(json!({}), of, steering("never")));
    assert_eq!(decide(&never, "gone", Scheme::Http).0, "outbound|80||web.shop.svc.cluster.local | -");
    assert_eq!(decide(&never, "unready", Scheme::Http).0, "external|443|api.example.com | api.example.com:443");

    let staged = staged(json!({}), json!({"steering": {"rewriteAuthority": "alias"}}));
    for (authority, planned) in [
        ("payments", "outbound|80||payments.staging.svc.cluster.local | payments.staging.svc.cluster.local"),
        ("db-0.db", "outbound|80||db-0.db.staging.svc.cluster.local | db-0.db.staging.svc.cluster.local"),
        ("cart", "outbound|80||cart.test-1.svc.cluster.local | -"),
    ] {
        assert_eq!(decide(&staged, authority, Scheme::Http).0, planned, "{authority}");
    }
}

#[test]
fn a_trace_tells_what_stood_in_and_why() {
    let of = json!({
        "shop/gone": to("shop/gone-2"),
        "shop/gone-2": {"service": "shop/payments", "port": 9090},
        "shop/empty": {"host": "api.example.com", "port": 443, "tls": true},
        "shop/empty-2": to("shop/gone-3"),
        "shop/gone-3": to("shop/empty-2"),
    });
    let allow = json!({"externalNames": {"allow": [{"host": "api.example.com", "ports": [443]}]}});
    let config = config(with(json!({}), of, allow));
    let rows = [
        (
            "gone",
            "table 7; gone.shop.svc.cluster.local does not exist: no such Service; \
            shop/gone is missing: fallback shop/gone-2 does not exist: no such Service; \
            shop/gone-2 is missing: fallback shop/payments exists; \
            port 9090 by the fallback is a port of the Service called grpc; 1 of 2 endpoints may serve by IPv4; \
            cluster outbound|9090||payments.shop.svc.cluster.local by steering.cluster, \
            authority payments.shop.svc.cluster.local:9090",
        ),
        (
            "10.96.0.20",
            "table 7; 10.96.0.20 is the cluster IP of shop/empty; port 80 by the scheme is a port of the Service called http; \
            0 of 0 endpoints may serve: none is ready or serves while it terminates; \
            shop/empty has no endpoints: fallback api.example.com is external, on port 443; \
            cluster external-tls|443|api.example.com by steering.external.tlsCluster, authority api.example.com",
        ),
        (
            "_grpc._tcp.empty-2",
            "table 7; _grpc._tcp.empty-2.shop.svc.cluster.local exists; \
            port 9090 by its name is a port of the Service called grpc; \
            0 of 0 endpoints may serve: none is ready or serves while it terminates; \
            shop/empty-2 has no endpoints: fallback shop/gone-3 does not exist: no such Service; \
            shop/gone-3 is missing: fallback shop/empty-2 exists; \
            port 9090 by its name is a port of the Service called grpc; \
            0 of 0 endpoints may serve: none is ready or serves while it terminates; \
            shop/empty-2 has no endpoints: fallback shop/gone-3 was followed before: a circle",
        ),
    ];
    for (authority, expected) in rows {
        assert_eq!(decide(&config, authority, Scheme::Http).1, expected);
    }
    assert_eq!(
        decide(&staged(json!({}), json!({})), "payments", Scheme::Http).1,
        "table 7; payments.test-1.svc.cluster.local does not exist: no such Service; \
        payments.svc.cluster.local does not exist: no name of the cluster has this form; \
        payments.cluster.local does not exist: no name of the cluster has this form; \
        payments is outside the cluster domain: may differ from DNS; payments.staging.svc.cluster.local exists; \
        port 80 by the scheme is a port of the Service called http; 1 of 1 endpoints may serve by IPv4; \
        cluster outbound|80||payments.staging.svc.cluster.local by steering.cluster, \
        authority payments.staging.svc.cluster.local"
    );
}

#[test]
fn an_answer_names_the_fallback_that_did_not_help() {
    let more = json!({"shop/to-gone": alias("gone.shop.svc.cluster.local")});
    let of = json!({
        "shop/empty": to("shop/spare"), "shop/gone": to("shop/spare"), "shop/empty-2": to("shop/unready"),
    });
    let refusing = config(with(more, of, json!({"unknownNames": "refuse"})));
    assert_eq!(
        body(&refusing, "empty"),
        "byname: no_endpoints: \"empty\" from namespace shop: empty.shop.svc.cluster.local: 0 of 0 endpoints may serve: \
        none is ready or serves while it terminates; shop/empty has no endpoints: fallback shop/spare does not exist: \
        no such Service; look at the Service's selector and at the readiness of its pods\n"
    );
    assert_eq!(
        body(&refusing, "empty-2"),
        "byname: no_endpoints: \"empty-2\" from namespace shop: empty-2.shop.svc.cluster.local: 0 of 0 endpoints may serve: \
        none is ready or serves while it terminates; shop/empty-2 has no endpoints: fallback shop/unready does not exist: \
        the Service is headless and no endpoint is ready; look at the Service's selector and at the readiness of its pods\n"
    );
    assert_eq!(
        body(&refusing, "gone."),
        "byname: name_not_found: \"gone.\" from namespace shop: none of these exists: gone; \
        check the name and the namespace: kubectl get service --all-namespaces shows them\n",
        "an absolute name is not looked for, and so has no fallback"
    );
    let missing = body(&refusing, "gone");
    assert!(missing.contains("none of these exists: gone.shop.svc.cluster.local gone.svc.cluster.local"), "{missing}");
    assert!(
        missing.contains("; shop/gone is missing: fallback shop/spare does not exist: no such Service; "),
        "{missing}"
    );
    let baseline = staged(json!({}), json!({"unknownNames": "refuse"}));
    assert!(body(&baseline, "nope").contains(" nope.staging.svc.cluster.local;"), "{}", body(&baseline, "nope"));
}

/// The alias is there: what it leads to is not, and that is what the answer has to say.
#[test]
fn an_answer_to_a_broken_alias_does_not_say_that_the_alias_is_missing() {
    let more = json!({"shop/to-gone": alias("gone.shop.svc.cluster.local")});
    let refusing = config(with(more, json!({"shop/gone": to("shop/spare")}), json!({"unknownNames": "refuse"})));
    let body = body(&refusing, "to-gone");
    assert!(body.contains("shop/spare"), "{body}");
    assert!(!body.contains("none of these exists: to-gone.shop.svc.cluster.local"), "{body}");
}

#[test]
fn a_table_that_changes_changes_what_stands_in() {
    let mut config = fallbacks(json!({"shop/web": to("shop/payments")}));
    assert_eq!(ask(&config, "web"), "service web.shop:80");
    assert!(config.table.remove("shop", "web"));
    assert_eq!(ask(&config, "web"), "fallback_missing payments.shop:80");
    let wire = serde_json::from_value(json!({"ports": [{"port": 80}], "endpoints": []})).expect("the wire form");
    let service = byname_core::Service::compile("shop/web", &wire).expect("it is good");
    config.table.put(service).expect("there is room");
    assert_eq!(ask(&config, "web"), "fallback_no_endpoints payments.shop:80");
    assert!(config.table.remove("shop", "payments"));
    assert_eq!(ask(&config, "web"), "refuse no_endpoints");
}
