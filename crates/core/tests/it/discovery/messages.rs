//! Resources that cannot be taken.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{web, with_ip};
use crate::stream::{Answer, Sidecar};

/// The answer to the last message.
fn last(sidecar: &Sidecar) -> String {
    sidecar.sent.iter().rev().find(|sent| !sent.nonce.is_empty()).expect("an answer").shown()
}

#[test]
fn acknowledges_each_message_with_its_nonce() {
    let mut sidecar = Sidecar::connected(json!({}));
    for (resource_type, nonce) in [("Service", "a"), ("Namespaces", "b"), ("Address", ""), ("Endpoints", "ü")] {
        sidecar.answer(&Answer { nonce: nonce.to_owned(), ..Answer::new(resource_type) });
        let sent = sidecar.sent.pop().expect("an answer");
        assert_eq!((sent.resource_type.as_str(), sent.nonce.as_str(), sent.error), (resource_type, nonce, None));
    }
}

#[test]
fn a_resource_that_cannot_be_read_is_refused_by_name_and_the_rest_is_taken() {
    let mut sidecar = Sidecar::connected(json!({}));
    let names = ["good", "syntax", "field", "text", "version", "late"];
    let ids = names.map(|name| sidecar.request(name));
    let answer = Answer::new("Service")
        .with("shop/good", web("10.0.0.1"))
        .with("shop/syntax", "{")
        .with("shop/field", json!({"ports": [{"port": 0}]}))
        .with_bytes("shop/text", "1", vec![0xff])
        .with_bytes("shop/version", &"v".repeat(65), b"{}".to_vec())
        .with("no name", "{}")
        .with("shop/late", web("10.0.0.2"));
    sidecar.answer(&answer);
    let refused = last(&sidecar);
    assert!(refused.starts_with("Service: shop/syntax: "), "the first that is bad: {refused}");
    let unanswered = "pass unanswered";
    assert_eq!(
        ids.map(|id| sidecar.outcome(id)),
        ["service good.shop:80", unanswered, unanswered, unanswered, unanswered, "service late.shop:80"],
        "nobody waits for what was refused"
    );
    assert_eq!(sidecar.discovery().0.counts().rejections, 1);
    assert_eq!(names[1..5].iter().map(|name| sidecar.ask(name)).collect::<Vec<_>>(), [unanswered; 4]);
    // It is read once it can be.
    sidecar.answer(&Answer::new("Service").with("shop/syntax", web("10.0.0.1")));
    assert!(last(&sidecar).ends_with(" ok"));
    assert_eq!(sidecar.ask("syntax"), "service syntax.shop:80");
}

#[test]
fn the_reason_says_the_resource_and_the_field() {
    let table = json!({"services": {"shop/static": with_ip("10.96.0.1")}});
    for (resource_type, name, value, reason) in [
        ("Service", "web", "{}", "web: no resource of this type has such a name"),
        ("Service", "shop/Web", "{}", "shop/Web: no resource of this type has such a name"),
        ("Address", "10.0.0.300", "", "10.0.0.300: no resource of this type has such a name"),
        ("Address", "10.96.0.7", "web", "10.96.0.7: its value is not namespace/name"),
        (
            "Service",
            "shop/web",
            r#"{"ports": [{"port": 70000}]}"#,
            "shop/web: table.services[\"shop/web\"].ports[0].port cannot be read: ",
        ),
        (
            "Service",
            "shop/web",
            r#"{"clusterIPs": "10.96.0.1", "ports": [{"port": 80}]}"#,
            "shop/web: table.services[\"shop/web\"].clusterIPs[0]: \"10.96.0.1\" is already the cluster IP of another \
            Service; remove it from one of the two Services",
        ),
    ] {
        let mut sidecar = Sidecar::connected(json!({"table": table}));
        sidecar.answer(&Answer::new(resource_type).with(name, value));
        let refused = sidecar.sent.last().and_then(|sent| sent.error.clone()).unwrap_or_default();
        assert!(refused.starts_with(reason), "{refused}");
        assert!(refused.len() < 1_000 && !refused.contains('\n'), "{refused}");
    }
}

#[test]
fn the_last_known_good_serves_on() {
    let mut sidecar = Sidecar::connected(json!({}));
    assert_eq!(sidecar.ask("web"), "waits");
    sidecar.answer(&Answer::new("Service").with("shop/web", web("10.0.0.1")));
    sidecar.answer(&Answer::new("Service").with("shop/web", "[]"));
    assert!(last(&sidecar).starts_with("Service: shop/web: "));
    assert_eq!(sidecar.ask("web"), "service web.shop:80");
    sidecar.closed();
    sidecar.wait(1_000);
    sidecar.sent.clear();
    sidecar.opened();
    let version = crate::stream::version(&web("10.0.0.1").to_string());
    assert!(sidecar.take_sent().concat().contains(&format!("+shop/web@{version}")), "the version that it has");
}

#[test]
fn a_service_that_appears_and_cannot_be_read_is_not_missing() {
    let mut sidecar =
        Sidecar::connected(json!({"dns": {"searches": ["shop.svc.cluster.local", "prod.svc.cluster.local"]}}));
    assert_eq!(sidecar.ask("web"), "waits");
    sidecar.answer(&Answer::new("Service").without("shop/web").with("prod/web", web("10.0.0.1")));
    assert_eq!(sidecar.ask("web"), "service web.prod:80");
    sidecar.answer(&Answer::new("Service").with("shop/web", "{"));
    assert_eq!(sidecar.ask("web"), "pass unanswered", "it exists, and is another one than prod/web");
}

#[test]
fn an_endless_list_of_namespaces_is_refused() {
    let mut sidecar = Sidecar::connected(json!({}));
    let endless = "a ".repeat(1_000_000);
    sidecar.answer(&Answer::new("Namespaces").with("*", endless));
    assert!(last(&sidecar).starts_with("Namespaces: *: "), "{}", last(&sidecar));
    assert_eq!(sidecar.ask("www.web.a"), "pass name_not_found", "the last known good serves on");
}
