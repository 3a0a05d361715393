//! The addresses that glibc gets from CoreDNS for a name, against the DNS part of `byname explain`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    net::IpAddr,
};

use anyhow::Result;
use byname_cli::{
    caller::CallerSettings,
    compile::{self, CompileOptions},
    explain::{self, DnsAnswer, RequestedName, TextLayout},
    input::{self, InputErrors},
    kubernetes::{ClusterState, NamespacedName},
};
use byname_cluster::{Cluster, ClusterOptions, CoreDns, DnsClient, eventually};
use byname_test_support::SeededRandom;
use serde_json::{Value, json};

/// Namespaces of the cluster. Some have the names of Services, one has digits.
const NAMESPACES: usize = 24;
const SERVICES: [&str; 9] = ["web", "db", "api", "old", "prod", "shop-1", "queue", "dns", "cache"];
/// Names asked from each namespace.
const NAMES: usize = 120;

fn namespaces() -> Vec<String> {
    let mut all = vec!["web".to_owned(), "prod".into(), "db".into(), "svc".into(), "1234".into()];
    all.extend((all.len()..NAMESPACES).map(|index| format!("team-{index}")));
    all
}

/// One application: a Service of some type, and a Deployment, a StatefulSet or nothing behind it.
fn application(chance: &mut SeededRandom, namespace: &str, name: &str, namespaces: &[String]) -> Vec<Value> {
    let metadata = json!({"namespace": namespace, "name": name});
    let service = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec});
    if chance.one_in(6) {
        let target = match chance.below(4) {
            0 => "weather.example.com".to_owned(),
            1 => format!("{}.{}.svc.cluster.local.", chance.of(&SERVICES), chance.of(namespaces)),
            _ => format!("{}.{}.svc.cluster.local", chance.of(&SERVICES), chance.of(namespaces)),
        };
        return vec![service(json!({"type": "ExternalName", "externalName": target}))];
    }
    let mut ports = vec![json!({"name": "http", "port": 80, "targetPort": 8080})];
    if chance.one_in(2) {
        ports.push(json!({"name": "dns", "port": 53, "protocol": "UDP"}));
    }
    if chance.one_in(4) {
        ports.push(json!({"name": "sig", "port": 5060, "protocol": "SCTP"}));
    }
    let is_stateful = chance.one_in(3);
    let is_headless = is_stateful || chance.one_in(4);
    let mut spec = json!({"ports": ports, "selector": {"app": name}});
    match (is_headless, chance.below(4)) {
        (true, _) => spec["clusterIP"] = "None".into(),
        (false, 0) => spec["type"] = "NodePort".into(),
        (false, 1) => spec["type"] = "LoadBalancer".into(),
        (false, _) => {}
    }
    match chance.below(4) {
        0 => spec["ipFamilyPolicy"] = "PreferDualStack".into(),
        1 => (spec["ipFamilyPolicy"], spec["ipFamilies"]) = ("SingleStack".into(), json!(["IPv6"])),
        _ => {}
    }
    if chance.one_in(4) {
        spec["publishNotReadyAddresses"] = true.into();
    }
    if chance.one_in(9) {
        // Endpoints by hand, or none.
        spec.as_object_mut().expect("an object").remove("selector");
    }
    let mut template = json!({
        "metadata": {"labels": {"app": name}, "annotations": {}},
        "spec": {"containers": [{"name": "main", "image": "example.com/main", "ports": [{"containerPort": 8080}]}]},
    });
    if chance.one_in(5) {
        template["metadata"]["annotations"]["test.byname.dev/ready"] = "false".into();
    }
    if chance.one_in(6) {
        template["metadata"]["annotations"]["test.byname.dev/terminate"] = "hold".into();
        template["metadata"]["labels"]["terminates"] = "true".into();
    }
    if chance.one_in(4) {
        (template["spec"]["hostname"], template["spec"]["subdomain"]) = ("main".into(), name.into());
    }
    let kind = if is_stateful { "StatefulSet" } else { "Deployment" };
    let mut workload = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": metadata,
        "spec": {"replicas": chance.below(4), "selector": {"matchLabels": {"app": name}}, "template": template},
    });
    if is_stateful {
        workload["spec"]["serviceName"] = name.into();
        workload["spec"]["podManagementPolicy"] = "Parallel".into();
    }
    vec![service(spec), workload]
}

fn name(chance: &mut SeededRandom, cluster: &ClusterState, namespaces: &[String]) -> String {
    let services: Vec<_> = cluster.services.keys().collect();
    let NamespacedName { namespace, name } = *chance.of(&services);
    let namespace = if chance.one_in(8) { chance.of(namespaces) } else { namespace };
    let view = cluster.service(&NamespacedName::new(namespace, name));
    let endpoints: Vec<_> = view.into_iter().flat_map(|service| service.endpoints()).collect();
    let endpoint = (!endpoints.is_empty()).then(|| chance.of(&endpoints));
    let address = endpoint.map_or("10.244.0.9", |endpoint| endpoint.address);
    let dashed = address.replace(['.', ':'], "-");
    let hostname = endpoint.and_then(|endpoint| endpoint.hostname()).map_or(dashed.clone(), str::to_owned);
    match chance.below(18) {
        0 => name.clone(),
        1 | 2 => format!("{name}.{namespace}"),
        3 => format!("{name}.{namespace}.svc"),
        4 => format!("{name}.{namespace}.svc.cluster.local"),
        5 => format!("{name}.{namespace}.svc.cluster.local."),
        6 => format!("_{}._tcp.{name}.{namespace}", chance.of(&["http", "dns", "none"])),
        7 => format!("_{}._udp.{name}.{namespace}.svc.cluster.local", chance.of(&["http", "dns", "sig"])),
        8 => format!("_sig._sctp.{name}.{namespace}.svc.cluster.local"),
        9 | 10 => format!("{hostname}.{name}.{namespace}"),
        11 => format!("{hostname}.{name}.{namespace}.svc.cluster.local"),
        12 => format!("{dashed}.{name}.{namespace}.svc.cluster.local"),
        13 => format!("{dashed}.{namespace}.pod.cluster.local"),
        14 => format!("{name}.{namespace}.cluster.local"),
        15 => format!("extra.{hostname}.{name}.{namespace}"),
        16 => format!("{}.{namespace}.SVC.cluster.local", name.to_uppercase()),
        _ => {
            (*chance.of(&["nothing", "svc.cluster.local", "kubernetes.default", "cluster.local", "web.svc"])).to_owned()
        }
    }
}

