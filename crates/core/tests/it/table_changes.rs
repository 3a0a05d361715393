//! Services put into and removed from an existing table.

use byname_core::{Config, ServiceSpec};
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{ask, services, shop};

fn put(config: &mut Config, key: &str, service: Value) -> Result<(), String> {
    let wire = serde_json::from_value(service).expect("the wire form");
    let service = ServiceSpec::compile(key, &wire).map_err(|errors| errors.to_string())?;
    config.table.put(service).map_err(|errors| errors.to_string())
}

#[test]
fn puts_changes_and_removes_a_service() {
    let mut config = services(shop());
    let (count, endpoints) = (config.table.services(), config.table.endpoints());
    put(
        &mut config,
        "shop/new",
        json!({"clusterIPs": "10.96.0.99", "ports": [{"port": 80}], "endpoints": [{"addresses": "10.9.9.9"}]}),
    )
    .expect("it is new");
    assert_eq!(ask(&config, "new"), "service new.shop:80");
    assert_eq!(ask(&config, "10.96.0.99"), "cluster_ip new.shop:80");
    assert_eq!(ask(&config, "10-9-9-9.shop.pod"), "pod 10-9-9-9.shop.pod.cluster.local:80");
    assert_eq!((config.table.services(), config.table.endpoints()), (count + 1, endpoints + 1));

    put(&mut config, "shop/new", json!({"clusterIPs": "10.96.0.98", "ports": [{"port": 81}], "endpoints": []}))
        .expect("it changes");
    assert_eq!(ask(&config, "new"), "pass port_not_found");
    assert_eq!(ask(&config, "new:81"), "refuse no_endpoints");
    assert_eq!(ask(&config, "10.96.0.99"), "pass ip_literal", "no Service has its old address");
    assert_eq!(ask(&config, "10-9-9-9.shop.pod"), "pass name_not_found");
    assert_eq!((config.table.services(), config.table.endpoints()), (count + 1, endpoints));

    assert!(config.table.remove("shop", "new"));
    assert!(!config.table.remove("shop", "new"), "it is already removed");
    assert_eq!(ask(&config, "new:81"), "pass name_not_found");
    assert_eq!(ask(&config, "10.96.0.98"), "pass ip_literal");
    assert_eq!((config.table.services(), config.table.endpoints()), (count, endpoints));
    assert_eq!(ask(&config, "payments"), "service payments.shop:80", "the rest is unchanged");
}

#[test]
fn leaves_the_table_unchanged_when_a_change_is_refused() {
    let mut config = services(shop());
    let taken = put(&mut config, "shop/db", json!({"clusterIPs": "10.96.0.10", "ports": [{"port": 80}]}));
    assert_eq!(
        taken.unwrap_err(),
        "table.services[\"shop/db\"].clusterIPs[0]: \"10.96.0.10\" is already the cluster IP of another Service; \
        remove it from one of the two Services"
    );
    assert_eq!(ask(&config, "db-0.db"), "endpoint db-0.db.shop:80");
    assert_eq!(ask(&config, "10.96.0.10"), "cluster_ip payments.shop:80");
    put(&mut config, "shop/payments", json!({"clusterIPs": "10.96.0.10", "ports": [{"port": 80}]}))
        .expect("its own address");
}

#[test]
fn knows_an_address_until_the_last_service_with_it_is_removed() {
    let shared = json!({"ports": [{"port": 80}], "endpoints": [{"addresses": "10.5.5.5"}]});
    let mut config = services(json!({"shop/a": shared, "shop/b": shared}));
    for (name, left) in [("a", "pod 10-5-5-5.shop.pod.cluster.local:80"), ("b", "pass name_not_found")] {
        assert!(config.table.remove("shop", name));
        assert_eq!(ask(&config, "10-5-5-5.shop.pod"), left);
    }
}

#[test]
fn counts_dropped_addresses_once() {
    let mut config = services(json!({}));
    let service = json!({"ports": [{"port": 80}], "endpoints": [{"addresses": "127.0.0.1"}]});
    for _ in 0..3 {
        put(&mut config, "shop/a", service.clone()).expect("a valid Service");
        assert_eq!(config.table.addresses_dropped(), 1);
    }
    config.table.remove("shop", "a");
    assert_eq!(config.table.addresses_dropped(), 0);
}
