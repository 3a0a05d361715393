//! Local replies: one line that says what was requested, what was tried and what to do.

use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{config, http, local_reply, shop};

#[test]
fn gives_each_refusal_its_statuses_and_its_line() {
    let mut services = shop();
    services["shop/api"] = json!({"type": "ExternalName", "externalName": "api.example.com"});
    services["shop/there"] = json!({"type": "ExternalName", "externalName": "payments.prod.svc.cluster.local"});
    services["shop/self"] = json!({"type": "ExternalName", "externalName": "self.shop.svc.cluster.local"});
    services["shop/evil"] = json!({"type": "ExternalName", "externalName": "localhost"});
    services["shop/gone"] = json!({"type": "ExternalName", "externalName": "nope.shop.svc.cluster.local"});
    services["shop/typo"] = json!({"ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": "10.0.0.1 10.0.0.2",
        "ports": {"htpp": 8080}}]});
    services["shop/agent"] = json!({"internalTrafficPolicy": "Local", "ports": [{"port": 80}],
        "endpoints": [{"addresses": "10.0.0.1", "node": "n1"}]});
    services["shop/down"] = json!({"ports": [{"port": 80}], "endpoints": [{"addresses": "10.0.0.1", "ready": false}]});
    let config =
        config(json!({"unknownNames": "refuse", "externalNames": {"mode": "listed"}, "table": {"services": services}}));
    let rows: &[(&[u8], u16, u8, &str)] = &[
        (
            b"a,b",
            400,
            3,
            "byname: bad_authority: \"a,b\" from namespace shop: the authority is invalid: two Host headers were joined into one; \
            send a single Host header: a name or an address, with an optional port\n",
        ),
        (
            b"\xff\n",
            400,
            3,
            "byname: bad_authority: \"\\xff\\n\" from namespace shop: the authority is invalid: '\\xff' is not allowed in a host; \
            send a single Host header: a name or an address, with an optional port\n",
        ),
        (
            b"api:443",
            403,
            7,
            "byname: alias_denied: \"api:443\" from namespace shop: alias shop/api -> api.example.com is not listed in \
            externalNames.allow with port 443; add the host and port to externalNames.allow, or correct the alias\n",
        ),
        (
            b"there",
            403,
            7,
            "byname: alias_denied: \"there\" from namespace shop: alias shop/there -> payments.prod.svc.cluster.local is in \
            another namespace, and externalNames.grants has no grant from shop to prod; add a grant to externalNames.grants, or point the alias to a Service of its own namespace\n",
        ),
        (
            b"evil",
            403,
            7,
            "byname: alias_denied: \"evil\" from namespace shop: alias shop/evil -> localhost is always refused; \
            point the alias to another target: no configuration can allow this one\n",
        ),
        (
            b"nope.",
            404,
            5,
            "byname: name_not_found: \"nope.\" from namespace shop: none of these names exists: nope; \
            check the name and the namespace: kubectl get service --all-namespaces lists them\n",
        ),
        (
            b"gone",
            404,
            5,
            "byname: name_not_found: \"gone\" from namespace shop: alias shop/gone -> nope.shop.svc.cluster.local does not exist: \
            no such Service; correct the externalName, or create its target\n",
        ),
        (
            b"payments:81",
            404,
            5,
            "byname: port_not_found: \"payments:81\" from namespace shop: payments.shop.svc.cluster.local: port 81 from the \
            authority is not a port of the Service, which has only the ports 80, 9090; use a port that the Service declares: kubectl get service lists them\n",
        ),
        (
            b"_grpc._tcp.payments:80",
            404,
            5,
            "byname: port_not_found: \"_grpc._tcp.payments:80\" from namespace shop: _grpc._tcp.payments.shop.svc.cluster.local: port \
            80 from the authority is not port grpc of the name, which is 9090; leave the port out, or use the port of the name\n",
        ),
        (
            b"_dns._udp.payments",
            404,
            5,
            "byname: port_not_found: \"_dns._udp.payments\" from namespace shop: _dns._udp.payments.shop.svc.cluster.local: port dns of \
            the Service is a UDP port, and requests need a TCP port; use a TCP port of the Service: kubectl get service lists them\n",
        ),
        (
            b"payments:53",
            404,
            5,
            "byname: port_not_found: \"payments:53\" from namespace shop: payments.shop.svc.cluster.local: port 53 of the Service is a \
            UDP port, and requests need a TCP port; use a TCP port of the Service: kubectl get service lists them\n",
        ),
        (
            b"db-0.db:9187",
            404,
            5,
            "byname: port_not_found: \"db-0.db:9187\" from namespace shop: db-0.db.shop.svc.cluster.local: port 9187 may be a port of \
            the pods, but only steering by endpoint reaches those; the Service has only port 80; steer the Service by endpoint, or \
            list the port in the Service\n",
        ),
        (
            b"down",
            503,
            14,
            "byname: no_endpoints: \"down\" from namespace shop: down.shop.svc.cluster.local: 0 of 1 endpoints can serve: none is ready, and none serves while terminating; \
            check the Service's selector and the readiness of its pods\n",
        ),
        (
            b"agent",
            503,
            14,
            "byname: no_endpoints: \"agent\" from namespace shop: agent.shop.svc.cluster.local: 0 of 1 endpoints can serve: \
            internalTrafficPolicy is Local, and the caller's node is unknown; set NODE_NAME in the node's metadata, or \
            caller.node in the configuration, as byname watch --pod does\n",
        ),
        (
            b"typo",
            503,
            14,
            "byname: no_endpoints: \"typo\" from namespace shop: typo.shop.svc.cluster.local: 0 of 2 endpoints can serve: none has a \
            port named http; check the Service's targetPort: it must be the name or number of a container port\n",
        ),
        (
            b"db-2.db",
            503,
            14,
            "byname: no_endpoints: \"db-2.db\" from namespace shop: db-2.db.shop.svc.cluster.local is not in DNS now: the \
            endpoint with that name is not ready; check the Service's selector and the readiness of its pods\n",
        ),
        (
            b"self",
            508,
            9,
            "byname: alias_loop: \"self\" from namespace shop: alias shop/self -> self.shop.svc.cluster.local was already followed: \
            an alias loop; correct the externalName of one of these Services\n",
        ),
    ];
    for (authority, status, grpc_status, body) in rows {
        let reply = local_reply(&config, http(*authority)).expect("it is refused");
        assert_eq!((reply.status, reply.grpc_status, reply.body.as_str()), (*status, *grpc_status, *body));
    }
    assert!(local_reply(&config, http("payments")).is_none());
}

#[test]
fn escapes_and_cuts_the_authority() {
    let reply = local_reply(&config(json!({})), http(&[b'\r'; 100_000])).expect("it is refused");
    assert!(reply.body.len() < 600 && reply.body.lines().count() == 1, "{}", reply.body);
}

#[test]
fn names_the_ports_that_there_are() {
    let ports =
        |count: u16| (0..count).map(|index| json!({"name": format!("p{index}"), "port": 9000 + index})).collect();
    let udp = vec![json!({"port": 53, "protocol": "UDP"})];
    for (ports, expected) in [
        (udp, "which has no TCP port;"),
        (ports(1), "which has only port 9000;"),
        (ports(16), "9014, 9015;"),
        (ports(17), "9014, 9015 and more;"),
    ] {
        let config = config(json!({"unknownNames": "refuse", "table": {"services": {"shop/web": {"ports": ports}}}}));
        let body = local_reply(&config, http("web")).expect("it is refused").body;
        assert!(body.contains(expected), "{body}");
    }
}
