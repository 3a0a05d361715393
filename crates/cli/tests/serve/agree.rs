//! For random clusters that change, an Envoy of `byname serve` answers as one with the bootstrap of `byname compile`.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command, time::Duration};

use byname_cli::{input, kubernetes::ClusterState};
use byname_test_support::{Connection, Envoy, RequestForm, SeededRandom, repository};
use serde_json::{Value, json};

use crate::{
    program::{ServeProcess, eventually},
    random_cluster::{cluster, name, start_pods},
};

const LISTENER: u16 = 15001;
/// Random clusters, one after the other on the same server.
const ROUNDS: u64 = 8;
/// Names that are asked for in each cluster.
const NAMES: usize = 24;
/// Requests for each name: more than a Service has endpoints, so that each one has its turn.
const REQUESTS: usize = 10;
/// Longer than endpoints take to arrive, which are sent sooner than names.
const SETTLED: Duration = Duration::from_millis(300);

/// The outcome of the requests for one name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    statuses: BTreeSet<u16>,
    /// Why byname answered by itself, but not with a 503: that of a Service without endpoints is Envoy's own with a server.
    reasons: BTreeSet<String>,
    endpoints: BTreeSet<String>,
    authorities: BTreeSet<String>,
}

async fn seen(envoy: &Envoy, authority: &str) -> Seen {
    let mut seen = Seen::default();
    for request in 0..=REQUESTS {
        let mut connection = Connection::open(envoy.port(LISTENER), RequestForm::Host).await.unwrap();
        let reply = connection.get(authority, &[]).await.unwrap();
        // The first one may come before the cluster.
        if request == 0 {
            continue;
        }
        seen.statuses.insert(reply.status);
        if reply.status != 503 {
            seen.reasons.insert(reply.header("x-byname-reason").to_owned());
        }
        if let Some((endpoint, host)) = reply.body.split_once(' ').filter(|_| reply.body.starts_with("127.0.0.")) {
            seen.endpoints.insert(endpoint.to_owned());
            seen.authorities.insert(host.to_owned());
        }
    }
    seen
}

/// What docs/serve.md says that a server does not know.
struct Unknown {
    caller: String,
    /// Headless Services without a ready endpoint, and aliases of them: `namespace/name`.
    services: BTreeSet<String>,
    /// Hostnames of endpoints that are not ready.
    hostnames: BTreeSet<String>,
}

