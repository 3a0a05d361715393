//! ExternalName Services: which targets they may have, and which targets are always refused.

use byname_core::Scheme;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{ask, ask_over, check, config, plan, services, shop};

fn alias(target: &str) -> Value {
    json!({"type": "ExternalName", "externalName": target})
}

/// A configuration with `shop()`, these aliases, and this policy.
fn aliases(aliases: &[(&str, &str)], policy: Value) -> byname_core::Config {
    let mut services = shop();
    for (name, target) in aliases {
        services[*name] = alias(target);
    }
    config(json!({"externalNames": policy, "table": {"services": services}}))
}

#[test]
fn treats_a_target_as_absolute_and_keeps_the_port() {
    let config = aliases(
        &[
            ("shop/pay", "payments.shop.svc.cluster.local"),
            ("shop/pay-dot", "Payments.Shop.svc.cluster.LOCAL."),
            ("shop/short", "payments.shop"),
            ("shop/gone", "nope.shop.svc.cluster.local"),
            ("shop/first-db", "db-0.db.shop.svc.cluster.local"),
            ("shop/rpc", "_grpc._tcp.payments.shop.svc.cluster.local"),
            ("shop/pod", "10-244-0-7.shop.pod.cluster.local"),
            ("shop/bare", "cluster.local"),
        ],
        json!({}),
    );
    check(
        &config,
        &[
            ("pay", "alias payments.shop:80", "inside its own namespace an alias needs no grant"),
            ("pay:9090", "alias payments.shop:9090", "the requested port stays, declared on the alias or not"),
            ("pay:8080", "pass port_not_found", "the target's ports count"),
            ("pay.shop.svc.cluster.local.", "alias payments.shop:80", "by its full name"),
            ("pay-dot", "alias payments.shop:80", "a dot and case change nothing"),
            (
                "short",
                "pass external as payments.shop:80",
                "payments.shop is outside the cluster domain: no search path applies to a target",
            ),
            ("gone", "pass name_not_found as nope.shop:80", "a target that does not exist"),
            ("first-db", "alias db-0.db.shop:80", "one endpoint"),
            ("rpc", "alias payments.shop:9090", "a named port"),
            ("rpc:80", "pass port_not_found", "and no other"),
            ("pod:8080", "refuse alias_denied", "a pod: any namespace may stand in its name, and it has no cluster"),
            ("bare", "pass name_not_found as cluster.local:80", "the cluster domain itself has no address"),
            ("x.pay", "pass name_not_found", "nothing is below an alias"),
            ("_http._tcp.pay", "pass name_not_found", "no port has a name below an alias"),
        ],
    );
}

#[test]
fn follows_an_alias_wherever_its_caller_may_go() {
    let names = [
        ("shop/there", "payments.prod.svc.cluster.local"),
        ("shop/first", "db-0.db.shop.svc.cluster.local"),
        ("shop/via", "back.prod.svc.cluster.local"),
        ("prod/back", "payments.shop.svc.cluster.local"),
        ("shop/gone", "secret.prod.svc.cluster.local"),
        ("shop/deep", "gone.shop.svc.cluster.local"),
        ("shop/outside", "api.example.com"),
        ("shop/listed", "pay.example.com"),
        ("shop/pod", "10-244-0-8.prod.pod.cluster.local"),
        ("shop/evil", "metadata.google.internal"),
    ];
    let allow = json!([{"host": "pay.example.com", "ports": [443]}]);
    let pass = aliases(&names, json!({"allow": allow}));
    check(
        &pass,
        &[
            ("there", "alias payments.prod:80", "a Service of another namespace, which the caller may ask for itself"),
            ("via", "alias payments.shop:80", "through an alias of another namespace"),
            (
                "gone",
                "pass name_not_found as secret.prod:80",
                "not in the table, as secret.prod itself would be passed",
            ),
            ("deep", "pass name_not_found as secret.prod:80", "by the last alias's target"),
            (
                "outside:8080",
                "pass external as api.example.com:8080",
                "under the target's name, at the port that was asked for",
            ),
            ("listed:443", "external pay.example.com:443", "a listed target has a cluster"),
            ("listed", "pass external as pay.example.com:80", "at its other ports it is passed on"),
            ("pod", "refuse alias_denied", "a pod is never a target"),
            ("evil", "refuse alias_denied", "nor is a metadata service"),
        ],
    );
    let mut services = shop();
    for (name, target) in names {
        services[name] = alias(target);
    }
    let policy = json!({"allow": allow});
    let refuse = config(json!({"externalNames": policy, "unknownNames": "refuse", "table": {"services": services}}));
    check(
        &refuse,
        &[
            ("there", "alias payments.prod:80", "in the table, so known"),
            ("gone", "refuse name_not_found", "as secret.prod itself"),
            ("outside", "refuse alias_denied", "as any other unknown name"),
            ("listed:443", "external pay.example.com:443", "listed, so known"),
        ],
    );
}

