//! What a caller does not see is never sent to it: for random annotations, against a naive rule.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::Duration,
};

use byname_test_support::{SeededRandom, kubernetes::KubernetesApi};
use serde_json::{Value, json};

use crate::{
    client::{
        ADDRESS, CLUSTER, DeltaResponse, ENDPOINTS, FILTER, NAMESPACES, SERVICE, SERVICE_ENDPOINTS, XdsClient, node,
        text,
    },
    program::{ServeProcess, alias, annotated, eventually, service_with},
};

const NAMESPACES_OF_SERVICES: [&str; 3] = ["a", "b", "c"];
/// One has no Services, and one caller says no namespace.
const CALLERS: [&str; 5] = ["a", "b", "c", "d", ""];
const WORDS: [&str; 9] = ["*", ".", "a", "b,c", ". , b", "Bad!", "", "d", "c,*"];
const ROUNDS: u64 = 8;
/// Longer than messages take once one of the round has come.
const QUIET: Duration = Duration::from_millis(250);

fn namespace(name: &str, export: Option<&str>) -> Value {
    annotated(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}), export)
}

/// The Service `namespace/sNx` with one address, 10.9.0.N.
fn with_endpoint(name: &str, number: usize) -> [Value; 2] {
    let (namespace, short) = name.split_once('/').unwrap();
    let address = format!("10.96.9.{number}");
    [
        service_with(name, &json!({"clusterIP": address, "clusterIPs": [address]})),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace, "name": short, "labels": {"kubernetes.io/service-name": short}},
            "ports": [{"name": "http", "port": 8080}], "endpoints": [{"addresses": [format!("10.9.0.{number}")]}],
        }),
    ]
}

/// The naive rule: whether callers of the namespace see a Service of `own`.
fn sees(caller: &str, own: &str, of_service: Option<&str>, of_namespace: Option<&str>, default: &str) -> bool {
    let text = of_service.or(of_namespace).unwrap_or(default);
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    let is_readable = words.iter().all(|word| ["*", ".", "a", "b", "c", "d"].contains(word));
    let words = if is_readable { words } else { vec!["."] };
    words.iter().any(|word| match *word {
        "*" => true,
        "." => caller == own,
        word => caller == word,
    })
}

/// What one caller was told: the bytes of each resource that it has.
#[derive(Default)]
struct Told(BTreeMap<(String, String), String>);

impl Told {
    fn take(&mut self, message: &DeltaResponse) {
        for resource in &message.resources {
            self.0.insert((message.type_url.clone(), resource.name.clone()), text(resource));
        }
        for name in &message.removed_resources {
            self.0.remove(&(message.type_url.clone(), name.clone()));
        }
    }

    fn has(&self, url: &str, name: &str) -> bool {
        self.0.contains_key(&(url.to_owned(), name.to_owned()))
    }
}

fn cluster_of(name: &str) -> String {
    let (namespace, name) = name.split_once('/').unwrap();
    format!("outbound|80||{name}.{namespace}.svc.cluster.local")
}