impl Unknown {
    fn of(objects: &Value, caller: &str) -> Self {
        let items = || objects["items"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key =
            |item: &Value| format!("{}/{}", text(&item["metadata"]["namespace"]), text(&item["metadata"]["name"]));
        let mut unknown = Self { caller: caller.to_owned(), services: BTreeSet::new(), hostnames: BTreeSet::new() };
        let mut ready = BTreeSet::new();
        for service in items().filter(|item| item["kind"] == "Service") {
            let key = key(service);
            for slice in items().filter(|item| item["kind"] == "EndpointSlice") {
                let of = text(&slice["metadata"]["labels"]["kubernetes.io/service-name"]);
                if key != format!("{}/{of}", text(&slice["metadata"]["namespace"])) {
                    continue;
                }
                for endpoint in slice["endpoints"].as_array().unwrap() {
                    let is_ready = endpoint["conditions"]["ready"].as_bool().unwrap_or(true);
                    if is_ready || service["spec"]["publishNotReadyAddresses"] == true {
                        ready.insert(key.clone());
                    } else {
                        unknown.hostnames.insert(text(&endpoint["hostname"]));
                    }
                }
            }
            if service["spec"]["clusterIP"] == "None" && !ready.contains(&key) {
                unknown.services.insert(key);
            }
        }
        // An alias may lead to an alias.
        for _ in 0..items().count() {
            for alias in items().filter(|item| item["spec"]["type"] == "ExternalName") {
                let target = text(&alias["spec"]["externalName"]);
                let mut labels = target.split('.');
                let (name, namespace) = (labels.next().unwrap(), labels.next().unwrap());
                if unknown.services.contains(&format!("{namespace}/{name}")) {
                    unknown.services.insert(key(alias));
                }
            }
        }
        unknown
    }

    /// Whether the name may resolve to something that a server does not know.
    fn includes(&self, authority: &str, listening: [u16; 2]) -> bool {
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let host = host.trim_end_matches('.');
        let host = host.strip_prefix("_http._tcp.").unwrap_or(host);
        let labels: Vec<&str> = host.split('.').collect();
        let services = labels.iter().enumerate().flat_map(|(index, name)| {
            [labels.get(index + 1).copied().unwrap_or_default(), &self.caller]
                .map(|namespace| format!("{namespace}/{name}"))
        });
        let is_address = labels[0].starts_with("127-0-0-");
        let is_port_of_pods = listening.iter().any(|own| own.to_string() == port);
        let of_unknown = services.into_iter().any(|service| self.services.contains(&service));
        is_address || is_port_of_pods || of_unknown || self.hostnames.contains(labels[0])
    }
}

fn compile(objects: &Path, base: &Path, pod: &str, to: &Path, more: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_byname"))
        .args(["compile", "--pod", pod, "--format", "envoy-bootstrap", "--module", "target/byname.wasm"])
        .arg("--filename")
        .arg(objects)
        .arg("--config")
        .arg(base)
        .arg("--output-file")
        .arg(to)
        .args(more)
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_server_answers_as_a_compiled_bootstrap() {
    let listening = start_pods().unwrap();
    let seed: u64 = env::var("BYNAME_SEED").map_or(1, |seed| seed.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let config = json!({
        "version": 1,
        // What `compile` sets where nothing passes through.
        "unknownNames": "refuse",
        "externalNames": {
            "allow": [{"host": "weather.example.com", "ports": [80, 9090]}],
            "grants": [{"from": "shop", "to": "prod"}, {"from": "web", "to": "shop"}],
        },
        "table": {"singleMachine": true},
    });
    fs::write(path("base.json"), config.to_string()).unwrap();
    let mut served: Option<(ServeProcess, Envoy)> = None;
    let mut compared = 0;
    for round in 0..ROUNDS {
        let mut random = SeededRandom(seed.wrapping_mul(1_000).wrapping_add(round));
        let mut objects = cluster(&mut random, listening);
        let items = objects["items"].as_array_mut().unwrap();
        for pod in items.iter_mut().filter(|item| item["kind"] == "Pod") {
            // The pod stays where it is, and its DNS settings are those of the server.
            pod["metadata"]["namespace"] = "shop".into();
            pod["spec"] = json!({"nodeName": "node-a", "containers": []});
        }
        items.extend(marker(round, listening));
        fs::write(path("cluster.json"), objects.to_string()).unwrap();
        let (file, base) = (path("cluster.json"), path("base.json"));
        compile(&file, &base, "shop/caller", &path("alone.yaml"), &[]);
        // The ports of the pods stay.
        let [one, other] = listening;
        let alone = Envoy::builder(path("alone.yaml").to_str().unwrap()).port(one, one).port(other, other);
        let alone = alone.concurrency(1).start().await.unwrap();
        let items = objects["items"].as_array().unwrap().clone();
        match &served {
            Some((program, _)) => program.write(&items),
            None => {
                let program = ServeProcess::start_with(&items, &config).await;
                compile(&file, &base, "shop/caller", &path("served.yaml"), &["--server", "127.0.0.1:18000"]);
                let bootstrap = path("served.yaml");
                let envoy = Envoy::builder(bootstrap.to_str().unwrap()).concurrency(1).port(18000, program.port);
                served = Some((program, envoy.start().await.unwrap()));
            }
        }
        let (program, envoy) = served.as_ref().unwrap();
        eventually("the new names are served", async || {
            !seen(envoy, &format!("round-{round}")).await.endpoints.is_empty()
        })
        .await;
        tokio::time::sleep(SETTLED).await;
        let mut state = ClusterState::default();
        input::read_stream(objects.to_string().as_bytes(), "cluster", &mut |object| state.add(object)).unwrap();
        let unknown = Unknown::of(&objects, "shop");
        for _ in 0..NAMES {
            let authority = name(&mut random, &state, listening);
            if unknown.includes(&authority, listening) {
                continue;
            }
            let (wanted, seen) = (seen(&alone, &authority).await, seen(envoy, &authority).await);
            let place = format!("{authority} with BYNAME_SEED={seed}, round {round}");
            assert_eq!(seen, wanted, "{place}\n{objects}\n{}", program.log());
            compared += 1;
        }
    }
    let (_, envoy) = served.unwrap();
    let refused = envoy.stats("update_rejected").await.unwrap();
    assert!(refused.values().all(|count| *count == 0), "{refused:?}");
    println!("seed {seed}: {compared} names");
    assert!(compared > NAMES, "only {compared} names were compared");
}

/// A Service whose name shows that Envoy has this round's names.
fn marker(round: u64, listening: [u16; 2]) -> [Value; 2] {
    let (name, address) = (format!("round-{round}"), format!("10.97.0.{}", round + 1));
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": name},
            "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"name": "http", "port": 80}]},
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": ["127.0.0.2"]}], "ports": [{"name": "http", "port": listening[0]}],
        }),
    ]
}
