//! What `explain` says of a name is what the filter does with it, in a real Envoy: the same outcome and reason, the same
//! authority, the same endpoints, for random names in random clusters, seen by random pods. And those endpoints are the ones
//! that kube-proxy's rules give, applied to the objects themselves.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, which is what these do"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
};

use anyhow::{Context, Result};
use byname_cli::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions},
    explain::{self, Explanation, RequestedName, ResolutionKind},
    input::{self, InputErrors},
    kubernetes::{ClusterState, NamespacedName},
};
use byname_core::{next_random, wire::SessionAffinity};
use byname_test_support::{Connection, Envoy, RequestForm, TestUpstream};
use serde_json::{Value, json};

const LISTENER: u16 = 15001;
/// Clusters; each is another push.
const ROUNDS: u64 = 25;
/// Names that are asked in each.
const NAMES: usize = 24;
/// Endpoints are 127.0.0.2 and so on.
const MAX_ENDPOINTS: u64 = 24;
const NAMESPACES: [&str; 3] = ["shop", "prod", "web"];
/// Some are called as namespaces are, so that names can be read in two ways.
const SERVICES: [&str; 6] = ["web", "prod", "db", "api", "old", "ext"];
const ZONES: [&str; 2] = ["eu-a", "eu-b"];
const NODES: [&str; 2] = ["node-a", "node-b"];

/// Chance that can be had again: its seed is in every failure.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        next_random(&mut self.0) % bound
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }

    fn maybe(&mut self) -> Option<bool> {
        match self.below(6) {
            0 => None,
            1 => Some(false),
            _ => Some(true),
        }
    }
}

/// Pods: each address on each port says which it is and what authority it was asked for.
fn start_pods() -> Result<[u16; 2]> {
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

fn service(chance: &mut Chance, number: u64, namespace: &str, name: &str) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    let object = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    if name == "ext" || chance.one_in(8) {
        let target = match chance.below(5) {
            0 => "weather.example.com".to_owned(),
            1 => "elsewhere.example.com".to_owned(),
            _ => format!("{}.{}.svc.cluster.local", chance.of(&SERVICES), chance.of(&NAMESPACES)),
        };
        return object(json!({"type": "ExternalName", "externalName": target}));
    }
    let mut ports = vec![json!({"name": "http", "port": 80, "targetPort": 8080})];
    if chance.one_in(2) {
        ports.push(json!({"name": "admin", "port": 9090}));
    }
    if chance.one_in(3) {
        ports.push(json!({"name": "dns", "port": 53, "protocol": "UDP"}));
    }
    let headless = chance.one_in(3);
    let address = if headless { "None".to_owned() } else { format!("10.96.0.{}", number + 1) };
    let mut spec = json!({"clusterIP": address, "clusterIPs": [address], "ports": ports, "selector": {"app": name}});
    if chance.one_in(5) {
        spec["publishNotReadyAddresses"] = true.into();
    }
    if chance.one_in(4) {
        spec["internalTrafficPolicy"] = "Local".into();
    }
    if chance.one_in(3) {
        spec["trafficDistribution"] = (*chance.of(&["PreferClose", "PreferSameZone", "PreferSameNode"])).into();
    }
    if chance.one_in(8) {
        spec["sessionAffinity"] = "ClientIP".into();
    }
    object(spec)
}