/// The cluster IP of the Service `namespace/sNx`, and the address of its endpoint.
fn addresses(name: &str) -> [(&'static str, String); 2] {
    let number: usize = name.split_once('/').unwrap().1.trim_matches(['s', 'x']).parse().unwrap();
    [format!("10.96.9.{}", number + 1), format!("10.9.0.{}", number + 1)].map(|address| (ADDRESS, address))
}

/// One state of the cluster, and who sees what in it.
struct Round {
    objects: Vec<Value>,
    /// The Services `namespace/sNx`, and the callers that see each.
    services: BTreeMap<String, BTreeSet<&'static str>>,
    /// The aliases, with who sees each, and the Service or the host that each leads to.
    aliases: BTreeMap<String, (BTreeSet<&'static str>, String)>,
}

impl Round {
    fn random(random: &mut SeededRandom, number: u64, default: &str) -> Self {
        let mut objects = with_endpoint(&format!("a/round-{number}"), 200).to_vec();
        objects[0] = annotated(objects[0].clone(), Some("*"));
        let word = |random: &mut SeededRandom| match random.below(2) {
            0 => None,
            _ => Some(*random.of(&WORDS)),
        };
        let mut of_namespaces = BTreeMap::new();
        for name in NAMESPACES_OF_SERVICES {
            let export = word(random);
            objects.push(namespace(name, export));
            of_namespaces.insert(name, export);
        }
        let seen_by = |own: &str, export: Option<&str>| -> BTreeSet<&'static str> {
            CALLERS.into_iter().filter(|caller| sees(caller, own, export, of_namespaces[own], default)).collect()
        };
        let (mut services, mut aliases) = (BTreeMap::new(), BTreeMap::new());
        for number in 0..9 {
            let own = NAMESPACES_OF_SERVICES[number % 3];
            let (name, export) = (format!("{own}/s{number}x"), word(random));
            let [service, slice] = with_endpoint(&name, number + 1);
            objects.extend([annotated(service, export), slice]);
            services.insert(name, seen_by(own, export));
        }
        let targets: Vec<String> = services.keys().cloned().collect();
        for number in 0..6 {
            let own = NAMESPACES_OF_SERVICES[number % 3];
            let (name, export) = (format!("{own}/e{number}x"), word(random));
            let target = match number < 3 {
                true => random.of(&targets).clone(),
                false => format!("h{}.example.com", random.below(2)),
            };
            let host = match target.split_once('/') {
                Some((namespace, name)) => format!("{name}.{namespace}.svc.cluster.local"),
                None => target.clone(),
            };
            objects.push(annotated(alias(&name, &host), export));
            aliases.insert(name, (seen_by(own, export), target));
        }
        Self { objects, services, aliases }
    }

    /// Fails if a message tells the caller of what it does not see.
    fn check(&self, caller: &'static str, message: &DeltaResponse, place: &str) {
        for resource in &message.resources {
            let mut text = format!("{} {}", resource.name, text(resource));
            // An alias is its author's own text, whatever it names.
            for (seen_by, target) in self.aliases.values() {
                if let Some((namespace, name)) = target.split_once('/').filter(|_| seen_by.contains(caller)) {
                    text = text.replace(&format!("\"externalName\":\"{name}.{namespace}.svc.cluster.local\""), "");
                }
            }
            for (number, (name, seen_by)) in self.services.iter().enumerate() {
                let short = name.split_once('/').unwrap().1;
                let address = format!("10.9.0.{}", short.trim_matches(['s', 'x']).parse::<usize>().unwrap() + 1);
                let tells = text.contains(short) || text.contains(&address);
                assert!(
                    seen_by.contains(caller) || !tells,
                    "{place}: {caller:?} is told of {name} ({number}) in {text}"
                );
            }
            for (name, (seen_by, _)) in &self.aliases {
                let tells = text.contains(&name.split_once('/').unwrap().1.to_owned());
                assert!(seen_by.contains(caller) || !tells, "{place}: {caller:?} is told of {name} in {text}");
            }
        }
    }

    /// Fails if the caller lacks what it sees.
    fn check_all(&self, caller: &'static str, told: &Told, place: &str) {
        let filter = &told.0[&(FILTER.to_owned(), "byname".to_owned())];
        let is_in_filter = |name: &str| filter.contains(&format!("\"{name}\""));
        for (name, seen_by) in &self.services {
            let is_seen = seen_by.contains(caller);
            assert_eq!(is_in_filter(name), is_seen, "{place}: {caller:?}, {name}: {filter}");
            for url in [CLUSTER, ENDPOINTS] {
                assert_eq!(told.has(url, &cluster_of(name)), is_seen, "{place}: {caller:?}, {name}, {url}");
            }
            for (url, key) in
                [SERVICE, SERVICE_ENDPOINTS].map(|url| (url, name.clone())).into_iter().chain(addresses(name))
            {
                assert_eq!(told.has(url, &key), is_seen, "{place}: {caller:?}, {name}, {key}, {url}");
            }
        }
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let round = self.objects[0]["metadata"]["name"].as_str().unwrap();
        names.entry("a").or_default().insert(round);
        let mut hosts = BTreeSet::new();
        for (name, (seen_by, target)) in &self.aliases {
            // Whether or not the caller sees where it leads: whoever writes aliases must not find that out by them.
            let is_seen = seen_by.contains(caller);
            assert_eq!(is_in_filter(name), is_seen, "{place}: {caller:?}, {name} for {target}: {filter}");
            for url in [SERVICE, SERVICE_ENDPOINTS] {
                assert_eq!(told.has(url, name), is_seen, "{place}: {caller:?}, {name} for {target}, {url}");
            }
            if is_seen {
                let (namespace, name) = name.split_once('/').unwrap();
                names.entry(namespace).or_default().insert(name);
            }
            hosts.extend(target.ends_with(".com").then_some(target).filter(|_| is_seen));
        }
        for (name, _) in self.services.iter().filter(|(_, seen_by)| seen_by.contains(caller)) {
            let (namespace, name) = name.split_once('/').unwrap();
            names.entry(namespace).or_default().insert(name);
        }
        let list = |name: &str| told.0.get(&(NAMESPACES.to_owned(), name.to_owned())).cloned().unwrap_or_default();
        let joined = |names: Vec<&str>| names.join(" ");
        assert_eq!(list("*"), joined(names.keys().copied().collect()), "{place}: {caller:?}");
        for namespace in NAMESPACES_OF_SERVICES {
            let wanted = names.get(namespace).into_iter().flatten().copied().collect();
            assert_eq!(list(namespace), joined(wanted), "{place}: {caller:?}, {namespace}");
        }
        for host in ["h0.example.com", "h1.example.com"] {
            let cluster = format!("external|80|{host}");
            assert_eq!(told.has(CLUSTER, &cluster), hosts.contains(&host.to_owned()), "{place}: {caller:?}, {host}");
        }
    }
}

/// Whoever writes aliases cannot find out by them which names are hidden.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_of_a_hidden_service_is_as_one_of_a_missing_service() {
    let [hidden, slice] = with_endpoint("b/s1x", 1);
    let objects = [
        annotated(hidden, Some(".")),
        slice,
        with_endpoint("a/s2x", 2)[0].clone(),
        alias("a/e1x", "s1x.b.svc.cluster.local"),
        alias("a/e2x", "s9x.b.svc.cluster.local"),
    ];
    let program = ServeProcess::start(&objects).await;
    let mut client = XdsClient::open(program.port, node("envoy-0", &[("NAMESPACE", "a")])).await;
    let filter = text(&client.take().await.unwrap().resources[0]);
    let line = |name: &str| {
        let line = filter.lines().find(|line| line.contains(&format!("\"a/{name}\""))).expect("the alias is there");
        line.replace(name, "ALIAS").trim_end_matches(',').to_owned()
    };
    assert_eq!(line("e1x").replace("s1x", "TARGET"), line("e2x").replace("s9x", "TARGET"));
    let mut told = Told::default();
    let mut removed = BTreeSet::new();
    for (url, names) in [
        (SERVICE, ["a/e1x", "a/e2x"]),
        (SERVICE_ENDPOINTS, ["a/e1x", "a/e2x"]),
        (NAMESPACES, ["a", "b"]),
        (CLUSTER, ["outbound|80||s1x.b.svc.cluster.local", "outbound|80||s9x.b.svc.cluster.local"]),
    ] {
        client.subscribe(url, &names);
        let message = client.take().await.unwrap();
        removed.extend(message.removed_resources.iter().map(|name| (url, name.clone())));
        told.take(&message);
    }
    let one = |url: &str, name: &str| told.0[&(url.to_owned(), name.to_owned())].clone();
    for url in [SERVICE, SERVICE_ENDPOINTS] {
        assert_eq!(one(url, "a/e1x").replace("s1x", "s9x"), one(url, "a/e2x"));
        assert!(["b/s1x", "b/s9x"].iter().all(|name| removed.contains(&(url, (*name).to_owned()))), "{removed:?}");
    }
    assert_eq!(one(NAMESPACES, "a"), "e1x e2x s2x");
    assert_eq!(removed.iter().filter(|(url, _)| *url == CLUSTER).count(), 2);
}

