//! Which requests are observed, and what would be different about them.

use byname_core::{Config, Plan, trace::Difference, wire};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{config, decide, http, shop, try_config, with_fields};

/// The Services of most tests, with an alias into another namespace, one that is refused, and a Service without endpoints.
fn observing(fields: Value) -> Config {
    let mut services = shop();
    services["shop/bank"] = json!({"type": "ExternalName", "externalName": "payments.prod.svc.cluster.local"});
    services["prod/away"] = json!({"type": "ExternalName", "externalName": "localhost"});
    services["prod/none"] = json!({"ports": [{"port": 80}], "endpoints": []});
    config(with_fields(json!({"unknownNames": "refuse", "table": {"services": services}}), fields))
}

fn percent(config: &Config, authority: &str) -> u32 {
    config.observed_percent(&config.resolve(http(authority), None), http(authority))
}

#[test]
fn the_mode_is_that_of_the_service_at_the_end_of_the_way() {
    let names = ["payments", "payments.prod", "bank", "away.prod", "none.prod", "payments.prod:81", "nope", "a,b"];
    for (fields, expected) in [
        (json!({}), [0; 8]),
        (json!({"mode": "enforce"}), [0; 8]),
        (json!({"mode": "observe"}), [100; 8]),
        (json!({"mode": "observe", "observePercent": 25}), [25; 8]),
        (json!({"mode": "observe", "observePercent": 0}), [0; 8]),
        (json!({"modeExceptions": ["prod"]}), [0, 100, 100, 100, 100, 100, 0, 0]),
        (json!({"modeExceptions": ["prod"], "observePercent": 10}), [0, 10, 10, 10, 10, 10, 0, 0]),
        (json!({"modeExceptions": ["prod/payments"]}), [0, 100, 100, 0, 0, 100, 0, 0]),
        (json!({"mode": "observe", "modeExceptions": ["shop"]}), [0, 100, 100, 100, 100, 100, 100, 100]),
        (
            json!({"mode": "observe", "modeExceptions": ["prod/away", "prod/none", "pro"]}),
            [100, 100, 100, 0, 0, 100, 100, 100],
        ),
    ] {
        let config = observing(fields.clone());
        assert_eq!(names.map(|name| percent(&config, name)), expected, "{fields}");
        assert_eq!(config.may_observe(), fields != json!({}) && fields != json!({"mode": "enforce"}), "{fields}");
        assert_eq!(config.observes_all(), fields == json!({"mode": "observe"}), "{fields}");
    }
}

#[test]
fn an_unanswered_request_waits_only_if_it_is_enforced_whatever_the_answer() {
    let on_demand = |fields| config(with_fields(json!({"server": {"cluster": "byname"}}), fields));
    for (fields, expected) in [
        (json!({}), [0, 0]),
        (json!({"mode": "observe"}), [100, 100]),
        (json!({"modeExceptions": ["prod"]}), [0, 100]),
        (json!({"mode": "observe", "modeExceptions": ["shop"]}), [0, 100]),
    ] {
        // The second one may be an endpoint of shop/prod or the Service prod/web.
        assert_eq!(["web", "web.prod"].map(|name| percent(&on_demand(fields.clone()), name)), expected, "{fields}");
    }
}

#[test]
fn says_what_would_be_different() {
    let canonical = "payments.shop.svc.cluster.local";
    let own = format!("outbound|80||{canonical}");
    for (steering, authority, route, expected) in [
        (json!({}), "payments", Some("default"), Difference::HostAndCluster),
        (json!({}), "payments", None, Difference::HostAndCluster),
        (json!({}), "payments", Some(&*own), Difference::Host),
        (json!({}), canonical, Some("default"), Difference::Cluster),
        (json!({}), canonical, Some(&*own), Difference::None),
        (json!({"rewriteAuthority": "never"}), "payments", Some(&*own), Difference::None),
        (json!({"by": "authority"}), "payments", Some("default"), Difference::Host),
        (json!({"by": "authority"}), canonical, Some("default"), Difference::None),
        (json!({}), "203.0.113.7", Some("default"), Difference::None),
        (json!({"passCluster": "pass"}), "203.0.113.7", Some("default"), Difference::Cluster),
        (json!({"passCluster": "pass"}), "203.0.113.7", Some("pass"), Difference::None),
        (json!({}), "nope", Some("default"), Difference::Refused),
        (json!({}), "none.prod", Some("default"), Difference::Refused),
    ] {
        let config = observing(json!({"mode": "observe", "steering": steering}));
        let mut plan = Plan::default();
        let resolution = decide(&config, http(authority), &mut plan);
        let difference = plan.difference(&resolution, || route);
        assert_eq!(difference, expected, "{authority} by {steering}, route {route:?}");
        let decision = config.decision(&resolution, &plan, Some(difference)).to_string();
        let begins = format!("mode=observe difference={} reason=", difference.as_str());
        assert!(decision.starts_with(&begins), "{decision}");
    }
    let config = config(json!({"mode": "observe", "server": {"cluster": "byname"}}));
    let mut plan = Plan::default();
    let resolution = decide(&config, http("web"), &mut plan);
    assert_eq!(plan.difference(&resolution, || Some("default")), Difference::Unknown);
}

#[test]
fn refuses_what_is_no_mode() {
    for (fields, expected) in [
        (json!({"mode": "watch"}), "mode cannot be read: unknown variant"),
        (json!({"modeExceptions": ["Shop"]}), "modeExceptions[0]: \"Shop\" is not a namespace or a Service; write"),
        (json!({"modeExceptions": ["shop/"]}), "modeExceptions[0]: \"shop/\" is not a namespace or a Service"),
        (json!({"modeExceptions": ["shop", ""]}), "modeExceptions[1] is not a namespace or a Service"),
        (json!({"mode": "observe", "observePercent": 101}), "observePercent: 101 is more than 100"),
        (json!({"mode": "observe", "observePercent": -1}), "observePercent cannot be read"),
    ] {
        let error = try_config(fields.clone()).expect_err("it is refused");
        assert!(error.contains(expected), "{fields}: {error}");
    }
}

#[test]
fn an_older_module_has_to_know_the_mode() {
    let features = |fields: Value| {
        let text = with_fields(json!({"version": 1}), fields).to_string();
        wire::Config::read(text.as_bytes()).expect("it is read").features()
    };
    assert!(features(json!({"mode": "enforce", "observePercent": 5})).is_empty());
    assert_eq!(features(json!({"mode": "observe"})), ["observe"]);
    assert_eq!(features(json!({"modeExceptions": ["shop"]})), ["observe"]);
}