fn slices(chance: &mut Chance, service: &Value, pods: &mut u64, listening: [u16; 2]) -> Vec<Value> {
    let hints = chance.below(4);
    let slice = |chance: &mut Chance, index: u64, pods: &mut u64| {
        // Each pod is of one Service.
        let more = (1 + chance.below(3)).min(MAX_ENDPOINTS - *pods);
        let endpoints: Vec<Value> = (*pods..*pods + more)
            .map(|pod| {
                let mut endpoint = json!({
                    "addresses": [format!("127.0.0.{}", 2 + pod)],
                    "conditions": {
                        "ready": chance.maybe(), "serving": chance.maybe(), "terminating": chance.maybe().map(|is| !is),
                    },
                    "zone": chance.of(&ZONES), "nodeName": chance.of(&NODES),
                });
                if chance.one_in(3) {
                    endpoint["hostname"] = format!("pod-{pod}").into();
                }
                if hints == 1 && !chance.one_in(6) {
                    endpoint["hints"] = json!({"forZones": [{"name": chance.of(&ZONES)}]});
                }
                if hints == 2 {
                    endpoint["hints"] =
                        json!({"forZones": [{"name": chance.of(&ZONES)}], "forNodes": [{"name": chance.of(&NODES)}]});
                }
                endpoint
            })
            .collect();
        *pods += more;
        let mut ports = vec![json!({"name": "http", "port": chance.of(&listening), "protocol": "TCP"})];
        if chance.one_in(2) {
            ports.push(json!({"name": "admin", "port": chance.of(&listening)}));
        }
        if chance.one_in(3) {
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
    (0..=chance.below(2)).map(|index| slice(chance, index, pods)).collect()
}

/// A cluster as kubectl would print it, with one pod that asks.
fn cluster(chance: &mut Chance, listening: [u16; 2]) -> Value {
    let mut items = Vec::new();
    let (mut number, mut pods) = (0, 0);
    for namespace in NAMESPACES {
        for name in SERVICES {
            if chance.one_in(3) {
                continue;
            }
            number += 1;
            let service = service(chance, number, namespace, name);
            // The control plane makes some even where there are no endpoints.
            items.extend(slices(chance, &service, &mut pods, listening));
            items.push(service);
        }
    }
    items.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "of-nobody", "namespace": "shop"}, "endpoints": [], "ports": []}));
    for (node, zone) in NODES.into_iter().zip(ZONES) {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        items.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": labels}}));
    }
    let mut spec = json!({"nodeName": chance.of(&NODES), "containers": []});
    if chance.one_in(2) {
        spec["dnsConfig"] = json!({"options": [{"name": "ndots", "value": chance.below(6).to_string()}]});
    }
    if chance.one_in(4) {
        spec["dnsConfig"]["searches"] = json!([format!("{}.svc.cluster.local", chance.of(&NAMESPACES)), "example.com"]);
    }
    items.push(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "caller", "namespace": chance.of(&NAMESPACES)},
        "spec": spec, "status": {"podIPs": [{"ip": "10.1.0.1"}]},
    }));
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// A name that means something, mostly.
fn name(chance: &mut Chance, cluster: &ClusterState) -> String {
    let (mut service, mut namespace) = (*chance.of(&SERVICES), *chance.of(&NAMESPACES));
    let mut pod = chance.below(MAX_ENDPOINTS);
    if !chance.one_in(4) {
        let there: Vec<_> = cluster.services.keys().collect();
        let name = chance.of(&there);
        (service, namespace) = (&name.name, &name.namespace);
        let endpoints = cluster.service(name).into_iter().flat_map(|service| service.endpoints());
        let last = endpoints.filter_map(|endpoint| endpoint.address.rsplit_once('.')?.1.parse::<u64>().ok());
        let last: Vec<u64> = last.collect();
        if !last.is_empty() {
            pod = chance.of(&last) - 2;
        }
    }
    let name = match chance.below(14) {
        0..=2 => service.to_owned(),
        3 | 4 => format!("{service}.{namespace}"),
        5 => format!("{service}.{namespace}.svc"),
        6 => format!("{service}.{namespace}.svc.cluster.local"),
        7 => format!("{service}.{namespace}.svc.cluster.local."),
        8 => format!("_http._tcp.{service}.{namespace}"),
        9 => format!("pod-{pod}.{service}.{namespace}"),
        10 => format!("127-0-0-{}.{service}.{namespace}.svc.cluster.local", 2 + pod),
        11 => format!("10.96.0.{}", chance.below(20)),
        12 => format!("127-0-0-{}.{namespace}.pod.cluster.local", 2 + pod),
        _ => (*chance.of(&["Web.SHOP", "nothing", "www.example.com", "10.1", "web..shop", "web.svc", "-"])).to_owned(),
    };
    match chance.below(6) {
        0 => format!("{name}:9090"),
        1 => format!("{name}:53"),
        2 => format!("{name}:{}", chance.of(&["80", "8080", "0", "99999"])),
        _ => name,
    }
}

/// What was seen of requests for one name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    reason: String,
    /// The status of a refused one.
    status: Option<u16>,
    endpoints: BTreeSet<String>,
    authority: Option<String>,
}