#[test]
fn refuses_to_pass_on_an_alias_that_would_lose_its_port_or_tls() {
    let with = |target: &str, own: Value| json!({"type": "ExternalName", "externalName": target, "alias": own});
    let mut services = shop();
    services["shop/tls"] = with("api.example.com", json!({"port": 443, "tls": true}));
    services["shop/plain"] = with("api.example.com", json!({"tls": false}));
    services["shop/front"] = alias("tls.shop.svc.cluster.local");
    services["shop/chain"] = with("end.shop.svc.cluster.local", json!({"port": 443}));
    services["shop/end"] = alias("api.example.com");
    services["shop/gone"] = with("secret.prod.svc.cluster.local", json!({"port": 443}));
    services["prod/unknown"] = json!({"ports": [{"port": 80}]});
    services["shop/endpoint"] = with("db-0.unknown.prod.svc.cluster.local", json!({"port": 8443}));
    services["shop/as-it-is"] = alias("db-0.unknown.prod.svc.cluster.local");
    let listed = json!({"mode": "listed", "grants": [{"from": "shop", "to": "prod"}]});
    let listed = config(json!({"externalNames": listed, "table": {"services": services}}));
    check(
        &listed,
        &[
            ("endpoint", "refuse alias_denied", "whose endpoints are not in the table"),
            ("as-it-is", "pass name_not_found", "it loses nothing"),
        ],
    );
    let config = config(json!({"table": {"services": services}}));
    check(
        &config,
        &[
            ("tls", "refuse alias_denied", "it would go on in plaintext"),
            ("plain", "refuse alias_denied", ""),
            ("front", "refuse alias_denied", "through another alias"),
            ("chain", "refuse alias_denied", "by an alias further back"),
            ("gone", "refuse alias_denied", "inside the cluster too"),
            ("endpoint", "refuse alias_denied", "whose endpoints are not in the table"),
            ("as-it-is", "pass name_not_found as db-0.unknown.prod:80", "it loses nothing"),
        ],
    );
}

#[test]
fn stays_strict_where_a_configuration_has_grants_and_no_mode() {
    let names = [("shop/there", "payments.prod.svc.cluster.local"), ("shop/outside", "api.example.com")];
    let grants = json!([{"from": "prod", "to": "shop"}]);
    let strict = [
        ("there", "refuse alias_denied", "no grant from shop to prod"),
        ("outside", "refuse alias_denied", "not listed"),
    ];
    check(&aliases(&names, json!({"grants": grants})), &strict);
    check(&aliases(&names, json!({"mode": "listed"})), &strict);
    let follow = [
        ("there", "alias payments.prod:80", "the mode is named"),
        ("outside", "pass external as api.example.com:80", ""),
    ];
    check(&aliases(&names, json!({"mode": "follow", "grants": grants})), &follow);
}

#[test]
fn rewrites_the_authority_of_an_alias_that_is_passed_on() {
    let config = aliases(&[("shop/outside", "api.example.com")], json!({}));
    for (asked, sent) in
        [("outside", "api.example.com"), ("outside:80", "api.example.com"), ("outside:8080", "api.example.com:8080")]
    {
        assert_eq!(plan(&config, asked, Scheme::Http).authority(), Some(sent), "{asked}");
    }
}