async fn nothing_hidden_is_sent(default: &'static str) {
    let seed: u64 = env::var("BYNAME_SEED").map_or(1, |seed| seed.parse().unwrap());
    let allow = ["h0", "h1"].map(|name| json!({"host": format!("{name}.example.com"), "ports": [80]}));
    let fallbacks =
        json!({"a/s0x": {"service": "a/s3x"}, "b/s1x": {"service": "b/s4x"}, "a/never": {"service": "a/s6x"}});
    let config = json!({
        "version": 1,
        "externalNames": {"allow": allow},
        "fallback": {"services": fallbacks},
    });
    let mut random = SeededRandom(seed);
    let mut round = Round::random(&mut random, 0, default);
    let program = ServeProcess::start_with_config(&round.objects, &config, &["--default-export", default]).await;
    let names: Vec<String> = round.services.keys().map(|name| cluster_of(name)).collect();
    let names: Vec<&str> =
        names.iter().map(String::as_str).chain(["external|80|h0.example.com", "external|80|h1.example.com"]).collect();
    let mut clients = Vec::new();
    for caller in CALLERS {
        let metadata = [("NAMESPACE", caller)];
        let mut client = XdsClient::open(program.port, node(caller, &metadata)).await;
        let mut told = Told::default();
        let message = client.take().await.unwrap();
        round.check(caller, &message, "the first");
        told.take(&message);
        client.subscribe(CLUSTER, &names);
        client.subscribe(ENDPOINTS, &names);
        let keys: Vec<&str> = round.services.keys().chain(round.aliases.keys()).map(String::as_str).collect();
        let addresses: Vec<String> =
            round.services.keys().flat_map(|name| addresses(name)).map(|(_, one)| one).collect();
        client.subscribe(NAMESPACES, &["*", "a", "b", "c"]);
        client.subscribe(SERVICE, &keys);
        client.subscribe(SERVICE_ENDPOINTS, &keys);
        client.subscribe(ADDRESS, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
        clients.push((caller, client, told));
    }
    let mut changes = 0;
    for number in 0..ROUNDS {
        let place = format!("BYNAME_SEED={seed}, default {default}, round {number}");
        if number > 0 {
            round = Round::random(&mut random, number, default);
            program.write(&round.objects);
        }
        for (caller, client, told) in &mut clients {
            let marker = format!("a/round-{number}");
            let is_news = |told: &Told| told.0[&(FILTER.to_owned(), "byname".to_owned())].contains(&marker);
            while !is_news(told) {
                let message = client.take().await.unwrap();
                round.check(caller, &message, &place);
                told.take(&message);
            }
            while let Some(message) = client.take_within(QUIET).await {
                round.check(caller, &message, &place);
                told.take(&message);
                changes += message.resources.len() + message.removed_resources.len();
            }
            round.check_all(caller, told, &format!("{place}\n{}", program.log()));
        }
    }
    assert!(changes > 100, "only {changes} resources came or went");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hidden_is_sent_where_everything_is_exported_by_default() {
    nothing_hidden_is_sent("*").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_hidden_is_sent_where_nothing_is_exported_by_default() {
    nothing_hidden_is_sent(".").await;
}

/// Annotations of the API, and one that cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_there_as_long_as_its_annotation_says_so() {
    let api = KubernetesApi::start().await.unwrap();
    let put = |export, of_namespace| {
        api.put(annotated(with_endpoint("a/s1x", 1)[0].clone(), export));
        api.put(namespace("a", of_namespace));
    };
    put(None, None);
    with_endpoint("a/s1x", 1).into_iter().chain(with_endpoint("b/s2x", 2)).skip(1).for_each(|object| api.put(object));
    api.put(namespace("b", None));
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = ["--kubeconfig".to_owned(), api.kubeconfig(directory.path()).display().to_string()];
    let mut program = ServeProcess::new(directory, kubeconfig.to_vec());
    program.restart().await;
    let cluster = cluster_of("a/s1x");
    let mut client = XdsClient::open(program.port, node("envoy-0", &[("NAMESPACE", "b")])).await;
    let mut told = Told::default();
    client.subscribe(CLUSTER, &[&cluster]);
    client.subscribe(ENDPOINTS, &[&cluster]);
    for (export, of_namespace, is_seen) in [
        (None, None, true),
        (Some("."), None, false),
        (Some("b"), Some("."), true),
        (None, Some("."), false),
        (None, Some("*"), true),
        (Some("no name"), Some("*"), false),
        (None, Some("Bad!"), false),
        (None, None, true),
    ] {
        put(export, of_namespace);
        let is_so = |told: &Told| {
            let filter = told.0.get(&(FILTER.to_owned(), "byname".to_owned()));
            filter.is_some_and(|text| text.contains("\"a/s1x\"") == is_seen && text.contains("\"b/s2x\""))
                && [CLUSTER, ENDPOINTS].iter().all(|url| told.has(url, &cluster) == is_seen)
        };
        while !is_so(&told) {
            told.take(&client.take().await.unwrap());
        }
        // Two that are not seen look the same to the client.
        for wrong in ["no name", "Bad!"].iter().filter(|wrong| export == Some(**wrong) || of_namespace == Some(**wrong))
        {
            program.wait_for_log(&format!("{wrong:?} is not the name of a namespace")).await;
        }
    }
    let log = program.log();
    for wanted in [
        "Service a/s1x, metadata.annotations[\"byname/export-to\"]: \"no name\" is not the name of a namespace; use \".\", \"*\" or names",
        "Namespace a, metadata.annotations[\"byname/export-to\"]: \"Bad!\" is not the name of a namespace",
    ] {
        assert_eq!(log.matches(wanted).count(), 1, "{wanted}: {log}");
    }
    // Without the permission to list Namespaces nobody knows what is hidden, so nothing is served.
    program.kill();
    api.fail("namespaces", &[403; 50]);
    program.spawn();
    program.wait_for_log("grant \"list\" and \"watch\" on namespaces in a ClusterRole").await;
    assert_eq!(program.get("/readyz").await.status, 503);
}

/// The filter that the client is sent next, once it has the Service that `mark` adds.
async fn filter_with(client: &mut XdsClient, mark: &str) -> String {
    loop {
        let message = client.take().await.unwrap();
        let filter = message.resources.iter().map(text).find(|text| text.contains(mark));
        if let Some(filter) = filter {
            return filter;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_namespace_shows_nothing_that_it_hid() {
    let api = KubernetesApi::start().await.unwrap();
    let hidden = namespace("a", Some("."));
    let all = [with_endpoint("a/s1x", 1), with_endpoint("b/s2x", 2)].concat();
    all.into_iter().chain([hidden.clone(), namespace("b", None)]).for_each(|object| api.put(object));
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = ["--kubeconfig".to_owned(), api.kubeconfig(directory.path()).display().to_string()];
    let mut program = ServeProcess::new(directory, kubeconfig.to_vec());
    program.restart().await;
    let mut client = XdsClient::open(program.port, node("envoy-0", &[("NAMESPACE", "b")])).await;
    assert!(!filter_with(&mut client, "b/s2x").await.contains("s1x"));
    let objects = "objects{kind=\"Namespace\"}";
    let warning = "warning: Namespace a: does not exist, but its Services do; its last annotation byname/export-to (\".\") counts";
    // It is missing from a list, and then deleted.
    api.delete_unseen(&hidden);
    api.fail("namespaces", &[410]);
    api.cut();
    eventually("it is missing", async || program.metric(objects).await == 1.0).await;
    program.wait_for_log(warning).await;
    api.put(with_endpoint("b/s3x", 3)[0].clone());
    assert!(!filter_with(&mut client, "s3x").await.contains("s1x"));
    api.put(hidden.clone());
    eventually("it is back", async || program.metric(objects).await == 2.0).await;
    api.delete(&hidden);
    eventually("it is deleted", async || program.metric(objects).await == 1.0).await;
    api.put(with_endpoint("b/s4x", 4)[0].clone());
    assert!(!filter_with(&mut client, "s4x").await.contains("s1x"));
    assert_eq!(program.log().matches(warning).count(), 2, "{}", program.log());
    // Back without the annotation, it hides nothing.
    api.put(namespace("a", None));
    filter_with(&mut client, "s1x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_of_a_namespace_shows_nothing_that_it_hid() {
    let services = [with_endpoint("a/s1x", 1), with_endpoint("b/s2x", 2)].concat();
    let with = |more: &[Value]| [&services[..], more].concat();
    let program = ServeProcess::start(&with(&[namespace("a", Some("."))])).await;
    let mut client = XdsClient::open(program.port, node("envoy-0", &[("NAMESPACE", "b")])).await;
    assert!(!filter_with(&mut client, "b/s2x").await.contains("s1x"));
    for mark in ["s3x", "s4x"] {
        program.write(&with(&with_endpoint(&format!("b/{mark}"), 3)));
        assert!(!filter_with(&mut client, mark).await.contains("s1x"), "{mark}");
    }
    program.write(&with(&[namespace("a", Some("*"))]));
    filter_with(&mut client, "s1x").await;
}
