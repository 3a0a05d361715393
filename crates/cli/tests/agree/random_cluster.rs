//! Random clusters of pods that listen on loopback, and names to ask for in them.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use anyhow::{Context, Result};
use byname_cli::kubernetes::ClusterState;
use byname_test_support::SeededRandom;
use serde_json::{Value, json};

/// The endpoints are 127.0.0.2 and the addresses after it.
const MAX_ENDPOINTS: u64 = 24;
const NAMESPACES: [&str; 3] = ["shop", "prod", "web"];
/// Some have the name of a namespace, so that a name can be read in two ways.
const SERVICES: [&str; 6] = ["web", "prod", "db", "api", "old", "ext"];
const ZONES: [&str; 2] = ["eu-a", "eu-b"];
const NODES: [&str; 2] = ["node-a", "node-b"];

/// A condition of an endpoint: left out now and then, and true more often than not.
fn maybe(chance: &mut SeededRandom) -> Option<bool> {
    match chance.below(6) {
        0 => None,
        1 => Some(false),
        _ => Some(true),
    }
}

/// Starts the pods. Every address answers on both ports with its own address and the host header that it received.
pub(crate) fn start_pods() -> Result<[u16; 2]> {
    let mut ports = [0; 2];
    for port in &mut ports {
        for last in 2..2 + MAX_ENDPOINTS as u8 {
            let address = Ipv4Addr::new(127, 0, 0, last);
            let listener = TcpListener::bind((address, *port)).context("a port of loopback")?;
            *port = listener.local_addr()?.port();
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let stream = stream.expect("accepted");
                    thread::spawn(move || {
                        let mut lines = BufReader::new(&stream).lines();
                        let mut host = String::new();
                        while let Some(Ok(line)) = lines.next() {
                            if let Some(value) = line.strip_prefix("host: ") {
                                host = value.to_owned();
                            }
                            if line.is_empty() {
                                let body = format!("{} {host}", stream.local_addr().expect("bound"));
                                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                                if write!(&mut &stream, "{head}{body}").is_err() {
                                    return;
                                }
                            }
                        }
                    });
                }
            });
        }
    }
    Ok(ports)
}

fn service(random: &mut SeededRandom, number: u64, namespace: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    let object = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    if name == "ext" || random.one_in(8) {
        let target = match random.below(5) {
            0 => "weather.example.com".to_owned(),
            1 => "elsewhere.example.com".to_owned(),
            _ => format!("{}.{}.svc.cluster.local", random.of(&SERVICES), random.of(&NAMESPACES)),
        };
        return object(json!({"type": "ExternalName", "externalName": target}));
    }
    let mut ports = vec![json!({"name": "http", "port": 80, "targetPort": 8080})];
    if random.one_in(2) {
        ports.push(json!({"name": "admin", "port": 9090}));
    }
    if random.one_in(3) {
        ports.push(json!({"name": "dns", "port": 53, "protocol": "UDP"}));
    }
    let headless = random.one_in(3);
    let address = if headless { "None".to_owned() } else { format!("10.96.0.{}", number + 1) };
    let mut spec = json!({"clusterIP": address, "clusterIPs": [address], "ports": ports, "selector": {"app": name}});
    if random.one_in(5) {
        spec["publishNotReadyAddresses"] = true.into();
    }
    if random.one_in(4) {
        spec["internalTrafficPolicy"] = "Local".into();
    }
    if random.one_in(3) {
        spec["trafficDistribution"] = (*random.of(&["PreferClose", "PreferSameZone", "PreferSameNode"])).into();
    }
    if random.one_in(8) {
        spec["sessionAffinity"] = "ClientIP".into();
    }
    object(spec)
}