/// The endpoints that may serve, worked out anew from the objects as they were printed: the rules of kube-proxy, as plain as
/// they can be said.
fn naive(objects: &Value, caller: &CallerSettings, key: &str, port: &str) -> BTreeSet<String> {
    struct One {
        at: String,
        ready: bool,
        draining: bool,
        zone: Value,
        node: Value,
        zones: BTreeSet<String>,
        nodes: BTreeSet<String>,
    }
    let (namespace, name) = key.split_once('/').expect("namespace/name");
    let items = objects["items"].as_array().expect("items");
    let is_called = |item: &&Value| item["metadata"]["namespace"] == namespace && item["metadata"]["name"] == name;
    let service = items.iter().filter(|item| item["kind"] == "Service").find(is_called).expect("the Service");
    let spec = &service["spec"];
    let mut all = Vec::new();
    for slice in items.iter().filter(|item| item["kind"] == "EndpointSlice") {
        let metadata = &slice["metadata"];
        if metadata["namespace"] != namespace || metadata["labels"]["kubernetes.io/service-name"] != name {
            continue;
        }
        let ports = slice["ports"].as_array().expect("ports");
        let is_it =
            |other: &&Value| other["name"] == port && (other["protocol"].is_null() || other["protocol"] == "TCP");
        let Some(number) = ports.iter().find(is_it).map(|port| &port["port"]) else { continue };
        for endpoint in slice["endpoints"].as_array().expect("endpoints") {
            let is = |condition: &str, default: bool| endpoint["conditions"][condition].as_bool().unwrap_or(default);
            let hinted = |to: &str| -> BTreeSet<String> {
                let hints = endpoint["hints"][to].as_array().into_iter().flatten();
                hints.map(|hint| hint["name"].as_str().expect("text").to_owned()).collect()
            };
            all.push(One {
                at: format!("{}:{number}", endpoint["addresses"][0].as_str().expect("text")),
                ready: is("ready", true) || spec["publishNotReadyAddresses"] == true,
                draining: is("serving", true) && is("terminating", false),
                zone: endpoint["zone"].clone(),
                node: endpoint["nodeName"].clone(),
                zones: hinted("forZones"),
                nodes: hinted("forNodes"),
            });
        }
    }
    let (node, zone) = (caller.who.node.clone().expect("known"), caller.who.zone.clone().expect("known"));
    let those = |is: &dyn Fn(&One) -> bool| -> BTreeSet<String> {
        all.iter().filter(|one| is(one)).map(|one| one.at.clone()).collect()
    };
    let or = |first: BTreeSet<String>, second: BTreeSet<String>| if first.is_empty() { second } else { first };
    let ready = those(&|one| one.ready);
    if spec["clusterIP"] == "None" {
        return ready;
    }
    if spec["internalTrafficPolicy"] == "Local" {
        let here = |one: &One| one.node == *node;
        return or(those(&|one| one.ready && here(one)), those(&|one| one.draining && here(one)));
    }
    if ready.is_empty() {
        return those(&|one| one.draining);
    }
    // What the control plane would have written, where it wrote nothing.
    if all.iter().all(|one| one.zones.is_empty() && one.nodes.is_empty()) {
        let text = |value: &Value| BTreeSet::from([value.as_str().expect("text").to_owned()]);
        for one in all.iter_mut().filter(|one| one.ready) {
            match spec["trafficDistribution"].as_str() {
                Some("PreferClose" | "PreferSameZone") => one.zones = text(&one.zone),
                Some("PreferSameNode") => (one.zones, one.nodes) = (text(&one.zone), text(&one.node)),
                _ => {}
            }
        }
    }
    let those = |is: &dyn Fn(&One) -> bool| -> BTreeSet<String> {
        all.iter().filter(|one| one.ready && is(one)).map(|one| one.at.clone()).collect()
    };
    let all_ready = |is: &dyn Fn(&One) -> bool| all.iter().filter(|one| one.ready).all(is);
    let by_node =
        if all_ready(&|one| !one.nodes.is_empty()) { those(&|one| one.nodes.contains(&node)) } else { [].into() };
    let by_zone =
        if all_ready(&|one| !one.zones.is_empty()) { those(&|one| one.zones.contains(&zone)) } else { [].into() };
    or(by_node, or(by_zone, ready))
}

fn explained(explanation: &Explanation) -> Seen {
    let serving = explanation.endpoints.iter().flatten().filter(|endpoint| endpoint.serves);
    let is_route_to_endpoints = explanation.upstream.as_ref().is_some_and(|upstream| upstream.endpoint.is_some());
    Seen {
        reason: explanation.reason.clone(),
        status: explanation.status,
        endpoints: match is_route_to_endpoints {
            true => serving.map(|one| format!("{}:{}", one.address, one.port.expect("one that serves"))).collect(),
            false => BTreeSet::new(),
        },
        authority: is_route_to_endpoints.then(|| {
            let sent = explanation.upstream.as_ref().and_then(|upstream| upstream.authority.clone());
            sent.unwrap_or_else(|| explanation.asked.authority())
        }),
    }
}

