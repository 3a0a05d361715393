//! The filter's own stream: Services by their keys, addresses and lists of names.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    time::Duration,
};

use byname_test_support::SeededRandom;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    client::{
        ADDRESS, DeltaRequest, DeltaResponse, Dial, FILTER, NAMESPACES, SERVICE, SERVICE_ENDPOINTS, XdsClient, node,
        subscribe, text,
    },
    program::{ServeProcess, alias, annotated, eventually, service_with},
    random_cluster::cluster,
};

/// Longer than a window of endpoints.
const QUIET: Duration = Duration::from_millis(300);
/// Random clusters, one after the other on the same server.
const ROUNDS: u64 = 12;

/// A filter's stream, and all that it was told: `None` is a missing resource.
struct KeyStream {
    client: XdsClient,
    told: BTreeMap<(String, String), Option<String>>,
    versions: BTreeMap<(String, String), String>,
}

impl KeyStream {
    /// Opens a stream of a filter in the namespace, which asks for these names first.
    async fn open(port: u16, namespace: &str, type_url: &str, names: &[&str]) -> Self {
        Self::open_as(
            port,
            &[("NAMESPACE", namespace), ("BYNAME_SCHEMA", "1.2")],
            subscribe(type_url, names.iter().copied()),
        )
        .await
    }

    async fn open_as(port: u16, metadata: &[(&str, &str)], request: DeltaRequest) -> Self {
        let hello = DeltaRequest { node: Some(node("shop-0", metadata)), ..request };
        let client = XdsClient::open_asking(port, hello, &Dial::default()).await.unwrap();
        Self { client, told: BTreeMap::new(), versions: BTreeMap::new() }
    }

    fn note(&mut self, message: &DeltaResponse) {
        for resource in &message.resources {
            let key = (message.type_url.clone(), resource.name.clone());
            assert_eq!(resource.resource.as_ref().unwrap().type_url, message.type_url);
            self.told.insert(key.clone(), Some(text(resource)));
            self.versions.insert(key, resource.version.clone());
        }
        for name in &message.removed_resources {
            let key = (message.type_url.clone(), name.clone());
            self.versions.remove(&key);
            self.told.insert(key, None);
        }
    }

    /// The next message: its type, its resources and its removals, each sorted.
    async fn next(&mut self) -> (String, Vec<String>, Vec<String>) {
        let message = self.client.take().await.unwrap();
        self.note(&message);
        let mut names: Vec<String> = message.resources.iter().map(|resource| resource.name.clone()).collect();
        let mut removed = message.removed_resources.clone();
        names.sort();
        removed.sort();
        (message.type_url, names, removed)
    }

    /// Takes messages until none comes for a while.
    async fn settle(&mut self) {
        while let Some(message) = self.client.take_within(QUIET).await {
            self.note(&message);
        }
    }

    /// Takes messages until it is so.
    async fn until(&mut self, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            self.next().await;
        }
    }

    /// What was told of a name: `Some(None)` is that it is missing.
    fn told(&self, type_url: &str, name: &str) -> Option<Option<&str>> {
        self.told.get(&(type_url.to_owned(), name.to_owned())).map(Option::as_deref)
    }

    fn has(&self, type_url: &str, name: &str) -> bool {
        matches!(self.told(type_url, name), Some(Some(_)))
    }

    fn json(&self, type_url: &str, name: &str) -> Value {
        serde_json::from_str(self.told(type_url, name).unwrap().unwrap()).unwrap()
    }
}

fn web(cluster_ip: &str) -> Value {
    service_with("shop/web", &json!({"clusterIP": cluster_ip, "clusterIPs": [cluster_ip]}))
}

fn headless(name: &str) -> Value {
    service_with(name, &json!({"clusterIP": "None", "clusterIPs": ["None"]}))
}

