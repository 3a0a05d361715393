//! A first configuration with Services that cannot be taken.

use byname_core::{Config, Defaults, wire::Packed};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{ask, with_fields};

/// A configuration as a filter reads the first one: as a whole, else without the Services that cannot be taken.
fn first(fields: Value) -> Result<Config, String> {
    let whole = json!({"version": 1, "firstConfiguration": "leaveOut", "caller": {"namespace": "shop"}});
    let text = with_fields(whole, fields).to_string();
    let defaults = Defaults::default();
    Config::read(&text, &defaults)
        .or_else(|refused| Config::read_first(text.as_bytes(), refused, &defaults, &|| true))
        .map_err(|errors| errors.to_string())
}

fn with(bad: &[(&str, Value)]) -> Value {
    let mut services = json!({"shop/web": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}});
    for (name, service) in bad {
        services[*name] = service.clone();
    }
    json!({"table": {"version": 7, "services": services}})
}

/// The same with the table in its packed form, as Istio has it.
fn packed(fields: &Value) -> Value {
    json!({"table": {"version": 7, "packed": Packed::new(&fields["table"]["services"].to_string())}})
}

#[test]
fn leaves_out_the_services_that_cannot_be_taken() {
    let port = |port: Value| json!({"ports": [{"port": port}]});
    for (bad, why) in [
        (vec![("shop/bad", port(json!(0)))], "a port that is none"),
        (vec![("shop/bad", port(json!("80")))], "a value of the wrong type"),
        (vec![("shop/bad", json!({"ports": [{"port": 80, "targetPort": 80}]}))], "an unknown field"),
        (vec![("shop/bad", json!([]))], "a list in place of an object"),
        (vec![("shop/bad", json!({"type": "ExternalName"}))], "an alias without a target"),
        (vec![("Shop/Bad", port(json!(80)))], "a name that none can have"),
        (vec![("shop/zzz", json!({"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}))], "the address of another"),
        (
            vec![("shop/bad", json!({"steering": {"by": "endpoint"}, "ports": [{"port": 80}]}))],
            "no endpoints to steer to",
        ),
        (
            vec![("shop/a", port(json!(0))), ("shop/b", port(json!("x"))), ("shop/c", port(json!(null)))],
            "three of them",
        ),
    ] {
        for fields in [with(&bad), packed(&with(&bad))] {
            let config = first(fields).unwrap_or_else(|errors| panic!("{why}: {errors}"));
            assert_eq!((config.table.services(), config.table.version()), (1, 7), "{why}");
            assert_eq!(config.services_left_out().count, bad.len(), "{why}");
            assert_eq!(ask(&config, "web"), "service web.shop:80", "{why}");
            assert_eq!(ask(&config, "bad"), "pass name_not_found", "{why}");
        }
    }
    let whole = first(with(&[])).expect("nothing is wrong");
    assert!(whole.may_leave_out_services() && whole.services_left_out().count == 0);
}

#[test]
fn counts_a_service_that_is_left_out_as_missing() {
    let bad = json!({"ports": [{"port": 0}]});
    let mut fields =
        with(&[("shop/bad", bad.clone()), ("shop/worse", bad), ("prod/bad", json!({"ports": [{"port": 80}]}))]);
    fields["fallback"] = json!({"services": {"shop/worse": {"service": "shop/web"}}, "baselines": {"shop": "prod"}});
    let config = first(fields).expect("the rest serves");
    assert_eq!(ask(&config, "bad"), "baseline bad.prod:80");
    assert_eq!(ask(&config, "worse"), "fallback_missing web.shop:80");
}

#[test]
fn says_which_and_why() {
    let bad = [("shop/bad", json!({"ports": [{"port": 0}]})), ("shop/worse", json!({"ports": 1}))];
    let config = first(with(&bad)).expect("the rest serves");
    let said = config.services_left_out().problems.to_string();
    for part in
        ["table.services[\"shop/bad\"].ports[0].port: \"0\" is not a port", "table.services[\"shop/worse\"].ports"]
    {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn refuses_what_is_not_of_a_service() {
    let bad = [("shop/bad", json!({"ports": [{"port": 0}]}))];
    for (fields, expected) in [
        (json!({"firstConfiguration": "refuse"}), "table.services[\"shop/bad\"]"),
        (json!({"caller": {"namespace": "Shop"}}), "caller.namespace"),
        (json!({"steering": {"by": "magic"}}), "steering.by cannot be read"),
        (json!({"version": 2}), "version"),
        (json!({"table": []}), "table cannot be read"),
        (json!({"table": {"services": []}}), "table.services cannot be read"),
    ] {
        let error = first(with_fields(with(&bad), fields)).expect_err("it is not of a Service");
        assert!(error.contains(expected), "{error}\nshould hold {expected}");
    }
    let defaults = Defaults::default();
    for text in ["", "{", "{\"version\": 1", "{\"version\": 1, \"firstConfiguration\": \"leaveOut\"} x", "null", "[]"] {
        let refused = Config::read(text, &defaults).expect_err("no configuration");
        Config::read_first(text.as_bytes(), refused, &defaults, &|| true).expect_err("no configuration, first or not");
    }
}

#[test]
fn ends_where_too_much_is_wrong() {
    // One more is found by each attempt.
    let malformed: Vec<String> = (0..40).map(|index| format!("shop/bad-{index}")).collect();
    let bad: Vec<(&str, Value)> = malformed.iter().map(|name| (&**name, json!({"ports": 1}))).collect();
    assert!(first(with(&bad)).is_err(), "every attempt ends at the first value of the wrong type");
    assert_eq!(first(with(&bad[..15])).expect("few enough").table.services(), 1);
    // Twenty are found by each attempt.
    let bad: Vec<(&str, Value)> = malformed.iter().map(|name| (&**name, json!({"ports": [{"port": 0}]}))).collect();
    assert_eq!(first(with(&bad)).expect("few enough").services_left_out().count, 40);
}