#[test]
fn requires_a_grant_for_each_hop_into_another_namespace() {
    let names = [
        ("shop/there", "payments.prod.svc.cluster.local"),
        ("shop/via", "door.prod.svc.cluster.local"),
        ("prod/door", "payments.prod.svc.cluster.local"),
        ("prod/back", "payments.shop.svc.cluster.local"),
        ("shop/round", "back.prod.svc.cluster.local"),
        ("shop/gone", "secret.prod.svc.cluster.local"),
        ("shop/gone-db", "db-0.db.prod.svc.cluster.local"),
        ("shop/pod", "10-244-0-8.prod.pod.cluster.local"),
    ];
    check(
        &aliases(&names, json!({"mode": "listed"})),
        &[
            ("there", "refuse alias_denied", "nothing is granted"),
            ("gone", "refuse alias_denied", "a Service outside the table may still exist"),
            ("gone-db", "refuse alias_denied", "so may an endpoint"),
            ("door.prod", "alias payments.prod:80", "the namespace of the alias counts, not that of the caller"),
        ],
    );
    check(
        &aliases(&names, json!({"grants": [{"from": "shop", "to": "prod"}]})),
        &[
            ("there", "alias payments.prod:80", "granted"),
            ("via", "alias payments.prod:80", "the second hop stays in its own namespace"),
            ("round", "refuse alias_denied", "from prod to shop is not granted"),
            ("gone", "pass name_not_found", "granted, but missing"),
            ("pod", "refuse alias_denied", "a pod is never a target"),
        ],
    );
}

#[test]
fn requires_host_and_port_of_an_external_target_to_be_listed() {
    let names = [
        ("shop/api", "api.example.com"),
        ("shop/deep", "a.b.pay.example.org"),
        ("shop/apex", "pay.example.org"),
        ("shop/close", "xpay.example.org"),
    ];
    let allow = json!({"mode": "listed", "allow": [{"host": "API.example.com.", "ports": [443, 8443]}, {"host": "*.pay.example.org", "ports": [80]},
                                 {"host": "*.example.org", "ports": [8080]}]});
    check(&aliases(&names, json!({"mode": "listed"})), &[("api:443", "refuse alias_denied", "nothing is listed")]);
    check(
        &aliases(&names, allow),
        &[
            ("api:443", "external api.example.com:443", "listed"),
            ("api:8443", "external api.example.com:8443", "its second port"),
            ("api", "refuse alias_denied", "port 80 is not"),
            ("deep", "external a.b.pay.example.org:80", "below the domain, at any depth"),
            ("deep:8080", "external a.b.pay.example.org:8080", "by a wider pattern as well"),
            ("apex", "refuse alias_denied", "a pattern leaves out the domain itself"),
            ("apex:8080", "external pay.example.org:8080", "which another one covers"),
            ("close", "refuse alias_denied", "labels are matched whole"),
        ],
    );
}

#[test]
fn refuses_some_targets_whatever_is_listed() {
    for target in [
        "localhost",
        "x.localhost",
        "localhost.localdomain",
        "localhost4.localdomain4",
        "localhost6.localdomain6",
        "x.localhost6",
        "ip6-localhost",
        "ip6-loopback",
        "metadata",
        "metadata.google.internal",
        "a.metadata.google.internal",
        "metadata.goog",
        "metadata.azure.com",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
        "metadata.platformequinix.com",
        "metadata.packet.net",
        "rancher-metadata",
        "instance-data",
        "instance-data.ec2.internal",
        "instance-data.eu-west-1.compute.internal",
        "127-0-0-1.shop.pod.cluster.local",
        "169-254-169-254.shop.pod.cluster.local",
    ] {
        let allow = json!({"allow": [{"host": target, "ports": [80]}, {"host": "*.internal", "ports": [80]},
                                     {"host": "*.localhost", "ports": [80]}]});
        let config = aliases(&[("shop/evil", target)], allow.clone());
        assert_eq!(ask(&config, "evil"), "refuse alias_denied", "{target}");
        let with_port = json!({"type": "ExternalName", "externalName": target, "alias": {"port": 80}});
        let config =
            crate::fixture::config(json!({"externalNames": allow, "table": {"services": {"shop/evil": with_port}}}));
        assert_eq!(ask(&config, "evil:1"), "refuse alias_denied", "{target}, at a port of the alias's own");
    }
}

