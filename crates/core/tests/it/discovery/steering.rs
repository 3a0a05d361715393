//! By which type a Service is asked for.

use byname_core::Scheme;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{alias_of, web, with_ip};
use crate::{
    fixture::plan,
    stream::{Answer, Sidecar},
};

#[test]
fn asks_for_endpoints_where_the_filter_steers_by_endpoint() {
    let mut sidecar = Sidecar::connected(json!({"steering": {"by": "endpoint"}}));
    let id = sidecar.request("web");
    assert_eq!(sidecar.take_sent(), ["Endpoints: +shop/web"]);
    sidecar.answer(&Answer::new("Endpoints").with("shop/web", web("10.0.0.1")));
    assert_eq!(sidecar.outcome(id), "service web.shop:80");
    assert_eq!(plan(&sidecar.config, "web", Scheme::Http).endpoint(), Some("10.0.0.1:80"));
    sidecar.answer(&Answer::new("Endpoints").with("shop/web", web("10.0.0.2")));
    assert_eq!(plan(&sidecar.config, "web", Scheme::Http).endpoint(), Some("10.0.0.2:80"));
}

#[test]
fn the_service_of_a_cluster_ip_is_asked_for_with_its_endpoints() {
    let mut sidecar = Sidecar::connected(json!({"steering": {"by": "endpoint"}}));
    let id = sidecar.request("10.96.0.7");
    sidecar.take_sent();
    sidecar.answer(&Answer::new("Service").with("shop/web", with_ip("10.96.0.7")));
    assert_eq!(sidecar.take_sent(), ["Service: -shop/web", "Endpoints: +shop/web"]);
    sidecar.answer(&Answer::new("Address").with("10.96.0.7", "shop/web"));
    assert_eq!(sidecar.outcome(id), "waits");
    let whole = json!({"clusterIPs": "10.96.0.7", "ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.1"}]});
    sidecar.answer(&Answer::new("Endpoints").with("shop/web", whole));
    assert_eq!(sidecar.outcome(id), "cluster_ip web.shop:80");
    // The address is told once more, and with it the Service.
    sidecar.answer(&Answer::new("Service").with("shop/web", with_ip("10.96.0.7")));
    assert_eq!(sidecar.take_sent(), ["Service: -shop/web"], "one type is enough");
    assert_eq!(sidecar.ask("web"), "service web.shop:80");
    assert_eq!(plan(&sidecar.config, "web", Scheme::Http).endpoint(), Some("10.0.0.1:80"));
}

#[test]
fn a_service_that_is_steered_by_endpoint_changes_its_type() {
    let mut sidecar = Sidecar::connected(json!({}));
    let by_endpoint = |mut service: serde_json::Value| {
        service["steering"] = json!({"by": "endpoint"});
        service
    };
    let id = sidecar.request("web");
    sidecar.take_sent();
    sidecar.answer(&Answer::new("Service").with("shop/web", by_endpoint(json!({"ports": [{"port": 80}]}))));
    assert_eq!(sidecar.outcome(id), "waits");
    assert_eq!(sidecar.take_sent(), ["Service: -shop/web", "Endpoints: +shop/web"]);
    sidecar.answer(&Answer::new("Endpoints").with("shop/web", by_endpoint(web("10.0.0.1"))));
    assert_eq!(sidecar.outcome(id), "service web.shop:80");
    assert_eq!(plan(&sidecar.config, "web", Scheme::Http).endpoint(), Some("10.0.0.1:80"));

    // One that is known is steered by endpoint from now on.
    assert_eq!(sidecar.ask("other"), "waits");
    sidecar.answer(&Answer::new("Service").with("shop/other", json!({"ports": [{"port": 80}]})));
    assert_eq!(sidecar.ask("other"), "service other.shop:80");
    sidecar.answer(&Answer::new("Service").with("shop/other", by_endpoint(json!({"ports": [{"port": 80}]}))));
    assert_eq!(sidecar.ask("other"), "waits");
    sidecar.answer(&Answer::new("Endpoints").with("shop/other", by_endpoint(web("10.0.0.2"))));
    assert_eq!(sidecar.ask("other"), "service other.shop:80");
}

#[test]
fn an_alias_needs_no_endpoints() {
    let mut sidecar = Sidecar::connected(json!({"steering": {"by": "endpoint"}}));
    let id = sidecar.request("10.96.0.7");
    sidecar.answer(&Answer::new("Service").with("shop/pay", alias_of("web.shop.svc.cluster.local")));
    sidecar.take_sent();
    assert_eq!(sidecar.ask("pay"), "waits");
    assert_eq!(sidecar.take_sent(), ["Endpoints: +shop/web"], "its target needs them");
    sidecar.answer(&Answer::new("Endpoints").with("shop/web", web("10.0.0.1")));
    assert_eq!(sidecar.ask("pay"), "alias web.shop:80");
    sidecar.leave(id);
}