/// The EndpointSlice of a Service. Each endpoint is `address`, `address!` if it is not ready, or `address=hostname`.
fn slice(name: &str, endpoints: &[&str]) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    let endpoint = |text: &&str| {
        let (text, is_ready) = text.strip_suffix('!').map_or((*text, true), |text| (text, false));
        let (address, hostname) = text.split_once('=').map_or((text, None), |(one, two)| (one, Some(two)));
        let mut endpoint = json!({"addresses": [address], "conditions": {"ready": is_ready}, "zone": "eu-a"});
        if let Some(hostname) = hostname {
            endpoint["hostname"] = hostname.into();
        }
        endpoint
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

async fn serve(objects: &[Value], arguments: &[&str]) -> ServeProcess {
    // Without EndpointSlices, endpoints would be unknown.
    ServeProcess::start_with_config(objects, &json!({"version": 1}), arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_type_is_answered_and_follows_the_cluster() {
    let one = [web("10.96.0.7"), slice("shop/web", &["10.1.0.1", "10.1.0.2!"]), alias("prod/out", "example.com")];
    let program = serve(&one, &[]).await;
    let mut stream = KeyStream::open(program.port, "shop", NAMESPACES, &["*", "shop", "none"]).await;
    assert_eq!(
        stream.next().await,
        (NAMESPACES.to_owned(), vec!["*".to_owned(), "shop".into()], vec!["none".to_owned()])
    );
    assert_eq!(stream.told(NAMESPACES, "*"), Some(Some("prod shop")));
    assert_eq!(stream.told(NAMESPACES, "shop"), Some(Some("web")));

    stream.client.subscribe(SERVICE, &["shop/web", "shop/none", "web"]);
    stream.next().await;
    let names = json!({"clusterIPs": "10.96.0.7", "ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": "240.0.0.1"}]});
    assert_eq!(stream.json(SERVICE, "shop/web"), names);
    assert_eq!([stream.told(SERVICE, "shop/none"), stream.told(SERVICE, "web")], [Some(None), Some(None)]);

    stream.client.subscribe(SERVICE_ENDPOINTS, &["shop/web"]);
    stream.next().await;
    let groups = &stream.json(SERVICE_ENDPOINTS, "shop/web")["endpoints"];
    let ports = json!({"http": 8080});
    let ready = json!({"addresses": "10.1.0.1", "ports": ports});
    let unready = json!({"addresses": "10.1.0.2", "ports": ports, "ready": false});
    assert!(groups.as_array().unwrap().contains(&ready) && groups.as_array().unwrap().contains(&unready), "{groups}");

    let addresses = ["10.96.0.7", "10.1.0.1", "10.1.0.2", "10.1.0.3", "010.1.0.1", "web"];
    stream.client.subscribe(ADDRESS, &addresses);
    stream.next().await;
    let told = addresses.map(|address| stream.told(ADDRESS, address).unwrap());
    assert_eq!(told, [Some("shop/web"), Some(""), Some(""), None, None, None]);

    // Readiness is not part of what a filter needs that leaves endpoints to Envoy.
    let two =
        [web("10.96.0.7"), slice("shop/web", &["10.1.0.2", "10.1.0.3"]), headless("dev/db"), slice("dev/db", &[])];
    program.write(&two);
    stream.until(|it| it.told(NAMESPACES, "*") == Some(Some("dev shop")) && it.has(ADDRESS, "10.1.0.3")).await;
    stream.settle().await;
    assert_eq!(stream.told(ADDRESS, "10.1.0.1"), Some(None));
    assert_eq!(stream.json(SERVICE, "shop/web"), names);
    assert!(stream.json(SERVICE_ENDPOINTS, "shop/web").to_string().contains("10.1.0.3"));

    // A Service that gets another address, and goes.
    program.write(&[web("10.96.0.8"), slice("shop/web", &["10.1.0.2"])]);
    stream.until(|it| it.told(ADDRESS, "10.96.0.7") == Some(None)).await;
    assert_eq!(
        stream.json(SERVICE, "shop/web")["clusterIPs"],
        "10.96.0.8",
        "the address does not overtake the Service"
    );
    program.write(&[headless("shop/none"), slice("shop/none", &["10.1.0.2"])]);
    stream.until(|it| it.told(SERVICE, "shop/web") == Some(None) && it.has(SERVICE, "shop/none")).await;
    stream.until(|it| it.told(NAMESPACES, "shop") == Some(Some("none"))).await;
    assert_eq!(stream.told(ADDRESS, "10.1.0.2"), Some(Some("")));
    assert!(!program.log().contains("refused"), "{}", program.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_leads_to_comes_with_it() {
    let objects = |host: &str| {
        let targets = [
            web("10.96.0.7"),
            slice("shop/web", &["10.1.0.1"]),
            headless("prod/db"),
            slice("prod/db", &["10.1.0.9=db-0"]),
        ];
        [targets.to_vec(), vec![alias("shop/old", host)]].concat()
    };
    let program = serve(&objects("web.shop.svc.cluster.local"), &[]).await;
    for url in [SERVICE, SERVICE_ENDPOINTS] {
        let mut stream = KeyStream::open(program.port, "shop", url, &["shop/old"]).await;
        assert_eq!(stream.next().await, (url.to_owned(), vec!["shop/old".to_owned(), "shop/web".into()], vec![]));
        assert_eq!(
            stream.json(url, "shop/old"),
            json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"})
        );
    }
    let mut stream = KeyStream::open(program.port, "shop", ADDRESS, &["10.96.0.7", "10.1.0.1"]).await;
    assert_eq!(stream.next().await, (SERVICE.to_owned(), vec!["shop/web".to_owned()], vec![]));
    assert_eq!(stream.next().await, (ADDRESS.to_owned(), vec!["10.1.0.1".to_owned(), "10.96.0.7".into()], vec![]));

    // A new target: of an endpoint by its hostname, then one that is missing, then one outside.
    stream.client.subscribe(SERVICE, &["shop/old"]);
    stream.next().await;
    program.write(&objects("db-0.db.prod.svc.cluster.local"));
    assert_eq!(stream.next().await, (SERVICE.to_owned(), vec!["prod/db".to_owned(), "shop/old".into()], vec![]));
    assert!(stream.told(SERVICE, "prod/db").unwrap().unwrap().contains("\"hostnames\":\"db-0\""));
    program.write(&objects("later.shop.svc.cluster.local"));
    assert_eq!(stream.next().await, (SERVICE.to_owned(), vec!["shop/old".to_owned()], vec!["shop/later".to_owned()]));
    let mut more = objects("later.shop.svc.cluster.local");
    more.extend([headless("shop/later"), slice("shop/later", &["10.1.0.8"])]);
    program.write(&more);
    assert_eq!(stream.next().await, (SERVICE.to_owned(), vec!["shop/later".to_owned()], vec![]));
    program.write(&objects("www.example.com"));
    assert_eq!(stream.next().await, (SERVICE.to_owned(), vec!["shop/old".to_owned()], vec!["shop/later".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_missing_until_it_is_shown() {
    // A pod of both Services, and a cluster IP that is the address of a pod elsewhere.
    let objects = |words: &str| {
        let hidden = service_with("billing/ledger", &json!({"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}));
        vec![
            annotated(hidden, Some(words)),
            slice("billing/ledger", &["10.1.0.1", "10.1.0.2"]),
            annotated(web("10.96.0.7"), Some("*")),
            slice("shop/web", &["10.1.0.2", "10.96.0.9"]),
            annotated(alias("shop/books", "ledger.billing.svc.cluster.local"), Some("*")),
        ]
    };
    for default in ["*", "."] {
        let program = serve(&objects("."), &["--default-export", default]).await;
        let mut shop = KeyStream::open(program.port, "shop", NAMESPACES, &["*", "shop", "billing"]).await;
        let mut billing = KeyStream::open(program.port, "billing", NAMESPACES, &["*", "shop", "billing"]).await;
        let addresses = ["10.96.0.9", "10.1.0.1", "10.1.0.2"];
        for stream in [&mut shop, &mut billing] {
            stream.client.subscribe(SERVICE, &["billing/ledger", "shop/books", "shop/web"]);
            stream.client.subscribe(SERVICE_ENDPOINTS, &["billing/ledger", "shop/books"]);
            stream.client.subscribe(ADDRESS, &addresses);
            stream.settle().await;
        }
        let lists = |stream: &KeyStream| {
            ["*", "shop", "billing"].map(|name| stream.told(NAMESPACES, name).unwrap().map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        let of_addresses =
            |stream: &KeyStream| addresses.map(|one| stream.told(ADDRESS, one).unwrap().map(str::to_owned));
        let keys = |stream: &KeyStream| {
            [
                (SERVICE, "billing/ledger"),
                (SERVICE, "shop/books"),
                (SERVICE_ENDPOINTS, "billing/ledger"),
                (SERVICE_ENDPOINTS, "shop/books"),
            ]
            .map(|(url, name)| stream.has(url, name))
        };
        let open = [some("billing/ledger"), some(""), some("")];
        assert_eq!(
            (lists(&billing), of_addresses(&billing)),
            ([some("billing shop"), some("books web"), some("ledger")], open.clone())
        );
        assert_eq!(keys(&billing), [true; 4]);
        assert_eq!(
            (lists(&shop), of_addresses(&shop)),
            ([some("shop"), some("books web"), None], [some(""), None, some("")])
        );
        // The alias is there, as one that leads to a missing Service.
        assert_eq!(keys(&shop), [false, true, false, true]);
        let hidden = shop.told.values().flatten().filter(|text| text.contains("ledger")).count();
        assert_eq!(hidden, 2, "only the aliases say where they lead: {:?}", shop.told);

        program.write(&objects("., shop"));
        shop.until(|it| {
            it.has(ADDRESS, "10.1.0.1") && it.has(NAMESPACES, "billing") && it.has(SERVICE, "billing/ledger")
        })
        .await;
        shop.settle().await;
        assert_eq!((lists(&shop), of_addresses(&shop)), (lists(&billing), open));
        assert_eq!(keys(&shop), [true; 4]);

        program.write(&objects("."));
        shop.until(|it| it.told(ADDRESS, "10.1.0.1") == Some(None) && it.told(NAMESPACES, "billing") == Some(None))
            .await;
        shop.settle().await;
        assert_eq!(
            (lists(&shop), of_addresses(&shop)),
            ([some("shop"), some("books web"), None], [some(""), None, some("")])
        );
        assert_eq!(keys(&shop), [false, true, false, true]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_ip_that_two_services_claim_is_of_the_one_in_the_table() {
    let two = service_with("shop/web-2", &json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"]}));
    let both = [web("10.96.0.7"), two.clone(), slice("shop/web", &["10.1.0.1"]), slice("shop/web-2", &["10.1.0.2"])];
    let program = serve(&both, &[]).await;
    let mut stream = KeyStream::open(program.port, "shop", SERVICE, &["shop/web", "shop/web-2"]).await;
    stream.client.subscribe(NAMESPACES, &["shop"]);
    stream.client.subscribe(ADDRESS, &["10.96.0.7", "10.1.0.2"]);
    stream.settle().await;
    let of = |stream: &KeyStream| (stream.has(SERVICE, "shop/web"), stream.has(SERVICE, "shop/web-2"));
    let (is_first, is_second) = of(&stream);
    assert!(is_first && !is_second, "{}", program.log());
    assert_eq!(stream.told(ADDRESS, "10.96.0.7"), Some(Some("shop/web")));
    assert_eq!(stream.told(ADDRESS, "10.1.0.2"), Some(None), "it is of a Service that is left out");
    assert_eq!(stream.told(NAMESPACES, "shop"), Some(Some("web")));
    program.write(&both[1..]);
    stream.until(|it| it.told(NAMESPACES, "shop") == Some(Some("web-2"))).await;
    stream.settle().await;
    assert_eq!(of(&stream), (false, true));
    assert_eq!(stream.told(ADDRESS, "10.96.0.7"), Some(Some("shop/web-2")));
    assert_eq!(stream.told(ADDRESS, "10.1.0.2"), Some(Some("")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_comes_back_is_sent_what_has_changed() {
    let objects = |cluster_ip: &str| {
        vec![
            web(cluster_ip),
            slice("shop/web", &["10.1.0.1"]),
            headless("shop/db"),
            slice("shop/db", &["10.1.0.2"]),
            alias("shop/old", "db.shop.svc.cluster.local"),
        ]
    };
    let mut program = serve(&objects("10.96.0.7"), &[]).await;
    let mut stream = KeyStream::open(program.port, "shop", NAMESPACES, &["*", "shop"]).await;
    stream.client.subscribe(SERVICE, &["shop/web", "shop/old", "shop/none"]);
    stream.client.subscribe(SERVICE_ENDPOINTS, &["shop/web"]);
    stream.client.subscribe(ADDRESS, &["10.96.0.7", "10.1.0.1", "10.1.0.9"]);
    stream.settle().await;
    assert!(stream.has(SERVICE, "shop/db") && stream.versions.len() == 8, "{:?}", stream.versions);
    let port = program.port;
    let back = |stream: &KeyStream| {
        let (told, versions) = (stream.told.clone(), stream.versions.clone());
        async move {
            let mut requests = [NAMESPACES, SERVICE, SERVICE_ENDPOINTS, ADDRESS].map(|url| {
                let names: Vec<&str> = told.keys().filter(|(of, _)| of == url).map(|(_, name)| &**name).collect();
                let known = versions.iter().filter(|((of, _), _)| of == url);
                let initial_resource_versions =
                    known.map(|((_, name), version)| (name.clone(), version.clone())).collect();
                DeltaRequest { initial_resource_versions, ..subscribe(url, names.iter().copied()) }
            });
            let first = std::mem::take(&mut requests[0]);
            let mut stream = KeyStream::open_as(port, &[("NAMESPACE", "shop")], first).await;
            requests.into_iter().skip(1).for_each(|request| stream.client.send(request));
            stream.settle().await;
            stream
        }
    };
    let again = back(&stream).await;
    let sent: Vec<_> = again.told.iter().filter(|(_, text)| text.is_some()).collect();
    assert!(sent.is_empty(), "known versions were sent again: {sent:?}");
    // What is missing is said again.
    let missing: Vec<&str> = again.told.keys().map(|(_, name)| &**name).collect();
    assert_eq!(missing, ["10.1.0.9", "shop/none"]);

    program.kill();
    program.write(&objects("10.96.0.8"));
    program.restart().await;
    let again = back(&stream).await;
    let sent: Vec<&str> = again.told.iter().filter(|(_, text)| text.is_some()).map(|((_, name), _)| &**name).collect();
    assert_eq!(sent, ["shop/web", "shop/web"]);
    assert_eq!(again.told(ADDRESS, "10.96.0.7"), Some(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_of_every_schema_get_the_form_that_all_of_them_read() {
    let program = serve(&[web("10.96.0.7"), slice("shop/web", &["10.1.0.1"])], &[]).await;
    let mut texts = BTreeSet::new();
    for schema in ["1.2", "1.0", "2.0", "1.99", "new", ""] {
        let metadata = [("NAMESPACE", "shop"), ("BYNAME_SCHEMA", schema)];
        let mut stream = KeyStream::open_as(program.port, &metadata, subscribe(SERVICE, ["shop/web"])).await;
        stream.client.subscribe(SERVICE_ENDPOINTS, &["shop/web"]);
        stream.settle().await;
        texts.insert([SERVICE, SERVICE_ENDPOINTS].map(|url| stream.told(url, "shop/web").unwrap().unwrap().to_owned()));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_asks_for_too_much_is_told_so_and_harms_nobody() {
    let program = serve(&[web("10.96.0.7"), slice("shop/web", &["10.1.0.1"])], &[]).await;
    let before = program.resident_bytes();
    for url in [NAMESPACES, SERVICE, SERVICE_ENDPOINTS, ADDRESS] {
        let mut stream = KeyStream::open(program.port, "shop", url, &["shop/web"]).await;
        for message in 0..50 {
            let names: Vec<String> = (0..500).map(|number| format!("shop/name-{message}-{number}")).collect();
            stream.client.subscribe(url, &names.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let end = loop {
            match stream.client.take().await {
                Ok(message) => stream.note(&message),
                Err(status) => break status,
            }
        };
        assert_eq!(end.code(), Code::ResourceExhausted, "{url}: {end}");
        // A name that is too long, and one that is none.
        let mut stream =
            KeyStream::open(program.port, "shop", url, &["", "/", "a/b/c", "\u{0}", "*/*", "::ffff:10.96.0.7"]).await;
        stream.settle().await;
        assert!(stream.told.values().all(Option::is_none), "{:?}", stream.told);
        stream.client.subscribe(url, &[&"x".repeat(600)]);
        assert_eq!(stream.client.next().await.unwrap_err().code(), Code::InvalidArgument);
    }
    let more = program.resident_bytes().saturating_sub(before);
    assert!(more < 64 << 20, "{more} bytes more");
    let mut stream = KeyStream::open(program.port, "shop", SERVICE, &["shop/web"]).await;
    stream.next().await;
    assert!(stream.has(SERVICE, "shop/web"));
}

#[tokio::test(flavor = "multi_thread")]
async fn says_which_keys_a_filter_has() {
    let program = serve(&[web("10.96.0.7"), slice("shop/web", &["10.1.0.1"])], &[]).await;
    let mut stream = KeyStream::open(program.port, "shop", NAMESPACES, &["*"]).await;
    stream.client.subscribe(SERVICE_ENDPOINTS, &["shop/web", "shop/none"]);
    stream.client.subscribe(ADDRESS, &["10.96.0.7"]);
    stream.settle().await;
    let resources = program.get("/debug/resources?node=shop-0").await.body;
    for wanted in [
        "\tnamespaces\t*\t",
        "\tservice\tshop/web\t",
        "\tservice_endpoints\tshop/none\t-\tacknowledged\n",
        "\taddress\t10.96.0.7\t",
    ] {
        assert!(resources.contains(wanted), "{resources}");
    }
    assert!(program.get("/debug/streams").await.body.contains("node=shop-0\tnamespace=shop"));
    for (name, wanted) in
        [("filter", 0.0), ("namespaces", 1.0), ("service", 1.0), ("service_endpoints", 2.0), ("address", 1.0)]
    {
        assert_eq!(program.metric(&format!("subscriptions{{type=\"{name}\"}}")).await, wanted, "{name}");
    }
    assert_eq!(program.metric("resources_total{type=\"address\"}").await, 1.0);
    assert_eq!(program.metric("removals_total{type=\"service_endpoints\"}").await, 1.0);
    // A filter that cannot read a resource names it.
    stream.client.subscribe(SERVICE, &["shop/web"]);
    let message = stream.client.next().await.unwrap();
    stream.client.nack(&message, "shop/web: unexpected end");
    eventually("the refusal is counted", async || {
        program.metric("rejections_total{type=\"service\",reason=\"other\"}").await == 1.0
    })
    .await;
    assert!(
        program.log().contains("refused service shop/web: shop/web: unexpected end; the filter keeps what it had"),
        "{}",
        program.log()
    );
}

/// The only table of a text, which may be in a message of protobuf.
fn table(text: &str) -> Value {
    let (_, json) = text.split_at(text.find("{\n  \"version\"").unwrap());
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<Value>();
    values.next().unwrap().unwrap()["table"]["services"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_the_tables_of_compile_and_of_envoy() {
    let seed: u64 = env::var("BYNAME_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = SeededRandom(seed);
    let listening = [8080, 8081];
    let config = json!({"version": 1, "table": {"singleMachine": true}});
    let objects = |random: &mut SeededRandom, round: u64| {
        let mut all = cluster(random, listening)["items"].as_array().unwrap().clone();
        all.extend([headless(&format!("shop/round-{round}")), slice(&format!("shop/round-{round}"), &["10.1.0.1"])]);
        all
    };
    let first = objects(&mut random, 0);
    let program = ServeProcess::start_with(&first, &config).await;
    let mut envoy = XdsClient::open(program.port, node("envoy", &[("BYNAME_SCHEMA", "1.99")])).await;
    let mut pushed = Value::Null;
    // All names that clusters may have.
    let namespaces = ["shop", "prod", "web"];
    let rounds = (0..ROUNDS).map(|round| format!("round-{round}"));
    let names: Vec<String> =
        ["web", "prod", "db", "api", "old", "ext"].map(String::from).into_iter().chain(rounds).collect();
    let keys: Vec<String> =
        namespaces.iter().flat_map(|one| names.iter().map(move |name| format!("{one}/{name}"))).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let addresses: Vec<String> =
        (1..30).flat_map(|last| [format!("10.96.0.{last}"), format!("127.0.0.{last}")]).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let mut stream = KeyStream::open(program.port, "shop", NAMESPACES, &["*", "shop", "prod", "web"]).await;
    stream.client.subscribe(SERVICE, &keys);
    stream.client.subscribe(SERVICE_ENDPOINTS, &keys);
    stream.client.subscribe(ADDRESS, &addresses);
    let mut compared = 0;
    for round in 0..ROUNDS {
        if round > 0 {
            program.write(&objects(&mut random, round));
        }
        let marker = format!("round-{round}");
        while pushed.get(format!("shop/{marker}")).is_none() {
            let message = envoy.take().await.unwrap();
            assert_eq!(message.type_url, FILTER);
            pushed = table(&text(&message.resources[0]));
        }
        let is_in_list = |it: &KeyStream| {
            it.told(NAMESPACES, "shop").flatten().is_some_and(|list| list.split(' ').any(|one| one == marker))
        };
        stream.until(is_in_list).await;
        stream.settle().await;
        let place = format!("BYNAME_SEED={seed}, round {round}\n{}", program.log());
        let compiled = table(&program.compiled_table());
        for key in &keys {
            for (url, table) in [(SERVICE, &pushed), (SERVICE_ENDPOINTS, &compiled)] {
                let told = stream.told(url, key).unwrap().map(|text| serde_json::from_str::<Value>(text).unwrap());
                assert_eq!(told.as_ref(), table.get(*key), "{key}, {url}: {place}");
                compared += usize::from(told.is_some());
            }
        }
        let services = compiled.as_object().unwrap();
        for address in &addresses {
            let has = |list: &Value| list.as_str().is_some_and(|list| list.split(' ').any(|one| one == *address));
            let owner = services.iter().find(|(_, service)| has(&service["clusterIPs"])).map(|(key, _)| key.as_str());
            let groups = |service: &Value| service["endpoints"].as_array().cloned().unwrap_or_default();
            let is_pod = services.values().any(|service| groups(service).iter().any(|group| has(&group["addresses"])));
            assert_eq!(stream.told(ADDRESS, address).unwrap(), owner.or(is_pod.then_some("")), "{address}: {place}");
        }
        let parts: Vec<(&str, &str)> = services.keys().map(|key| key.split_once('/').unwrap()).collect();
        let list = |namespace: &str| {
            parts.iter().filter(|(one, _)| *one == namespace).map(|(_, name)| *name).collect::<Vec<_>>()
        };
        for namespace in namespaces {
            let wanted = list(namespace);
            assert_eq!(stream.told(NAMESPACES, namespace).unwrap().unwrap_or_default(), wanted.join(" "), "{place}");
        }
        let all: BTreeSet<&str> = parts.iter().map(|(namespace, _)| *namespace).collect();
        assert_eq!(
            stream.told(NAMESPACES, "*"),
            Some(Some(&*all.into_iter().collect::<Vec<_>>().join(" "))),
            "{place}"
        );
    }
    println!("seed {seed}: {compared} Services");
    assert!(compared > 100, "only {compared} Services were compared");
}
