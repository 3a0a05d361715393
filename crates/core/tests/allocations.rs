//! A request allocates nothing once buffers are warm, however it is resolved and whatever endpoint is picked.
//!
//! The test counts allocations, and is a binary of its own because it replaces the allocator.

#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::expect_used, reason = "a test that cannot continue fails by a panic")]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use byname_core::{
    Balance, Chooser, Config, Defaults, FakeEnv, Plan, Reason, Request, Scheme, StreamAction, StreamNode,
    put_protobuf_bytes,
};
use serde_json::{Value, json};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller upholds the contract of `System`.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Asks for names until a server has answered for all of them: `messages` are its answers.
fn answered(config: &mut Config, names: &[&str], messages: &[Vec<u8>]) {
    let mut actions: Vec<StreamAction> = Vec::new();
    for (name, id) in names.iter().zip(1..) {
        let request = Request::new(name, Scheme::Http);
        assert_eq!(config.resolve(request, None).reason(), Reason::Unanswered, "{name} is not known");
        assert!(config.ask(request, (id, None), 0, &mut actions), "{name} may wait");
    }
    let (discovery, table) = config.discover().expect("the configuration has a server");
    discovery.opened(0, &StreamNode::default(), table, &mut actions);
    for message in messages {
        discovery.received(0, 0, message, table, &mut actions);
    }
}

/// A `DeltaDiscoveryResponse` of this type, with resources or names of what is missing.
fn response(resource_type: &str, resources: &[(&str, &str)], removed: &[&str]) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, value) in resources {
        let (mut any, mut resource) = (Vec::new(), Vec::new());
        put_protobuf_bytes(&mut any, 2, value.as_bytes());
        put_protobuf_bytes(&mut resource, 2, &any);
        put_protobuf_bytes(&mut resource, 3, name.as_bytes());
        put_protobuf_bytes(&mut message, 2, &resource);
    }
    put_protobuf_bytes(&mut message, 4, format!("type.googleapis.com/byname.v1.{resource_type}").as_bytes());
    removed.iter().for_each(|name| put_protobuf_bytes(&mut message, 6, name.as_bytes()));
    message
}