#[test]
fn follows_ten_hops_and_refuses_circles() {
    let chain = |hops: usize| {
        let mut services = shop();
        for hop in 1..hops {
            services[format!("shop/a{hop}")] = alias(&format!("a{}.shop.svc.cluster.local", hop + 1));
        }
        services[format!("shop/a{hops}")] = alias("payments.shop.svc.cluster.local");
        crate::fixture::services(services)
    };
    assert_eq!(ask(&chain(2), "a1"), "alias payments.shop:80", "an alias of an alias");
    assert_eq!(ask(&chain(10), "a1"), "alias payments.shop:80", "ten hops");
    assert_eq!(ask(&chain(11), "a1"), "refuse alias_loop", "eleven");

    let circles = aliases(
        &[
            ("shop/self", "self.shop.svc.cluster.local"),
            ("shop/a", "b.shop.svc.cluster.local"),
            ("shop/b", "c.shop.svc.cluster.local"),
            ("shop/c", "b.shop.svc.cluster.local"),
        ],
        json!({}),
    );
    check(
        &circles,
        &[("self", "refuse alias_loop", "an alias of itself"), ("a", "refuse alias_loop", "a circle further on")],
    );
}

#[test]
fn stops_at_the_first_broken_alias() {
    let services = json!({
        "shop/api": alias("gone.shop.svc.cluster.local"),
        "shop/svc": {"ports": [{"port": 80}]},
        "svc/api": {"ports": [{"port": 80}]},
    });
    let config = config(json!({"dns": {"extraSearches": ["svc.svc.cluster.local"]}, "table": {"services": services}}));
    assert_eq!(
        ask(&config, "api"),
        "pass name_not_found as gone.shop:80",
        "api.svc.svc.cluster.local exists, and would hide the broken alias"
    );
}

#[test]
fn uses_the_port_and_tls_of_the_alias() {
    let mut services = shop();
    services["shop/api"] =
        json!({"type": "ExternalName", "externalName": "api.example.com", "alias": {"port": 443, "tls": true}});
    services["shop/plain"] =
        json!({"type": "ExternalName", "externalName": "api.example.com", "alias": {"port": 8080}});
    services["shop/rpc"] =
        json!({"type": "ExternalName", "externalName": "payments.shop.svc.cluster.local", "alias": {"port": 9090}});
    services["shop/front"] = alias("api.shop.svc.cluster.local");
    services["shop/first"] =
        json!({"type": "ExternalName", "externalName": "plain.shop.svc.cluster.local", "alias": {"port": 1}});
    services["shop/named"] = json!({"type": "ExternalName", "externalName": "_http._tcp.payments.shop.svc.cluster.local",
        "alias": {"port": 9090}});
    let allow = json!([{"host": "api.example.com", "ports": [443, 8080]}]);
    let config = config(json!({"externalNames": {"allow": allow}, "table": {"services": services}}));
    check(
        &config,
        &[
            ("api", "external api.example.com:443", "whatever port was requested"),
            ("api:1234", "external api.example.com:443", "so no client can choose another port"),
            ("plain", "external api.example.com:8080", ""),
            ("rpc", "alias payments.shop:9090", "inside the cluster too"),
            ("front", "external api.example.com:443", "the last alias on the way decides"),
            ("first", "external api.example.com:8080", "and not the first"),
            ("named", "pass port_not_found", "a port that the target's own name contradicts"),
        ],
    );
    assert_eq!(ask_over(&config, "plain", Scheme::Https), "external api.example.com:8080");
    for (bytes, scheme) in
        [("https", Scheme::Https), ("HTTPS", Scheme::Https), ("http", Scheme::Http), ("", Scheme::Http)]
    {
        assert_eq!(Scheme::from_bytes(bytes.as_bytes()), scheme, "{bytes:?}");
    }
}

#[test]
fn ignores_the_ports_of_an_alias() {
    let config = services(json!({
        "shop/pay": {"type": "ExternalName", "externalName": "orders.shop.svc.cluster.local", "ports": [{"port": 1}]},
        "shop/orders": {"ports": [{"port": 80}]},
    }));
    check(&config, &[("pay", "alias orders.shop:80", ""), ("pay:1", "pass port_not_found", "")]);
}
