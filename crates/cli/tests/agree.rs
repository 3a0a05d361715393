//! `explain`, the filter in a real Envoy and kube-proxy's rules agree for random names in random clusters, asked by
//! random pods. `explain` and the filter agree on outcome, reason, authority and endpoints. kube-proxy's rules, applied
//! to the objects themselves, give the same endpoints.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "agree/random_cluster.rs"]
mod random_cluster;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use anyhow::{Context, Result};
use byname_cli::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions},
    explain::{self, ExplainedDestination, Explanation, RequestedName, ResolutionKind, TextLayout},
    input::{self, InputErrors},
    kubernetes::{ClusterState, NamespacedName},
};
use byname_core::wire::SessionAffinity;
use byname_test_support::{Connection, Envoy, RequestForm, SeededRandom, TestUpstream};
use serde_json::{Value, json};

use crate::random_cluster::{cluster, name, start_pods};

const LISTENER: u16 = 15001;
/// Random clusters. Each is one configuration push.
const ROUNDS: u64 = 25;
/// Names that are resolved in each cluster.
const NAMES: usize = 24;
/// The outcome of the requests for one name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    reason: String,
    /// The status of the local reply, if the filter sent one.
    status: Option<u16>,
    endpoints: BTreeSet<String>,
    authority: Option<String>,
}

