//! Traffic that iptables redirects to a sidecar of `byname compile --pass original-dst`: which port a request goes to, and where what
//! is not steered goes on to.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use anyhow::Result;
use byname_cluster::{REDIRECTED_TO, RedirectedPod};
use serde_json::{Value, json};

/// Address and name of each server. Endpoints are named after their Service and port; others after the address that the client
/// connects to, where kube-proxy would answer.
const SERVERS: [(&str, &str); 17] = [
    ("10.244.1.7:8080", "endpoint of g:80"),
    ("10.244.1.7:9090", "endpoint of g:50051"),
    ("10.244.1.8:8080", "endpoint of web:80"),
    ("10.244.1.8:8443", "endpoint of web:443"),
    ("10.244.1.9:8080", "endpoint of api:80"),
    ("10.244.1.9:9000", "endpoint of api:9000"),
    ("10.244.1.20:9042", "endpoint db-0"),
    ("10.244.1.21:9042", "endpoint db-1"),
    ("10.96.1.7:80", "address of g:80"),
    ("10.96.1.7:81", "address of g:81"),
    ("10.96.1.7:50051", "address of g:50051"),
    ("10.96.1.8:80", "address of web:80"),
    ("10.96.1.8:443", "address of web:443"),
    ("10.96.1.9:80", "address of api:80"),
    ("10.96.1.9:9000", "address of api:9000"),
    ("10.96.1.99:80", "elsewhere:80"),
    ("10.96.1.99:3128", "elsewhere:3128"),
];

const G: &str = "g.shop.svc.cluster.local";
const WEB: &str = "web.shop.svc.cluster.local";
const API: &str = "api.shop.svc.cluster.local";

fn service(
    name: &str,
    cluster_ip: &str,
    ports: &Value,
    endpoints: &[(&str, Value)],
    endpoint_ports: &Value,
) -> [Value; 2] {
    let metadata = json!({"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}});
    let endpoints: Vec<Value> =
        endpoints.iter().map(|(address, hostname)| json!({"addresses": [address], "hostname": hostname})).collect();
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": cluster_ip, "ports": ports}}),
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
               "ports": endpoint_ports, "endpoints": endpoints}),
    ]
}

fn objects() -> Vec<Value> {
    let port = |name: &str, port: u16| json!({"name": name, "port": port});
    let db = json!([port("cql", 9042)]);
    let mut objects = [
        service(
            "g",
            "10.96.1.7",
            &json!([port("http", 80), port("grpc", 50051)]),
            &[("10.244.1.7", json!(null))],
            &json!([port("http", 8080), port("grpc", 9090)]),
        ),
        service(
            "web",
            "10.96.1.8",
            &json!([port("http", 80), port("admin", 443)]),
            &[("10.244.1.8", json!(null))],
            &json!([port("http", 8080), port("admin", 8443)]),
        ),
        service(
            "api",
            "10.96.1.9",
            &json!([port("http", 80), port("more", 9000)]),
            &[("10.244.1.9", json!(null))],
            &json!([port("http", 8080), port("more", 9000)]),
        ),
        service("db", "None", &db, &[("10.244.1.20", json!("db-0")), ("10.244.1.21", json!("db-1"))], &db),
    ]
    .concat();
    objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "pay"},
                        "spec": {"type": "ExternalName", "externalName": API}}));
    objects
}

/// Asks, and checks who answers and which host it was asked for.
fn check(pod: &RedirectedPod, by: &str, arguments: &[&str], server: &str, authority: &str) -> Result<()> {
    let answer = pod.curl(arguments)?;
    let said = (answer.said("pod"), answer.said("authority"));
    assert_eq!(said, (server, authority), "{by}, {arguments:?}: {answer:?}\n{}", pod.tail());
    let headers = answer.body["headers"].as_object().expect("headers");
    // A client's own header that looks like byname's means nothing, and goes on as any other.
    let is_own = |name: &&String| name.starts_with("X-Byname") && *name != "X-Byname-Destination-Port";
    let own: Vec<&String> = headers.keys().filter(is_own).collect();
    assert!(own.is_empty(), "{by}, {arguments:?}: {own:?} reach the upstream");
    Ok(())
}

/// A host header, as an argument of curl.
fn host(name: &str) -> String {
    format!("Host: {name}")
}