/// Asks often enough that every endpoint has its turn.
async fn seen(envoy: &Envoy, authority: &str, expected: &Explanation) -> Result<Seen> {
    let before = envoy.reasons().await?;
    let mut seen = Seen::default();
    let times = match expected.resolution {
        ResolutionKind::Route => 2 * expected.endpoints.as_ref().map_or(0, Vec::len) + 2,
        ResolutionKind::Pass | ResolutionKind::Refuse => 2,
    };
    for _ in 0..times {
        // A refused request ends its connection.
        let reply = Connection::open(envoy.port(LISTENER), RequestForm::Host).await?.get(authority, &[]).await?;
        if !reply.header("x-byname-reason").is_empty() {
            seen.status = Some(reply.status);
        }
        if let Some((endpoint, host)) = reply.body.split_once(' ').filter(|_| reply.body.starts_with("127.0.0.")) {
            seen.endpoints.insert(endpoint.to_owned());
            seen.authority = Some(host.to_owned());
        }
    }
    let after = envoy.reasons().await?;
    let risen = after.iter().filter(|(reason, count)| before.get(*reason) != Some(count));
    let risen: Vec<&str> = risen.map(|(reason, _)| reason.as_str()).collect();
    seen.reason = risen.join(" and ");
    Ok(seen)
}

#[tokio::test]
async fn explain_and_the_filter_agree_on_random_names_in_random_clusters() -> Result<()> {
    let listening = start_pods()?;
    let passthrough = TestUpstream::start("passthrough").await?;
    // One worker: its turns come by every endpoint.
    let envoy = Envoy::builder("endpoint.yaml").concurrency(1).upstream(18080, &passthrough).start().await?;
    let filter = envoy.filter("endpoint")?;
    // The same ones each time; BYNAME_SEED has others.
    let seed: u64 = env::var("BYNAME_SEED").map_or(Ok(1), |seed| seed.parse())?;
    let directory = tempfile::tempdir()?;
    let base = directory.path().join("base.json");
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut chance = Chance(seed.wrapping_mul(1_000).wrapping_add(round));
        let printed = cluster(&mut chance, listening);
        let objects = printed.to_string();
        let mut cluster = ClusterState::default();
        let read = input::read_stream(objects.as_bytes(), "cluster", &mut |object| cluster.add(object));
        read.map_err(InputErrors::from)?;
        let mut by_hand = json!({
            "version": 1,
            "steering": filter.configuration["steering"],
            "externalNames": {
                "allow": [{"host": "weather.example.com", "ports": [80, 9090]}],
                "grants": [{"from": "shop", "to": "prod"}, {"from": "web", "to": "shop"}],
            },
            "unknownNames": chance.of(&["pass", "refuse"]),
            "table": {"singleMachine": true},
        });
        by_hand["steering"].as_object_mut().context("an object")?.remove("outlierDetection");
        fs::write(&base, by_hand.to_string())?;
        let base = Base::read(&base)?;
        let pod: NamespacedName = cluster.pods.keys().next().context("the caller")?.clone();
        let caller = CallerSettings::of_pod(&pod, &cluster, &base.config)?;
        let options = CompileOptions { base, version: Some(round + 1_000), ..CompileOptions::default() };
        let compiled = compile::compile(&cluster, &caller, &options)?;
        envoy.push_text("endpoint", &filter.with_text(&compiled.text), "config_reload").await?;
        for _ in 0..NAMES {
            let authority = name(&mut chance, &cluster);
            let explanation =
                explain::explain(&cluster, &caller, Some(&pod), &compiled, RequestedName::parse(&authority, false));
            *met.entry(explanation.reason.clone()).or_default() += 1;
            let expected = explained(&explanation);
            if let Some(target) = explanation.destination.as_ref().filter(|target| target.kind == "service") {
                let key = target.service.as_ref().context("a Service")?;
                let naive = naive(&printed, &caller, key, &target.port_name);
                assert_eq!(naive, expected.endpoints, "{authority} with BYNAME_SEED={seed}, round {round}\n{objects}");
            }
            let seen = seen(&envoy, &authority, &explanation).await?;
            let service = explanation.destination.as_ref().and_then(|target| target.service.as_ref());
            let service = service.and_then(|service| compiled.wire.table.services.get(service));
            let has_affinity = service.is_some_and(|service| service.session_affinity == SessionAffinity::ClientIP);
            if has_affinity && seen.endpoints.len() == 1 && seen.endpoints.is_subset(&expected.endpoints) {
                // One pod keeps one endpoint: it cannot show the others.
                assert_eq!((&seen.reason, &seen.authority), (&expected.reason, &expected.authority));
                continue;
            }
            assert_eq!(
                seen,
                expected,
                "{authority} with BYNAME_SEED={seed}, round {round}\n{}\n{objects}",
                explain::text(&explanation)
            );
        }
    }
    println!("seed {seed}: {met:?}");
    for reason in ["service", "endpoint", "alias", "no_endpoints", "name_not_found", "port_not_found", "bad_authority"]
    {
        assert!(met.contains_key(reason), "{reason} was never met: {met:?}");
    }
    Ok(())
}
