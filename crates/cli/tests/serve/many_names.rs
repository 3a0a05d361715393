//! A thousand names in one Envoy, over one stream, while the cluster changes under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use byname_test_support::{Connection, Envoy, Reply, RequestForm, TestUpstream, kubernetes::KubernetesApi};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::program::{ServeProcess, ask, assert_nothing_is_refused, eventually, only_slice, service_with};

const NAMES: usize = 1_000;
/// Connections that ask at the same time.
const CLIENTS: usize = 8;
/// Changes of endpoints, and the pause between two of them: 20 a second.
const CHANGES: usize = 160;
const PAUSE: Duration = Duration::from_millis(50);
/// Services that come and go, and that are removed and made again, meanwhile.
const COMING: usize = 12;
/// Wrong answers that a failure shows.
const SHOWN: usize = 3;

/// What the upstream of a name speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Http1,
    Http2,
    Tls,
}

impl Spoken {
    fn of(number: usize) -> Self {
        match number % 10 {
            0 => Self::Tls,
            1 => Self::Http2,
            _ => Self::Http1,
        }
    }

    fn app_protocol(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::Http2 => "kubernetes.io/h2c",
            Self::Tls => "https",
        }
    }
}

fn name(number: usize) -> String {
    format!("name-{number}")
}

fn host(number: usize) -> String {
    format!("{}.shop.svc.cluster.local", name(number))
}

fn cluster_of(number: usize) -> String {
    format!("outbound|80||{}", host(number))
}

fn service(number: usize) -> Value {
    let address = format!("10.{}.{}.{}", 97 + number / 62_500, number / 250, number % 250 + 1);
    let port = json!({"name": "http", "port": 80, "appProtocol": Spoken::of(number).app_protocol()});
    let spec = json!({"clusterIP": address, "clusterIPs": [address], "ports": [port]});
    service_with(&format!("shop/{}", name(number)), &spec)
}

fn endpoint(number: usize, upstream: &TestUpstream) -> Value {
    only_slice(&format!("shop/{}", name(number)), upstream)
}

/// The upstreams of the names: two of each kind, so that endpoints can change.
struct Upstreams {
    plain: [TestUpstream; 2],
    secure: [TestUpstream; 2],
    /// The certificates of the secure ones.
    certificates: String,
}

impl Upstreams {
    async fn start() -> Self {
        let plain = [TestUpstream::start("plain-0").await.unwrap(), TestUpstream::start("plain-1").await.unwrap()];
        let (one, first) = TestUpstream::start_tls("secure-0", "*.shop.svc.cluster.local").await.unwrap();
        let (two, second) = TestUpstream::start_tls("secure-1", "*.shop.svc.cluster.local").await.unwrap();
        Self { plain, secure: [one, two], certificates: first + &second }
    }

    fn of(&self, number: usize, version: usize) -> (&TestUpstream, String) {
        match Spoken::of(number) {
            Spoken::Tls => (&self.secure[version % 2], format!("secure-{}", version % 2)),
            _ => (&self.plain[version % 2], format!("plain-{}", version % 2)),
        }
    }
}

/// Why a reply is not what the upstream of a name answers, if it is not.
fn complaint(number: usize, reply: &Reply, upstream: Option<&str>) -> Option<String> {
    let version = reply.said("version");
    let is_right_version = match Spoken::of(number) {
        // The secure upstreams do not offer HTTP/2.
        Spoken::Http1 | Spoken::Tls => version == "HTTP/1.1",
        Spoken::Http2 => version == "HTTP/2.0",
    };
    let said = reply.said("upstream");
    let is_right = reply.status == 200 && is_right_version && upstream.is_none_or(|upstream| said == upstream);
    (!is_right).then(|| {
        format!(
            "{}: {} from {said:?} over {version}, not from {upstream:?}: {}",
            name(number),
            reply.status,
            reply.body
        )
    })
}

/// Asks for all names once, and returns what is wrong with the first answers that are not right.
async fn ask_all(envoy: &Arc<Envoy>, upstreams: &BTreeMap<usize, String>) -> Vec<String> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (envoy, all) = (Arc::clone(envoy), upstreams.clone());
        clients.spawn(async move {
            let mut complaints = Vec::new();
            for (number, upstream) in all.iter().filter(|(number, _)| **number % CLIENTS == client) {
                complaints.extend(complaint(*number, &ask(&envoy, &host(*number)).await, Some(upstream)));
            }
            complaints
        });
    }
    clients.join_all().await.into_iter().flatten().take(SHOWN).collect()
}

/// Clients that ask for names without pause, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Load {
    fn start(envoy: &Envoy, names: usize) -> Self {
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        let port = envoy.port(15001);
        for client in 0..CLIENTS {
            let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
            clients.spawn(async move {
                let (mut complaints, mut number) = (Vec::new(), client);
                let mut connection = Connection::open(port, RequestForm::Host).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    match connection.get(&host(number), &[]).await {
                        Ok(reply) => complaints.extend(complaint(number, &reply, None)),
                        Err(error) => complaints.push(format!("{}: {error:#}", name(number))),
                    }
                    requests.fetch_add(1, Ordering::Relaxed);
                    number = (number + CLIENTS) % names;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                complaints
            });
        }
        Self { stop, requests, clients }
    }

    /// Ends the clients. Returns the number of requests, and what was wrong with the first answers that were not right.
    async fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let complaints = self.clients.join_all().await.into_iter().flatten().take(SHOWN).collect();
        (self.requests.load(Ordering::Relaxed), complaints)
    }
}