#[test]
fn redirected_requests_go_to_the_port_that_the_client_connected_to() -> Result<()> {
    const HTTPS: &str = "X-Forwarded-Proto: https";
    let mut pod = RedirectedPod::start(&SERVERS)?;
    let direct = format!("http://{REDIRECTED_TO}/");
    for by in ["cluster", "endpoint", "authority"] {
        pod.start_envoy(&objects(), &json!({"version": 1, "steering": {"by": by}}))?;
        let g_grpc = &format!("{G}:50051");
        // A host without a port, dialled at a port of the Service.
        for (name, url, server, authority) in [
            ("g", "http://10.96.1.7/", "endpoint of g:80", G),
            ("g", "http://10.96.1.7:50051/", "endpoint of g:50051", g_grpc),
            ("g.shop", "http://10.96.1.7:50051/", "endpoint of g:50051", g_grpc),
            (G, "http://10.96.1.7:50051/", "endpoint of g:50051", g_grpc),
            ("G.shop.svc.cluster.local.", "http://10.96.1.7:50051/", "endpoint of g:50051", g_grpc),
            ("10.96.1.7", "http://10.96.1.7:50051/", "endpoint of g:50051", g_grpc),
            // Wherever the client connected to: its own resolver may have given it any address.
            ("g", "http://10.96.1.99/", "endpoint of g:80", G),
            ("web", "http://10.96.1.8:443/", "endpoint of web:443", &format!("{WEB}:443")),
            ("pay", "http://10.96.1.9/", "endpoint of api:80", API),
            ("pay", "http://10.96.1.9:9000/", "endpoint of api:9000", &format!("{API}:9000")),
            ("db-0.db", "http://10.244.1.20:9042/", "endpoint db-0", "db-0.db.shop.svc.cluster.local:9042"),
            ("db-1.db", "http://10.244.1.20:9042/", "endpoint db-1", "db-1.db.shop.svc.cluster.local:9042"),
            // The port of the host comes first, and a port by its name.
            ("g:50051", "http://10.96.1.7/", "endpoint of g:50051", g_grpc),
            ("g:80", "http://10.96.1.7:50051/", "endpoint of g:80", G),
            ("_grpc._tcp.g", "http://10.96.1.7/", "endpoint of g:50051", g_grpc),
            // What the filter does not steer goes where it was going, as it was.
            ("g", "http://10.96.1.7:81/", "address of g:81", "g"),
            ("g:81", "http://10.96.1.7/", "address of g:80", "g:81"),
            ("nobody", "http://10.96.1.99/", "elsewhere:80", "nobody"),
            ("nobody:9999", "http://10.96.1.99/", "elsewhere:80", "nobody:9999"),
            ("www.example.com", "http://10.96.1.7:50051/", "address of g:50051", "www.example.com"),
            ("10.96.1.99", "http://10.96.1.99:3128/", "elsewhere:3128", "10.96.1.99"),
            // A connection to the listener itself was not redirected.
            ("g", &direct, "endpoint of g:80", G),
            ("g:50051", &direct, "endpoint of g:50051", g_grpc),
        ] {
            for more in [&[][..], &["--http2-prior-knowledge"], &["-H", "x-byname-destination-port: 9"]] {
                check(&pod, by, &[&["-H", &host(name), url], more].concat(), server, authority)?;
            }
            // HTTP/1.1 in origin form has no scheme.
            check(&pod, by, &["-H", &host(name), url, "-H", HTTPS], server, authority)?;
        }
        let forged = ["-H", "Host: g", "-H", "x-byname-destination-port: 50051"];
        for url in ["http://10.96.1.7/", &direct] {
            check(&pod, by, &[&forged[..], &[url]].concat(), "endpoint of g:80", G)?;
        }
        // HTTP/1.0.
        let old = ["-0", "-H", "Host: g", "http://10.96.1.7:50051/"];
        check(&pod, by, &old, "endpoint of g:50051", g_grpc)?;
        let without_host = ["-0", "-H", "Host:", "http://10.96.1.7:50051/"];
        check(&pod, by, &without_host, "address of g:50051", "http-1-0-without-host.invalid")?;
        // Clients of gRPC, some of which send an authority without a port.
        for (authority, server) in [
            ("g", "endpoint of g:50051"),
            (G, "endpoint of g:50051"),
            ("g:50051", "endpoint of g:50051"),
            ("nobody", "address of g:50051"),
        ] {
            let answered = json!({"unary": server, "stream": server, "messages": 3});
            assert_eq!(pod.call_grpc(&["10.96.1.7:50051", authority])?, answered, "{by}, gRPC to {authority}");
        }
        // CONNECT to a proxy that the client knows by its address.
        let tunnel = |authority: &str| format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        let answer = pod.send("10.96.1.99", "3128", &tunnel("nobody:80"))?;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{by}: {answer}");
        assert!(
            answer.contains("\"pod\":\"elsewhere:3128\"") && answer.contains("\"authority\":\"nobody:80\""),
            "{by}: {answer}"
        );
        let through = ["-p", "-x", "http://10.96.1.99:3128", "http://g:50051/"];
        let answer = pod.curl(&[&through[..], &["--suppress-connect-headers"]].concat())?;
        assert_eq!(answer.said("pod"), "endpoint of g:50051", "{by}: {answer:?}");
    }
    Ok(())
}

/// A sidecar of a server that nothing listens for: what a workload asks for goes where it would go without a sidecar, and a client
/// cannot choose a cluster of its own.
#[test]
fn every_request_passes_until_a_server_answers() -> Result<()> {
    let mut pod = RedirectedPod::start(&SERVERS)?;
    pod.start_envoy_with(&["--server", "127.0.0.1:18000", "--when-no-server", "pass"])?;
    for (name, url, server) in [
        ("g", "http://10.96.1.7/", "address of g:80"),
        ("g:80", "http://10.96.1.7:50051/", "address of g:50051"),
        ("web.shop", "http://10.96.1.8:443/", "address of web:443"),
        ("www.example.com", "http://10.96.1.99:3128/", "elsewhere:3128"),
    ] {
        for more in [&[][..], &["--http2-prior-knowledge"], &["-H", "x-byname-cluster: byname-server"]] {
            check(&pod, "no server", &[&["-H", &host(name), url], more].concat(), server, name)?;
        }
    }
    Ok(())
}