/// The endpoints that may serve, by kube-proxy's rules in their plainest form, applied to the printed objects.
fn naive(objects: &Value, caller: &CallerSettings, key: &str, target: &ExplainedDestination) -> BTreeSet<String> {
    struct NaiveEndpoint {
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
        let is_it = |other: &&Value| {
            other["name"] == *target.port_name && (other["protocol"].is_null() || other["protocol"] == "TCP")
        };
        let own = ports.iter().find(is_it).map(|port| port["port"].to_string());
        // Every port of a Service has a name here, so one without is a port of the pods.
        let of_pods = target.port_name.is_empty().then(|| target.port.to_string());
        let Some(number) = of_pods.or(own) else { continue };
        for endpoint in slice["endpoints"].as_array().expect("endpoints") {
            let is = |condition: &str, default: bool| endpoint["conditions"][condition].as_bool().unwrap_or(default);
            let hinted = |to: &str| -> BTreeSet<String> {
                let hints = endpoint["hints"][to].as_array().into_iter().flatten();
                hints.map(|hint| hint["name"].as_str().expect("text").to_owned()).collect()
            };
            all.push(NaiveEndpoint {
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
    let matching = |is: &dyn Fn(&NaiveEndpoint) -> bool| -> BTreeSet<String> {
        all.iter().filter(|one| is(one)).map(|one| one.at.clone()).collect()
    };
    let or = |first: BTreeSet<String>, second: BTreeSet<String>| if first.is_empty() { second } else { first };
    let ready = matching(&|one| one.ready);
    if spec["clusterIP"] == "None" {
        return ready;
    }
    if spec["internalTrafficPolicy"] == "Local" {
        let here = |one: &NaiveEndpoint| one.node == *node;
        return or(matching(&|one| one.ready && here(one)), matching(&|one| one.draining && here(one)));
    }
    if ready.is_empty() {
        return matching(&|one| one.draining);
    }
    // Adds the hints that the control plane would have written, if it wrote none.
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
    let matching = |is: &dyn Fn(&NaiveEndpoint) -> bool| -> BTreeSet<String> {
        all.iter().filter(|one| one.ready && is(one)).map(|one| one.at.clone()).collect()
    };
    let all_ready = |is: &dyn Fn(&NaiveEndpoint) -> bool| all.iter().filter(|one| one.ready).all(is);
    let by_node =
        if all_ready(&|one| !one.nodes.is_empty()) { matching(&|one| one.nodes.contains(&node)) } else { [].into() };
    let by_zone =
        if all_ready(&|one| !one.zones.is_empty()) { matching(&|one| one.zones.contains(&zone)) } else { [].into() };
    or(by_node, or(by_zone, ready))
}

/// Whether a server listens on the endpoint's port. On other ports of the pods, Envoy's connections fail.
fn is_listening(endpoint: &str, listening: [u16; 2]) -> bool {
    listening.iter().any(|port| endpoint.ends_with(&format!(":{port}")))
}

fn explained(explanation: &Explanation, listening: [u16; 2]) -> Seen {
    let upstream = explanation.upstream.as_ref().and_then(|upstream| upstream.endpoint.as_ref());
    let is_route_to_endpoints = upstream.is_some_and(|endpoint| is_listening(endpoint, listening));
    let serving = explanation.endpoints.iter().flatten().filter(|endpoint| endpoint.serves);
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

/// Sends enough requests that every endpoint has its turn.
async fn seen(envoy: &Envoy, authority: &str, expected: &Explanation) -> Result<Seen> {
    let before = envoy.reasons().await?;
    let mut seen = Seen::default();
    let times = match expected.resolution {
        ResolutionKind::Route => 2 * expected.endpoints.as_ref().map_or(0, Vec::len) + 2,
        ResolutionKind::Pass | ResolutionKind::Refuse => 2,
    };
    for _ in 0..times {
        // Envoy closes the connection of a refused request.
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
    // NaiveEndpoint worker, so that its turns cover every endpoint.
    let envoy = Envoy::builder("endpoint.yaml").concurrency(1).upstream(18080, &passthrough).start().await?;
    let filter = envoy.filter("endpoint")?;
    // The default seed is fixed. BYNAME_SEED gives other clusters.
    let seed: u64 = env::var("BYNAME_SEED").map_or(Ok(1), |seed| seed.parse())?;
    let directory = tempfile::tempdir()?;
    let base = directory.path().join("base.json");
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut random = SeededRandom(seed.wrapping_mul(1_000).wrapping_add(round));
        let printed = cluster(&mut random, listening);
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
            "unknownNames": random.of(&["pass", "refuse"]),
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
            let authority = name(&mut random, &cluster, listening);
            let explanation = explain::explain(
                &cluster,
                &caller,
                Some(&pod),
                &compiled,
                RequestedName::of_authority(&authority, false).into(),
            );
            *met.entry(explanation.reason.clone()).or_default() += 1;
            let expected = explained(&explanation, listening);
            if let Some(target) = explanation.destination.as_ref().filter(|target| target.kind == "service") {
                let key = target.service.as_ref().context("a Service")?;
                let mut naive = naive(&printed, &caller, key, target);
                naive.retain(|endpoint| is_listening(endpoint, listening));
                assert_eq!(naive, expected.endpoints, "{authority} with BYNAME_SEED={seed}, round {round}\n{objects}");
            }
            let seen = seen(&envoy, &authority, &explanation).await?;
            let service = explanation.destination.as_ref().and_then(|target| target.service.as_ref());
            let service = service.and_then(|service| compiled.wire.table.services.get(service));
            let has_affinity = service.is_some_and(|service| service.session_affinity == SessionAffinity::ClientIP);
            if has_affinity && seen.endpoints.len() == 1 && seen.endpoints.is_subset(&expected.endpoints) {
                // Session affinity keeps one endpoint per pod, so the other endpoints stay unseen.
                assert_eq!((&seen.reason, &seen.authority), (&expected.reason, &expected.authority));
                continue;
            }
            assert_eq!(
                seen,
                expected,
                "{authority} with BYNAME_SEED={seed}, round {round}\n{}\n{objects}",
                explain::text(&explanation, TextLayout::default())
            );
        }
    }
    println!("seed {seed}: {met:?}");
    for reason in ["service", "endpoint", "alias", "no_endpoints", "name_not_found", "port_not_found", "bad_authority"]
    {
        assert!(met.contains_key(reason), "{reason} never occurred: {met:?}");
    }
    Ok(())
}
