//! What `byname status`, `explain` and `proxy-config` say of a real Envoy that a real `byname serve` fills.

use byname_test_support::{Envoy, TestUpstream};
use serde_json::{Value, json};

use crate::{
    program::{
        ProgramOutput, ServeProcess, annotated, ask, eventually, eventually_answers, service, service_with, slice,
        slices, upstream,
    },
    stream,
};

/// Asks this Envoy, and compares it with the objects that the server follows.
fn byname(program: &ServeProcess, envoy: &Envoy, arguments: &[&str]) -> ProgramOutput {
    program.run_with_objects(&[arguments, &["--admin", &format!("127.0.0.1:{}", envoy.port(9901))]].concat())
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A headless Service of the namespace `shop` whose endpoint has this hostname, and a Service for the caller's zone and node.
fn special(hostname: &str, near: &TestUpstream, far: &TestUpstream) -> Vec<Value> {
    let at = |zone: &str, node: &str| json!({"zone": zone, "nodeName": node, "hints": {"forZones": [{"name": zone}]}});
    let local = json!({"clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"], "internalTrafficPolicy": "Local"});
    vec![
        service_with("shop/db", &json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        slice("shop/db", near, &json!({"hostname": hostname})),
        service("shop/web"),
        slice("shop/web", near, &at("eu-a", "node-1")),
        slice("shop/web", far, &at("eu-b", "node-2")),
        service_with("shop/agent", &local),
        slice("shop/agent", near, &at("eu-a", "node-1")),
        slice("shop/agent", far, &at("eu-b", "node-2")),
        // Nothing is ready, so the server gives Envoy no endpoint.
        service("shop/asleep"),
        slice("shop/asleep", near, &json!({"conditions": {"ready": false, "serving": false}})),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_table_matches_until_something_changes() {
    let (one, two, passthrough) = (upstream("one").await, upstream("two").await, upstream("passthrough").await);
    let payments = |upstreams: &[&TestUpstream]| {
        [vec![service("shop/payments"), service("shop/orders")], slices("shop/payments", upstreams)].concat()
    };
    let of = |own: Vec<Value>, hostname: &str| [own, special(hostname, &one, &two)].concat();
    let mut program = ServeProcess::start(&of(payments(&[&one]), "db-0")).await;
    let envoy = program.envoy(&passthrough).await;
    for name in ["payments", "web", "agent", "db-0.db"] {
        eventually_answers(&envoy, name, "one").await;
    }
    let status = byname(&program, &envoy, &["status"]);
    let endpoints = "            not compared: endpoints, which Envoy's clusters have; byname explain --live compares those of a name\n";
    let same = format!("  cluster   matches the table\n{endpoints}");
    status.expect(0, &[", 6 Services, without endpoints, accepted ", &same]);
    for name in ["payments", "web", "agent", "db-0.db", "db-0.db.shop.svc.cluster.local"] {
        let explained = byname(&program, &envoy, &["explain", name]);
        explained.expect(0, &["  + the cluster gives the same answer now\n"]);
        for wrong in ["not compared", "240.0.0.", "endpoints can serve"] {
            assert!(!explained.text.contains(wrong), "{name}: {}", explained.text);
        }
    }
    assert_eq!(ask(&envoy, "asleep").await.status, 503);
    let asleep = byname(&program, &envoy, &["explain", "asleep"]);
    asleep.expect(
        1,
        &[
            "not reachable, because Envoy has no endpoint: Service ",
            "the cluster has no endpoint, so Envoy answers 503",
            "the cluster gives the same answer now",
        ],
    );
    // Nobody has requested it.
    let orders = byname(&program, &envoy, &["explain", "orders"]);
    orders.expect(0, &["same answer now\n  not compared: the endpoints, because this Envoy has no such cluster yet\n"]);
    byname(&program, &envoy, &["explain", "nowhere"]).expect(0, &["  + the cluster gives the same answer now\n"]);

    program.kill();
    // Endpoints are not in the table.
    program.write(&of(payments(&[&two]), "db-0"));
    byname(&program, &envoy, &["status"]).expect(0, &[&same]);
    let address = |upstream: &TestUpstream| format!("127.0.0.1:{}", upstream.port());
    let old = format!("  - endpoints: only in this Envoy: {}\n", address(&one));
    let new = format!("  - endpoints: only in the cluster: {}\n", address(&two));
    let why = "  why: the table is current, and Envoy gets endpoints from byname serve: ";
    byname(&program, &envoy, &["explain", "payments"]).expect(1, &[&old, &new, why]);
    byname(&program, &envoy, &["explain", "web"]).expect(0, &["  + the cluster gives the same answer now\n"]);

    // Each kind of difference.
    let mut other_port = service("shop/payments");
    other_port["spec"]["ports"][0]["port"] = 81.into();
    let mut other_address = special("db-1", &one, &two);
    other_address[8]["spec"]["clusterIP"] = "10.97.9.9".into();
    other_address[8]["spec"]["clusterIPs"] = json!(["10.97.9.9"]);
    program.write(&[vec![other_port, service("shop/new")], other_address].concat());
    let differing = "  cluster   5 Services differ: the cluster changed after this table was compiled\n            \
                     only in the cluster: shop/new\n            only in the sidecar: shop/orders\n            \
                     changed: shop/asleep\n            ports differ: shop/payments\n            \
                     hostnames or ports of endpoints differ: shop/db\n";
    byname(&program, &envoy, &["status"]).expect(1, &[differing, endpoints]);
    let gone =
        "  - answer: payments.shop.svc.cluster.local:80 (service) in the sidecar, port_not_found in the cluster\n";
    byname(&program, &envoy, &["explain", "payments"])
        .expect(1, &[gone, "  why: the Service changed after this table"]);
    byname(&program, &envoy, &["explain", "db-0.db"]).expect(1, &["  - answer: db-0.db.shop.svc.cluster.local:80"]);
    byname(&program, &envoy, &["explain", "new"]).expect(1, &["  - answer: name_not_found in the sidecar, new.shop"]);
    program.restart().await;
    eventually("the table is current", async || byname(&program, &envoy, &["status"]).status == Some(0)).await;
}

/// The server's settings decide who sees a Service, and no sidecar shows them.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_the_server_may_hide_is_no_difference() {
    let passthrough = upstream("passthrough").await;
    let objects = [
        namespace("billing"),
        namespace("data"),
        slice("shop/payments", &passthrough, &json!({})),
        service("shop/payments"),
        annotated(service("billing/api"), Some("*")),
        annotated(service("billing/ledger"), Some("billing")),
        service("billing/report"),
        service("data/queue"),
    ];
    let mut program = ServeProcess::start_with_arguments(&objects, &["--default-export", "."]).await;
    let envoy = program.envoy(&passthrough).await;
    let matches = "  cluster   matches the table, without namespaces data\n            not compared: billing/report; the server \
                   may hide such Services (--default-export)\n";
    byname(&program, &envoy, &["status"]).expect(0, &[matches]);
    let same = "  + the cluster gives the same answer now\n";
    let hidden = "  not compared: billing/report; the server may hide such Services (--default-export)\n";
    for name in ["report.billing", "ledger.billing", "queue.data"] {
        byname(&program, &envoy, &["explain", name]).expect(0, &["name_not_found", same, hidden]);
    }
    byname(&program, &envoy, &["explain", "api.billing"]).expect(0, &["reachable: Service billing/api", same]);
    // An annotation is known, and so is the own namespace.
    program.kill();
    let more =
        [annotated(service("billing/late"), Some("shop")), service("shop/late"), annotated(service("data/lone"), None)];
    program.write(&[&objects[..], &more].concat());
    byname(&program, &envoy, &["status"]).expect(1, &["only in the cluster: billing/late, shop/late\n"]);
    let mut narrowed = objects.clone();
    narrowed[4] = annotated(service("billing/api"), Some("billing"));
    program.write(&narrowed);
    byname(&program, &envoy, &["status"]).expect(1, &["only in the sidecar: billing/api\n"]);

    // The table has a Service of another namespace without an annotation, so such Services are not hidden.
    let mut program = ServeProcess::start(&objects).await;
    let envoy = program.envoy(&passthrough).await;
    byname(&program, &envoy, &["status"]).expect(0, &["  cluster   matches the table\n"]);
    program.kill();
    program.write(&[&objects[..], &[service("billing/new")]].concat());
    byname(&program, &envoy, &["status"]).expect(1, &["only in the cluster: billing/new\n"]);
}

/// By Envoy's stream, and by the filter's own.
#[tokio::test(flavor = "multi_thread")]
async fn proxy_config_says_what_the_server_sent() {
    let (one, passthrough) = (upstream("one").await, upstream("passthrough").await);
    let objects = [vec![service("shop/payments")], slices("shop/payments", &[&one])].concat();
    let program = ServeProcess::start(&objects).await;
    let run = |envoy: &Envoy, monitor: &str| {
        let admin = format!("127.0.0.1:{}", envoy.port(9901));
        program.run(&["proxy-config", "--admin", &admin, "--monitor", monitor])
    };
    let by_envoy = program.envoy(&passthrough).await;
    let by_filter = stream::envoy_of(program.port, &passthrough, "pass").await;
    let cluster = "outbound|80||payments.shop";
    for (envoy, resources, held) in [
        (
            &by_envoy,
            &[": filter byname, ".to_owned(), format!(": cluster {cluster}"), format!(": endpoints {cluster}")]
                as &[_],
            "\"shop/payments\"",
        ),
        (&by_filter, &[": service_endpoints shop/payments, ".to_owned()], "\"byname-server\""),
    ] {
        eventually_answers(envoy, "payments", "one").await;
        let output = run(envoy, &program.monitor());
        output.expect(0, &[held]);
        // The configuration, and apart from it the resources with what Envoy said to them.
        for resource in resources {
            let line = output.text.lines().find(|line| line.contains(resource));
            assert!(
                line.is_some_and(|line| line.contains(", version ") && line.ends_with(", acknowledged")),
                "{resource}: {}",
                output.text
            );
        }
    }
    run(&by_envoy, "127.0.0.1:1").expect(2, &["--monitor 127.0.0.1:1"]);
}