/// The port of the only endpoint of each cluster that Envoy has, and the names of all its clusters.
async fn config_dump(envoy: &Envoy) -> (BTreeMap<String, u64>, BTreeSet<String>) {
    let get = async |resource: &str| {
        let dump = envoy.admin(&format!("/config_dump?include_eds&resource={resource}")).await.unwrap().body;
        let dump: Value = serde_json::from_str(&dump).unwrap();
        dump["configs"].as_array().cloned().unwrap_or_default()
    };
    let ports = get("dynamic_endpoint_configs").await.into_iter().map(|config| {
        let assignment = &config["endpoint_config"];
        let endpoint = &assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"];
        let port = endpoint["address"]["socket_address"]["port_value"].as_u64().unwrap_or_default();
        (assignment["cluster_name"].as_str().unwrap().to_owned(), port)
    });
    let ports = ports.collect();
    let clusters = get("dynamic_active_clusters").await;
    let clusters = clusters.iter().map(|config| config["cluster"]["name"].as_str().unwrap().to_owned());
    (ports, clusters.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_names_follow_the_cluster_under_load() {
    let (upstreams, passthrough) = (Upstreams::start().await, TestUpstream::start("passthrough").await.unwrap());
    let api = KubernetesApi::start().await.unwrap();
    api.list_in_pages_of(500);
    let mut versions: BTreeMap<usize, usize> = (0..NAMES).map(|number| (number, 0)).collect();
    for number in 0..NAMES {
        api.put(service(number));
        api.put(endpoint(number, upstreams.of(number, 0).0));
    }
    let mut program = ServeProcess::of_api(&api, &upstreams.certificates);
    program.restart().await;
    let envoy = Arc::new(program.envoy(&passthrough).await);
    let expected = |versions: &BTreeMap<usize, usize>| -> BTreeMap<usize, String> {
        versions.iter().map(|(number, version)| (*number, upstreams.of(*number, *version).1)).collect()
    };

    let start = Instant::now();
    assert_eq!(ask_all(&envoy, &expected(&versions)).await, Vec::<String>::new(), "{}", program.log());
    println!("the first request of {NAMES} names: {:?} with {CLIENTS} clients", start.elapsed());

    // Names in use change their endpoints, others come, go and come back.
    let load = Load::start(&envoy, NAMES);
    let start = Instant::now();
    for change in 0..CHANGES {
        let number = change * 7 % NAMES;
        let version = versions.get_mut(&number).unwrap();
        *version += 1;
        api.put(endpoint(number, upstreams.of(number, *version).0));
        let (round, coming) = (change / COMING, NAMES + change % COMING);
        if round % 2 == 0 {
            api.put(service(coming));
            api.put(endpoint(coming, upstreams.of(coming, round / 2).0));
            // Some are asked for before the server has sent their name, and some never.
            if coming % 3 > 0 {
                drop(ask(&envoy, &host(coming)).await);
            }
            versions.insert(coming, round / 2);
        } else if versions.remove(&coming).is_some() {
            api.delete(&service(coming));
            api.delete(&endpoint(coming, &upstreams.plain[0]));
        }
        tokio::time::sleep(PAUSE).await;
    }
    let (requests, complaints) = load.stop().await;
    println!("{CHANGES} changes in {:?}, {requests} requests meanwhile", start.elapsed());
    assert_eq!(complaints, Vec::<String>::new(), "{}", program.log());
    assert!(requests > CHANGES * CLIENTS, "only {requests} requests were sent");

    // What was changed last is what answers, and what Envoy has.
    eventually("all names are as in the cluster", async || ask_all(&envoy, &expected(&versions)).await.is_empty())
        .await;
    let gone = (NAMES..NAMES + COMING).filter(|number| !versions.contains_key(number));
    for number in gone {
        // The filter's names are told up to a second after the cluster is removed.
        let is_gone = async || ask(&envoy, &host(number)).await.said("upstream") == "passthrough";
        eventually(&format!("{} is gone", name(number)), is_gone).await;
    }
    let names: BTreeSet<String> = versions.keys().map(|number| cluster_of(*number)).collect();
    let ports: BTreeMap<String, u64> = versions
        .iter()
        .map(|(number, version)| (cluster_of(*number), upstreams.of(*number, *version).0.port().into()))
        .collect();
    let (ports_in_envoy, names_in_envoy) = config_dump(&envoy).await;
    assert_eq!(names_in_envoy, names);
    assert_eq!(ports_in_envoy, ports);

    for count in ["upstream_cx_total", "upstream_rq_total"] {
        assert_eq!(envoy.stat(&format!("cluster.byname-server.{count}")).await.unwrap(), 1, "{count}: one stream");
    }
    assert_nothing_is_refused(&program, &envoy).await;
}
