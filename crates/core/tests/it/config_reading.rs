//! How a configuration is read: as a whole or not at all, with every error that it has.

use byname_core::{Config, Defaults, wire};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    config_validation::refused,
    fixture::{ask, read, try_config, with_fields},
};

#[test]
fn requires_a_version_and_a_namespace() {
    let defaults = Defaults { namespace: Some("shop"), zone: Some("eu-a"), ..Defaults::default() };
    let config = Config::read(r#"{"version": 1}"#, &defaults).expect("the node's metadata sets the rest");
    assert_eq!((config.caller.namespace(), config.caller.zone()), ("shop", Some("eu-a")));

    assert!(read("{}").expect_err("no version").contains("missing field `version`"));
    assert_eq!(
        read(r#"{"version": 1}"#).expect_err("no namespace"),
        "caller.namespace is not set, and the node's metadata has no NAMESPACE; set caller.namespace, or NAMESPACE in the node's metadata"
    );
    refused(
        json!({"version": 2}),
        "version: \"2\" is not a configuration version that byname reads; write \"version\": 1",
    );
}

#[test]
fn refuses_unknown_fields_with_their_path() {
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
        "table.services[\"shop/a\"].ports[0].port cannot be read: it is the number 70000, not a whole number up to 65535",
    );
    refused(
        json!({"table": {"services": {"shop/a": {"endpoints": [{"addresses": ["10.0.0.1 10.0.0.2"]}]}}}}),
        "table.services[\"shop/a\"].endpoints[0].addresses",
    );
}

#[test]
fn names_the_path_of_a_value_that_cannot_be_read() {
    for (json, expected) in [
        ("{}", "the configuration cannot be read: missing field `version` at line 1 column 2"),
        ("{\"version\": 1} x", "the configuration cannot be read: trailing characters"),
        ("[1, 2]", "the configuration cannot be read: it is a list, not a mapping"),
        (r#"{"version": 1, "dns": ["x", 5]}"#, "dns cannot be read: it is a list, not a mapping"),
        (
            r#"{"version": 1, "dns": {"ndots": 1, "searches": ["a", 7]}}"#,
            "dns.searches[1] cannot be read: it is the number 7, not a string",
        ),
        (
            r#"{"version": 1, "dns": {"ndots": "5"}}"#,
            "dns.ndots cannot be read: it is the string \\\"5\\\", not a whole number up to 255",
        ),
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
fn gives_the_position_of_broken_json() {
    let error = read("{\"version\": 1,\n  \"table\": {]}").expect_err("broken JSON");
    assert!(error.contains("line 2 column"), "{error}");
    for broken in ["", "null", "[]", "{", "\"a\"", "\u{0}", "{\"version\":1e9999}"] {
        assert!(read(broken).is_err(), "{broken:?}");
    }
    let deep = "{\"table\":".to_owned() + &"[".repeat(100_000);
    assert!(read(&deep).is_err(), "nesting is bounded");
}

#[test]
fn collects_all_errors_of_meaning() {
    let error = try_config(json!({
        "dns": {"clusterDomain": "a..b", "ndots": 16},
        "steering": {"controlHeader": "Host", "cluster": "{hots}"},
        "externalNames": {"allow": [{"host": "*", "ports": []}]},
        "table": {"services": {"shop/A": {}, "web": {}, "shop/b": {"ports": [{"port": 0}]}}},
    }))
    .expect_err("nine fields are wrong");
    let expected = [
        "table.services[\"shop/A\"] is not a lower-case DNS label; use a-z, 0-9 and '-' (not first or last), at most 63 bytes",
        "table.services[\"shop/b\"].ports[0].port: \"0\" is not a port; use 1 to 65535",
        "table.services[\"web\"] is not namespace/name; write it as \"namespace/name\"",
        "dns.clusterDomain: \"a..b\" is not a DNS name; use labels of a-z, 0-9, '-' and '_' joined by dots, at most 253 bytes",
        "dns.ndots: 16 is more than 15; use a smaller number",
        "steering.controlHeader: \"Host\" is not a header that byname may use; use lowercase a-z, 0-9 and '-', no ':', at most 64 bytes, \
            and no header that other programs use",
        "steering.cluster: \"{hots}\" is not a cluster name template; use text and {host} {service} {namespace} {port} {portName} {subset} \
            {endpoint}, at most 256 bytes",
        "externalNames.allow[0].ports is empty; set it, or remove the field",
        "externalNames.allow[0].host: \"*\" is not a host pattern; write a full name, or \"*.\" followed by a domain",
    ];
    assert_eq!(error.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn lists_twenty_errors_and_counts_the_rest() {
    let services: serde_json::Map<String, Value> = (0..1000).map(|n| (format!("{n}"), json!({}))).collect();
    let error = try_config(json!({"table": {"services": services}})).expect_err("every name is wrong");
    assert_eq!(error.lines().count(), 21);
    assert!(error.ends_with("and 980 more"), "{error}");
    let long = try_config(json!({"caller": {"namespace": "x\n".repeat(10_000)}})).expect_err("not a label");
    assert!(long.len() < 500 && long.lines().count() == 1, "{long}");
    let group = json!({"ports": {"p\n".repeat(10_000): 0}});
    let long = try_config(json!({"table": {"services": {"shop/a": {"endpoints": [group]}}}})).expect_err("no port");
    assert!(long.len() < 500 && long.lines().count() == 1, "{long}");
}

#[test]
fn accepts_fields_in_any_order() {
    let table = r#""table": {"services": {"shop/a": {"type": "ExternalName", "externalName": "a.example.com"},
        "shop/b": {"ports": [{"port": 80}], "endpoints": [{"addresses": "127.0.0.1"}]}}, "singleMachine": true}"#;
    let rest = r#""externalNames": {"allow": [{"host": "a.example.com", "ports": [80]}]}, "caller": {"namespace": "shop"}, "version": 1"#;
    for json in [format!("{{{table}, {rest}}}"), format!("{{{rest}, {table}}}")] {
        let config = read(&json).expect("a valid configuration");
        assert_eq!(ask(&config, "a"), "external a.example.com:80");
        assert_eq!(ask(&config, "b"), "service b.shop:80");
    }
}

#[test]
fn reads_ten_thousand_services_from_two_and_a_half_megabytes() {
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
    let config = read(&json).expect("a valid configuration");
    assert_eq!((config.table.services(), config.table.endpoints()), (10_000, 100_000));
    assert_eq!(ask(&config, "svc-9901"), "service svc-9901.ns-1:80");
}

#[test]
fn passes_everything_on_at_a_gateway_unless_told_otherwise() {
    const SIDECAR: &str = "sidecar~10.0.0.1~web.shop~shop.svc.cluster.local";
    const ROUTER: &str = "router~10.0.0.1~edge.shop~shop.svc.cluster.local";
    let alias = json!({"type": "ExternalName", "externalName": "web.prod.svc.cluster.local"});
    let services =
        json!({"shop/web": {"ports": [{"port": 80}]}, "prod/web": {"ports": [{"port": 80}]}, "shop/pay": alias});
    for (id, gateways, is_passive, web, pay) in [
        (SIDECAR, None, false, "service web.shop:80", "alias web.prod:80"),
        (SIDECAR, Some("pass"), false, "service web.shop:80", "alias web.prod:80"),
        (SIDECAR, Some("resolve"), false, "service web.shop:80", "alias web.prod:80"),
        ("sidecar", None, false, "service web.shop:80", "alias web.prod:80"),
        (ROUTER, None, true, "pass name_not_found", "pass name_not_found"),
        (ROUTER, Some("pass"), true, "pass name_not_found", "pass name_not_found"),
        ("waypoint~10.0.0.1~a.b~c", None, true, "pass name_not_found", "pass name_not_found"),
        // An alias would lend strangers what only the gateway may reach.
        (ROUTER, Some("resolve"), false, "service web.shop:80", "refuse alias_denied"),
        ("waypoint~10.0.0.1~a.b~c", Some("resolve"), false, "service web.shop:80", "refuse alias_denied"),
    ] {
        let mut configuration =
            json!({"version": 1, "destinationPort": {}, "table": {"version": 7, "services": services}});
        if let Some(gateways) = gateways {
            configuration["gateways"] = gateways.into();
        }
        let defaults = Defaults { namespace: Some("shop"), id: Some(id), ..Defaults::default() };
        let config = Config::read(configuration.to_string(), &defaults).expect("a valid configuration");
        assert_eq!(config.is_passive(), is_passive, "{id}, {gateways:?}");
        let is_redirected = config.destination_port(b"web").is_some();
        assert_eq!(is_redirected, id.starts_with("sidecar"), "clients connect to a gateway itself: {id}");
        assert_eq!((ask(&config, "web"), ask(&config, "pay")), (web.into(), pay.into()), "{id}, {gateways:?}");
        assert_eq!(config.table.services(), if is_passive { 0 } else { 3 }, "a gateway that passes keeps no table");
    }
    refused(json!({"gateways": "ignore"}), "gateways cannot be read: unknown variant `ignore`");
}

/// The warning of a configuration that a newer program wrote: the number of fields that were left out, and the first.
fn left_out(mut fields: Value, minor: u32) -> (usize, String) {
    fields["minor"] = minor.into();
    let config = try_config(fields).expect("a newer configuration");
    (config.left_out().count, config.left_out().first.clone())
}

#[test]
fn leaves_out_the_fields_of_a_newer_program() {
    let newer = wire::MINOR + 1;
    let service = |port: Value| json!({"table": {"services": {"shop/web": {"ports": [port]}}}});
    assert_eq!(left_out(json!({}), newer), (0, String::new()));
    assert_eq!(left_out(json!({"remember": {"share": [1, {"deep": null}]}}), newer), (1, "remember".into()));
    let two = with_fields(service(json!({"port": 80, "weight": 1})), json!({"zzz": 1, "aaa": true}));
    assert_eq!(left_out(two.clone(), newer).0, 3);
    // Known fields are still checked, and a typo is one for the program that wrote it.
    for (fields, minor, expected) in [
        (json!({"remember": true}), None, "remember cannot be read: unknown field `remember`"),
        (json!({"remember": true}), Some(wire::MINOR), "remember cannot be read: unknown field `remember`"),
        (json!({"remember": true}), Some(0), "remember cannot be read: unknown field `remember`"),
        (json!({"accessLog": 1, "remember": true}), Some(newer), "accessLog cannot be read: it is"),
        (service(json!({"port": 0, "weight": 1})), Some(newer), "table.services[\"shop/web\"].ports[0].port: \"0\""),
        (
            json!({"requires": ["remember"]}),
            None,
            "requires[0]: \"remember\" is a feature that this module does not know",
        ),
        (json!({"requires": ["table.packed", "x"], "y": 1}), Some(newer), "requires[1]: \"x\" is a feature"),
        (json!({"requires": "remember"}), None, "requires cannot be read: it is"),
        (json!({"minor": "1"}), None, "minor cannot be read: it is"),
    ] {
        let fields = minor.map_or(fields.clone(), |minor| with_fields(fields, json!({"minor": minor})));
        refused(fields, expected);
    }
    let known = try_config(json!({"requires": wire::FEATURES, "minor": wire::MINOR}));
    assert_eq!(known.expect("all of them are known").left_out().count, 0);
}

#[test]
fn takes_the_node_from_the_configuration_then_from_the_metadata() {
    let endpoints = json!([{"addresses": "10.0.0.1", "node": "one"}]);
    let agent = json!({"ports": [{"port": 80}], "internalTrafficPolicy": "Local", "endpoints": endpoints});
    for (own, metadata, expected) in [
        (None, None, "refuse no_endpoints"),
        (None, Some("one"), "service agent.shop:80"),
        (None, Some("two"), "refuse no_endpoints"),
        (Some("one"), Some("two"), "service agent.shop:80"),
        (None, Some(""), "refuse no_endpoints"),
    ] {
        let configuration =
            json!({"version": 1, "caller": {"node": own}, "table": {"services": {"shop/agent": agent}}});
        let defaults = Defaults { namespace: Some("shop"), node: metadata, ..Defaults::default() };
        let config = Config::read(configuration.to_string(), &defaults).expect("a valid configuration");
        assert_eq!(ask(&config, "agent"), expected, "{own:?}, {metadata:?}");
    }
}