fn slices(random: &mut SeededRandom, service: &Value, pods: &mut u64, listening: [u16; 2]) -> Vec<Value> {
    let hints = random.below(4);
    let slice = |random: &mut SeededRandom, index: u64, pods: &mut u64| {
        // No pod belongs to two Services.
        let more = (1 + random.below(3)).min(MAX_ENDPOINTS - *pods);
        let endpoints: Vec<Value> = (*pods..*pods + more)
            .map(|pod| {
                let mut endpoint = json!({
                    "addresses": [format!("127.0.0.{}", 2 + pod)],
                    "conditions": {
                        "ready": maybe(random), "serving": maybe(random), "terminating": maybe(random).map(|is| !is),
                    },
                    "zone": random.of(&ZONES), "nodeName": random.of(&NODES),
                });
                if random.one_in(3) {
                    endpoint["hostname"] = format!("pod-{pod}").into();
                }
                if hints == 1 && !random.one_in(6) {
                    endpoint["hints"] = json!({"forZones": [{"name": random.of(&ZONES)}]});
                }
                if hints == 2 {
                    endpoint["hints"] =
                        json!({"forZones": [{"name": random.of(&ZONES)}], "forNodes": [{"name": random.of(&NODES)}]});
                }
                endpoint
            })
            .collect();
        *pods += more;
        let mut ports = vec![json!({"name": "http", "port": random.of(&listening), "protocol": "TCP"})];
        if random.one_in(2) {
            ports.push(json!({"name": "admin", "port": random.of(&listening)}));
        }
        if random.one_in(3) {
            ports.push(json!({"name": "dns", "port": 53, "protocol": "UDP"}));
        }
        let metadata = &service["metadata"];
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": format!("{}-{index}", metadata["name"].as_str().expect("text")),
                "namespace": metadata["namespace"],
                "labels": {"kubernetes.io/service-name": metadata["name"]},
            },
            "endpoints": endpoints, "ports": ports,
        })
    };
    (0..=random.below(2)).map(|index| slice(random, index, pods)).collect()
}

/// A cluster as kubectl prints it, with one pod as the caller.
pub(crate) fn cluster(random: &mut SeededRandom, listening: [u16; 2]) -> Value {
    let mut items = Vec::new();
    let (mut number, mut pods) = (0, 0);
    for namespace in NAMESPACES {
        for name in SERVICES {
            if random.one_in(3) {
                continue;
            }
            number += 1;
            let service = service(random, number, namespace, name);
            // The control plane makes slices even for Services without endpoints.
            items.extend(slices(random, &service, &mut pods, listening));
            items.push(service);
        }
    }
    items.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "of-nobody", "namespace": "shop"}, "endpoints": [], "ports": []}));
    for (node, zone) in NODES.into_iter().zip(ZONES) {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        items.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}));
    }
    let mut spec = json!({"nodeName": random.of(&NODES), "containers": []});
    if random.one_in(2) {
        spec["dnsConfig"] = json!({"options": [{"name": "ndots", "value": random.below(6).to_string()}]});
    }
    if random.one_in(4) {
        spec["dnsConfig"]["searches"] = json!([format!("{}.svc.cluster.local", random.of(&NAMESPACES)), "example.com"]);
    }
    items.push(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caller", "namespace": random.of(&NAMESPACES)},
        "spec": spec, "status": {"podIPs": [{"ip": "10.1.0.1"}]},
    }));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// A name that usually resolves.
pub(crate) fn name(random: &mut SeededRandom, cluster: &ClusterState, listening: [u16; 2]) -> String {
    let (mut service, mut namespace) = (*random.of(&SERVICES), *random.of(&NAMESPACES));
    let mut pod = random.below(MAX_ENDPOINTS);
    if !random.one_in(4) {
        let there: Vec<_> = cluster.services.keys().collect();
        let name = random.of(&there);
        (service, namespace) = (&name.name, &name.namespace);
        let endpoints = cluster.service(name).into_iter().flat_map(|service| service.endpoints());
        let last = endpoints.filter_map(|endpoint| endpoint.address.rsplit_once('.')?.1.parse::<u64>().ok());
        let last: Vec<u64> = last.collect();
        if !last.is_empty() {
            pod = random.of(&last) - 2;
        }
    }
    let name = match random.below(14) {
        0..=2 => service.to_owned(),
        3 | 4 => format!("{service}.{namespace}"),
        5 => format!("{service}.{namespace}.svc"),
        6 => format!("{service}.{namespace}.svc.cluster.local"),
        7 => format!("{service}.{namespace}.svc.cluster.local."),
        8 => format!("_http._tcp.{service}.{namespace}"),
        9 => format!("pod-{pod}.{service}.{namespace}"),
        10 => format!("127-0-0-{}.{service}.{namespace}.svc.cluster.local", 2 + pod),
        11 => format!("10.96.0.{}", random.below(20)),
        12 => format!("127-0-0-{}.{namespace}.pod.cluster.local", 2 + pod),
        _ => (*random.of(&["Web.SHOP", "nothing", "www.example.com", "10.1", "web..shop", "web.svc", "-"])).to_owned(),
    };
    match random.below(7) {
        // A port of the pods, which headless names and names of endpoints reach.
        6 => format!("{name}:{}", random.of(&listening)),
        0 => format!("{name}:9090"),
        1 => format!("{name}:53"),
        2 => format!("{name}:{}", random.of(&["80", "8080", "0", "99999"])),
        _ => name,
    }
}
