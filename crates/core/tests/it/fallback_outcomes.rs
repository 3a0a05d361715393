//! How a fallback or a baseline shows: in the authority, the trace and the local reply.

use byname_core::Scheme;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    baselines::staged,
    fallbacks::{alias, body, decide, to, with},
    fixture::config,
};

#[test]
fn rewrites_the_authority_to_the_fallback() {
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
fn traces_each_fallback_and_its_reason() {
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
            "table version 7; gone.shop.svc.cluster.local does not exist: no such Service; \
            shop/gone is missing: fallback shop/gone-2 does not exist: no such Service; \
            shop/gone-2 is missing: fallback shop/payments exists; \
            port 9090 by the fallback is a port of the Service named grpc; 1 of 2 endpoints can serve by IPv4; \
            cluster outbound|9090||payments.shop.svc.cluster.local by steering.cluster, \
            authority payments.shop.svc.cluster.local:9090",
        ),
        (
            "10.96.0.20",
            "table version 7; 10.96.0.20 is the cluster IP of shop/empty; port 80 by the scheme is a port of the Service named http; \
            the Service has no endpoints; \
            shop/empty has no endpoints: fallback api.example.com is external, on port 443; \
            cluster external-tls|443|api.example.com by steering.external.tlsCluster, authority api.example.com",
        ),
        (
            "_grpc._tcp.empty-2",
            "table version 7; _grpc._tcp.empty-2.shop.svc.cluster.local exists; \
            port 9090 by its name is a port of the Service named grpc; \
            the Service has no endpoints; \
            shop/empty-2 has no endpoints: fallback shop/gone-3 does not exist: no such Service; \
            shop/gone-3 is missing: fallback shop/empty-2 exists; \
            port 9090 by its name is a port of the Service named grpc; \
            the Service has no endpoints; \
            shop/empty-2 has no endpoints: fallback shop/gone-3 was already followed: a fallback loop",
        ),
    ];
    for (authority, expected) in rows {
        assert_eq!(decide(&config, authority, Scheme::Http).1, expected);
    }
    assert_eq!(
        decide(&staged(json!({}), json!({})), "payments", Scheme::Http).1,
        "table version 7; payments.test-1.svc.cluster.local does not exist: no such Service; \
        payments.svc.cluster.local does not exist: no name of the cluster has this form; \
        payments.cluster.local does not exist: no name of the cluster has this form; \
        payments is outside the cluster domain: may differ from DNS; payments.staging.svc.cluster.local exists; \
        port 80 by the scheme is a port of the Service named http; 1 of 1 endpoints can serve by IPv4; \
        cluster outbound|80||payments.staging.svc.cluster.local by steering.cluster, \
        authority payments.staging.svc.cluster.local"
    );
}

#[test]
fn names_the_fallback_that_did_not_help_in_the_local_reply() {
    let more = json!({"shop/to-gone": alias("gone.shop.svc.cluster.local")});
    let of = json!({
        "shop/empty": to("shop/spare"), "shop/gone": to("shop/spare"), "shop/empty-2": to("shop/unready"),
    });
    let refusing = config(with(more, of, json!({"unknownNames": "refuse"})));
    assert_eq!(
        body(&refusing, "empty"),
        "byname: no_endpoints: \"empty\" from namespace shop: empty.shop.svc.cluster.local: the Service has no endpoints; \
        shop/empty has no endpoints: fallback shop/spare does not exist: \
        no such Service; check the Service's selector and the readiness of its pods\n"
    );
    assert_eq!(
        body(&refusing, "empty-2"),
        "byname: no_endpoints: \"empty-2\" from namespace shop: empty-2.shop.svc.cluster.local: the Service has no endpoints; \
        shop/empty-2 has no endpoints: fallback shop/unready does not exist: \
        the Service is headless and has no ready endpoint; check the Service's selector and the readiness of its pods\n"
    );
    assert_eq!(
        body(&refusing, "gone."),
        "byname: name_not_found: \"gone.\" from namespace shop: none of these names exists: gone; \
        check the name and the namespace: kubectl get service --all-namespaces lists them\n",
        "an absolute name has no search path, and so no fallback"
    );
    let missing = body(&refusing, "gone");
    assert!(
        missing.contains("none of these names exists: gone.shop.svc.cluster.local gone.svc.cluster.local"),
        "{missing}"
    );
    assert!(
        missing.contains("; shop/gone is missing: fallback shop/spare does not exist: no such Service; "),
        "{missing}"
    );
    let baseline = staged(json!({}), json!({"unknownNames": "refuse"}));
    assert!(body(&baseline, "nope").contains(" nope.staging.svc.cluster.local;"), "{}", body(&baseline, "nope"));
}

// The alias exists and its target does not: the local reply has to name the target.
#[test]
fn names_the_target_of_a_broken_alias_in_the_local_reply() {
    let more = json!({"shop/to-gone": alias("gone.shop.svc.cluster.local")});
    let refusing = config(with(more, json!({"shop/gone": to("shop/spare")}), json!({"unknownNames": "refuse"})));
    let body = body(&refusing, "to-gone");
    assert!(body.contains("shop/spare"), "{body}");
    assert!(!body.contains("none of these names exists: to-gone.shop.svc.cluster.local"), "{body}");
}