/// The addresses that `explain` says a resolver gets.
fn explained(explanation: &explain::Explanation) -> Result<BTreeSet<IpAddr>> {
    let found = explanation.dns.iter().find(|query| query.answer == DnsAnswer::Addresses);
    let addresses: Result<_, _> =
        found.iter().flat_map(|query| &query.addresses).map(|address| address.parse()).collect();
    Ok(addresses?)
}

#[test]
fn explain_knows_the_answers_of_coredns() -> Result<()> {
    let seed: u64 = env::var("BYNAME_SEED").map_or(Ok(1), |seed| seed.parse())?;
    let mut chance = SeededRandom(seed);
    let cluster = Cluster::start(ClusterOptions::default())?;
    let namespaces = namespaces();
    let mut objects: Vec<Value> = namespaces
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    for namespace in &namespaces {
        for name in SERVICES {
            if !chance.one_in(4) {
                objects.extend(application(&mut chance, namespace, name, &namespaces));
            }
        }
    }
    cluster.apply(&objects)?;
    eventually("every pod has an address and no Service waits for its slices", || settled(&cluster))?;
    // These stay terminating beside the pods that replace them.
    let deleted = ["delete", "pods", "-A", "-l", "terminates=true", "--wait=false"];
    let terminating = cluster.kubectl(&deleted)?.lines().count();
    assert!(terminating > 10, "{terminating} pods terminate");
    eventually("the endpoints of pods that terminate are known", || settled(&cluster))?;
    let dns = CoreDns::start(&cluster)?;

    let text = cluster.dump("services,endpointslices,pods,nodes,namespaces")?;
    let mut state = ClusterState::default();
    input::read_stream(text.as_bytes(), "cluster", &mut |object| state.add(object)).map_err(InputErrors::from)?;
    let options = CompileOptions { skip_invalid: true, ..CompileOptions::default() };
    let (mut asked, mut with_addresses) = (0, 0);
    let mut differences = BTreeMap::new();
    for namespace in &namespaces {
        let caller = CallerSettings::of_namespace(namespace, &options.base.config);
        let compiled = compile::compile(&state, &caller, &options)?;
        let names: Vec<String> = (0..NAMES).map(|_| name(&mut chance, &state, &namespaces)).collect();
        let answers = DnsClient::of_namespace(namespace).look_up(&names, cluster.directory())?;
        for (name, got) in answers {
            let explanation =
                explain::explain(&state, &caller, None, &compiled, RequestedName::of_authority(&name, false).into());
            asked += 1;
            with_addresses += usize::from(!got.is_empty());
            let said = explained(&explanation)?;
            if said != got {
                differences
                    .insert((namespace.clone(), name), (got, said, explain::text(&explanation, TextLayout::default())));
            }
        }
    }
    println!("seed {seed}: {asked} names asked from {} namespaces, {with_addresses} with addresses", namespaces.len());
    println!("{} differences", differences.len());
    for ((namespace, name), (got, said, text)) in differences.iter().take(12) {
        println!("--- {name} from {namespace}: glibc {got:?}, explain {said:?}\n{text}");
    }
    assert!(asked > 2_000 && with_addresses > 500, "too few names to say anything");
    assert!(differences.is_empty(), "{}", dns.tail());
    Ok(())
}

/// Whether each pod has its address, and the slices of each Service are there.
fn settled(cluster: &Cluster) -> Result<bool> {
    let pods = cluster.kubectl(&["get", "pods", "-A", "-o", "jsonpath={range .items[*]}{.status.podIP} {end}"])?;
    let wanted = cluster.kubectl(&[
        "get",
        "deployments,statefulsets",
        "-A",
        "-o",
        "jsonpath={range .items[*]}{.spec.replicas} {end}",
    ])?;
    let wanted: usize = wanted.split_whitespace().map(|count| count.parse().unwrap_or(0)).sum();
    if pods.split_whitespace().count() < wanted {
        return Ok(false);
    }
    // The controller writes the generation of the pods' changes into the slices; a stable list is what shows that it is done.
    let slices = || {
        cluster.kubectl(&[
            "get",
            "endpointslices",
            "-A",
            "-o",
            "jsonpath={.metadata.resourceVersion}{range .items[*]}{.metadata.resourceVersion} {end}",
        ])
    };
    let first = slices()?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    let second = slices()?;
    Ok(first.split_whitespace().skip(1).eq(second.split_whitespace().skip(1)))
}