#[test]
fn a_warm_request_of_a_table_on_demand_allocates_nothing() {
    for steering in [json!({"by": "cluster"}), json!({"by": "endpoint"})] {
        let fields = json!({
            "version": 1,
            "caller": {"namespace": "shop"},
            "steering": steering,
            "server": {"cluster": "byname"},
        });
        let mut config = Config::read(fields.to_string(), &Defaults::default()).expect("a valid configuration");
        let services = [
            ("shop/web", r#"{"clusterIPs":"10.96.0.7","ports":[{"port":80}],"endpoints":[{"addresses":"10.0.0.1"}]}"#),
            ("shop/pay", r#"{"type":"ExternalName","externalName":"web.shop.svc.cluster.local"}"#),
            (
                "shop/db",
                r#"{"clusterIPs":"None","ports":[{"port":80}],"endpoints":[{"addresses":"10.0.0.2","hostnames":"db-0"}]}"#,
            ),
        ];
        let resource_type = if steering["by"] == "endpoint" { "Endpoints" } else { "Service" };
        let messages = [
            response("Namespaces", &[("*", "shop")], &[]),
            response(resource_type, &services, &["shop/gone"]),
            response("Address", &[("10.244.0.7", "")], &["192.0.2.1"]),
        ];
        answered(&mut config, &["web", "pay", "db-0.db", "gone", "10.244.0.7", "192.0.2.1"], &messages);
        let (mut balance, mut plan, mut env) = (Balance::default(), Plan::default(), FakeEnv::default());
        let mut ask = |authority: &str| {
            let request = Request::new(authority, Scheme::Http);
            let resolution = config.resolve(request, None);
            assert_ne!(resolution.reason(), Reason::Unanswered, "{authority}");
            let chooser = &mut Chooser { balance: &mut balance, env: &mut env };
            config.plan(&resolution, request, chooser, &mut plan, None);
            if let Some(ticket) = plan.take_ticket() {
                config.done(ticket, Some(200), &mut Chooser { balance: &mut balance, env: &mut env });
            }
        };
        for authority in ["web", "pay", "db-0.db", "10.96.0.7", "gone", "10.244.0.7", "192.0.2.1", "www.example.org"] {
            (0..10).for_each(|_| ask(authority));
            let before = COUNT.with(Cell::get);
            (0..1_000).for_each(|_| ask(authority));
            assert_eq!(COUNT.with(Cell::get) - before, 0, "{authority} by {steering}");
        }
    }
}

fn config(steering: &Value) -> Config {
    let group = |weight: u32, zone: &str| {
        let addresses: Vec<String> = (1..=50).map(|number| format!("10.{weight}.0.{number}")).collect();
        json!({"addresses": addresses, "weight": weight, "zone": zone})
    };
    let web = json!({
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [group(1, "a"), group(3, "b")],
        "subsets": {"a": {"weight": 90, "zone": "a"}, "b": {"weight": 10, "zone": "b"}},
    });
    let text = json!({
        "version": 1,
        "caller": {"namespace": "shop", "podIP": "10.244.0.9"},
        "steering": steering,
        "externalNames": {"allow": [{"host": "api.example.com", "ports": [80]}]},
        "fallback": {
            "services": {"shop/gone": {"service": "shop/web"}, "shop/empty": {"service": "shop/web"}},
            "baselines": {"shop": "base"},
        },
        "table": {"services": {
            "shop/web": web,
            "shop/workers": {"clusterIPs": "None", "ports": [{"port": 80}], "endpoints": [
                {"addresses": "10.8.0.1 10.8.0.2 10.8.0.3", "hostnames": "worker worker db-0"},
            ]},
            "shop/empty": {"ports": [{"port": 80}], "endpoints": []},
            "shop/pay": {"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"},
            "shop/api": {"type": "ExternalName", "externalName": "api.example.com"},
            "base/search": {"ports": [{"port": 80}], "endpoints": [{"addresses": "10.9.0.1 10.9.0.2"}]},
        }},
    });
    Config::read(text.to_string(), &Defaults::default()).expect("a valid configuration")
}

#[test]
fn a_request_allocates_nothing() {
    let simple = |policy: &str| json!({"by": "endpoint", "loadBalancer": {"simple": policy}});
    let hash = json!({"by": "endpoint", "loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}});
    let ejecting = json!({
        "by": "endpoint",
        "loadBalancer": {"simple": "LEAST_REQUEST"},
        "outlierDetection": {"consecutive5xxErrors": 1},
    });
    let steerings = [
        json!({"by": "cluster"}),
        json!({"by": "authority"}),
        simple("ROUND_ROBIN"),
        simple("RANDOM"),
        simple("LEAST_REQUEST"),
        hash,
        json!({"by": "endpoint", "loadBalancer": {"consistentHash": {"useSourceIp": true}}}),
        ejecting,
    ];
    for steering in steerings {
        let config = config(&steering);
        let (mut balance, mut plan) = (Balance::default(), Plan::default());
        let mut env = FakeEnv { headers: vec![("x-user".into(), "one".into())], ..FakeEnv::default() };
        let mut ask = |authority: &str, env: &mut FakeEnv, all_fail: bool| {
            let request = Request::new(authority, Scheme::Http);
            let resolution = config.resolve(request, None);
            let chooser = &mut Chooser { balance: &mut balance, env };
            config.plan(&resolution, request, chooser, &mut plan, None);
            // A fifth of the requests fail, so that some endpoint is always ejected.
            let status = if all_fail || env.seed.is_multiple_of(5) { 503 } else { 200 };
            env.now += 1_000_000_000;
            if let Some(ticket) = plan.take_ticket() {
                config.done(ticket, Some(status), &mut Chooser { balance: &mut balance, env });
            }
        };
        for authority in [
            "web",
            "web.shop.svc.cluster.local",
            "pay",
            "api",
            "gone",
            "empty",
            "search",
            "_http._tcp.web",
            "worker.workers",
            "db-0.workers",
            "worker.workers:81",
            "workers:81",
            "nope.shop",
            "192.0.2.1",
        ] {
            // First every endpoint gets an entry, so that the state no longer grows.
            (0..5_000).for_each(|_| ask(authority, &mut env, true));
            (0..5_000).for_each(|_| ask(authority, &mut env, false));
            let before = COUNT.with(Cell::get);
            (0..1_000).for_each(|_| ask(authority, &mut env, false));
            let allocations = COUNT.with(Cell::get) - before;
            assert_eq!(allocations, 0, "{authority} by {steering}");
        }
    }
    let before = COUNT.with(Cell::get);
    drop(Box::new(1));
    assert_eq!(COUNT.with(Cell::get) - before, 1, "the allocator counts");
}
