//! `byname serve` against the cluster, its clients, and `byname compile` of a dump to compare them with.

#![expect(clippy::indexing_slicing, reason = "an absent field of JSON reads as null")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context, Result};
use byname_test_support::{Envoy, repository, yaml_documents};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, run},
    load::LoadedEnvoy,
    metric::metric,
    part::{Part, eventually},
    pod::Pod,
    watch::{KINDS, byname_program},
};

const PORT: u16 = 18_000;
/// The clients in pods until now: each has a log of its own.
static PEERS: AtomicUsize = AtomicUsize::new(0);

/// A running `byname serve`.
pub struct Serve {
    /// The process and its log.
    pub part: Part,
    _directory: TempDir,
}

/// A cluster as Envoy has it, whatever its endpoints come from.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamCluster {
    /// The fields that say nothing of endpoints.
    pub fields: Value,
    /// Address and port of each endpoint.
    pub endpoints: BTreeSet<String>,
}

/// Clusters by their names.
pub type UpstreamClusters = BTreeMap<String, UpstreamCluster>;

impl UpstreamCluster {
    fn new(mut cluster: Value, assignment: &Value) -> Self {
        let endpoints = assignment["endpoints"].as_array().into_iter().flatten();
        let endpoints = endpoints.flat_map(|locality| locality["lb_endpoints"].as_array().into_iter().flatten());
        let socket = |endpoint: &Value| {
            let socket = &endpoint["endpoint"]["address"]["socket_address"];
            address(socket["address"].as_str().unwrap_or_default(), &socket["port_value"])
        };
        let endpoints = endpoints.map(socket).collect();
        if let Some(fields) = cluster.as_object_mut() {
            fields.retain(|field, _| !["@type", "type", "eds_cluster_config", "load_assignment"].contains(&&**field));
        }
        Self { fields: cluster, endpoints }
    }
}

fn address(host: &str, port: &Value) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// What the server answers at this path.
fn monitor(path: &str) -> Result<String> {
    run("curl", &["-sf", "-m", "5", &format!("http://{}{path}", Serve::MONITOR)], None)
}

impl Serve {
    /// Where sidecars connect to.
    pub const ADDRESS: &str = "127.0.0.1:18000";
    /// Where it serves its metrics.
    pub const MONITOR: &str = "127.0.0.1:9903";

    /// Starts it with a kubeconfig for whoever connects, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start, with the tail of its log.
    pub fn start(kubeconfig: &Path) -> Result<Self> {
        Self::start_with(kubeconfig, &["--insecure"])
    }

    /// The same with the arguments that say who may connect.
    ///
    /// # Errors
    /// If it does not start, with the tail of its log.
    pub fn start_with(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(byname_program()?);
        command.args(["serve", "--listen", Self::ADDRESS, "--monitor", Self::MONITOR]).args(arguments);
        command.arg("--module").arg(repository().join("target/byname.wasm")).arg("--kubeconfig").arg(kubeconfig);
        let mut part = Part::spawn(command, "serve", directory.path())?;
        part.wait_until(|_| monitor("/readyz").is_ok())?;
        Ok(Self { part, _directory: directory })
    }

    /// The streams, a line each.
    ///
    /// # Errors
    /// If the process does not answer.
    pub fn streams(&self) -> Result<String> {
        monitor("/debug/streams")
    }

    /// The value of the metric `byname_serve_NAME`.
    ///
    /// # Errors
    /// If the process does not answer, or has no such metric.
    pub fn metric(&self, name: &str) -> Result<f64> {
        metric(Self::MONITOR, &format!("byname_serve_{name}"))
    }

    /// The versions of the resources that the client with this node id has, by type and name. `-` for what is missing.
    ///
    /// # Errors
    /// If the process does not answer.
    pub fn versions(&self, node: &str) -> Result<BTreeMap<(String, String), String>> {
        let text = monitor(&format!("/debug/resources?node={node}"))?;
        let line = |line: &str| {
            let mut words = line.split('\t').skip(1).map(str::to_owned);
            let (kind, name, version) = (words.next()?, words.next()?, words.next()?);
            Some(((kind, name), version))
        };
        Ok(text.lines().filter_map(line).collect())
    }
}

/// An Envoy whose only source is a [`Serve`], with the bootstrap of `byname compile` for a pod of the namespace `shop`, under load.
pub struct ServedEnvoy {
    /// Envoy, and its client.
    pub loaded: LoadedEnvoy,
    /// The id of its node.
    pub node: String,
    _directory: TempDir,
}

impl ServedEnvoy {
    /// Starts Envoy for this pod, and a client that asks for the names in turn.
    ///
    /// # Errors
    /// If the bootstrap cannot be compiled, or Envoy does not start.
    pub fn start(cluster: &Cluster, pod: &str, names: &[&'static str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let bootstrap = directory.path().join("bootstrap.yaml").display().to_string();
        let module = repository().join("target/byname.wasm").display().to_string();
        let pod_name = format!("shop/{pod}");
        let more = ["--server", Serve::ADDRESS, "--module", &module, "--output-file", &bootstrap];
        compile(cluster, &[&["--pod", &pod_name, "--format", "envoy-bootstrap"][..], &more].concat())?;
        let loaded = LoadedEnvoy::start(Envoy::builder(&bootstrap).port(PORT, PORT), names)?;
        Ok(Self { loaded, node: format!("{pod}.shop"), _directory: directory })
    }

    /// The clusters that Envoy has from the server.
    ///
    /// # Errors
    /// If Envoy does not answer.
    pub fn clusters(&self) -> Result<UpstreamClusters> {
        let assignments = self.dump("dynamic_endpoint_configs")?;
        let assignment = |name: &str| {
            let mut all = assignments.iter().map(|config| &config["endpoint_config"]);
            all.find(|assignment| assignment["cluster_name"] == name).cloned().unwrap_or_default()
        };
        let clusters = self.dump("dynamic_active_clusters")?;
        let clusters = clusters.into_iter().map(|mut config| config["cluster"].take());
        Ok(by_name(clusters, |cluster| assignment(cluster["name"].as_str().unwrap_or_default())))
    }

    /// The version of each resource that Envoy says it has from the server, by type and name.
    ///
    /// # Errors
    /// If Envoy does not answer.
    pub fn versions(&self) -> Result<BTreeMap<(String, String), String>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let clusters = self.dump("dynamic_active_clusters")?.into_iter();
        let clusters = clusters
            .map(|config| (("cluster".to_owned(), text(&config["cluster"]["name"])), text(&config["version_info"])));
        let filters = self.dump("ecds_filters")?.into_iter();
        let filters = filters
            .map(|config| (("filter".to_owned(), text(&config["ecds_filter"]["name"])), text(&config["version_info"])));
        Ok(clusters.chain(filters).collect())
    }

    fn dump(&self, resource: &str) -> Result<Vec<Value>> {
        let dump = self.loaded.admin(&format!("/config_dump?include_eds&resource={resource}"))?;
        let mut dump: Value = serde_json::from_str(&dump)?;
        Ok(serde_json::from_value(dump["configs"].take()).unwrap_or_default())
    }
}

/// Istio's client of delta ADS, which asks a [`Serve`] for clusters of the namespace `shop`.
pub struct Peer {
    /// The process and its log.
    pub part: Part,
    _directory: Option<TempDir>,
}

impl Peer {
    /// Starts the client on `node-1` of the zone `eu-a`. It asks for the filter, and for these clusters.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(clusters: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let caller = ["--namespace", "shop", "--zone", "eu-a", "--node", "node-1"];
        let arguments = [&["peer", "--server", Serve::ADDRESS][..], &caller, clusters].concat();
        let part = Part::start("istio", "peer", directory.path(), &arguments)?;
        Ok(Self { part, _directory: Some(directory) })
    }

    /// Starts the client in a pod, where it says that it is of this namespace, and sends these headers `name=value`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_in(pod: &Pod, server: &str, namespace: &str, headers: &[String], clusters: &[&str]) -> Result<Self> {
        let headers = headers.iter().flat_map(|header| ["--header", header.as_str()]);
        let own = ["peer", "--server", server, "--namespace", namespace];
        let arguments: Vec<&str> = own.into_iter().chain(headers).chain(clusters.iter().copied()).collect();
        Ok(Self {
            part: pod.start(&format!("peer-{}", PEERS.fetch_add(1, Ordering::Relaxed)), &arguments)?,
            _directory: None,
        })
    }

    /// What the client has now: the filter's configuration, and the clusters.
    ///
    /// # Errors
    /// If it has nothing yet.
    pub fn known(&self) -> Result<(Value, UpstreamClusters)> {
        let log = self.part.log();
        let whole = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let last = whole.lines().rfind(|line| line.starts_with("{\"filter\""));
        let mut known: Value = serde_json::from_str(last.context("the client has nothing yet")?)?;
        let endpoints = known["endpoints"].take();
        let clusters: BTreeMap<String, Value> = serde_json::from_value(known["clusters"].take())?;
        let assignment = |cluster: &Value| {
            let addresses = endpoints[cluster["name"].as_str().unwrap_or_default()].as_array().into_iter().flatten();
            let one = |address: &Value| {
                let (host, port) = address.as_str()?.rsplit_once(':')?;
                let host = host.trim_matches(['[', ']']);
                let socket = json!({"address": host, "port_value": port.parse::<u16>().ok()?});
                Some(json!({"endpoint": {"address": {"socket_address": socket}}}))
            };
            json!({"endpoints": [{"lb_endpoints": addresses.filter_map(one).collect::<Vec<_>>()}]})
        };
        Ok((known["filter"].take(), by_name(clusters.into_values(), assignment)))
    }
}

/// A client in a pod that asks a server for names as the filter does.
pub struct NamesClient {
    /// The process and its log.
    pub part: Part,
}

/// What a server has told a [`NamesClient`] of names, each as `TYPE=NAME`.
#[derive(Debug, Default)]
pub struct ToldNames {
    /// The bytes of each resource as text.
    pub known: BTreeMap<String, String>,
    /// The names that the server says are missing.
    pub missing: BTreeSet<String>,
}

impl NamesClient {
    /// Starts the client, which says that it is of this namespace, sends these headers `name=value`, and asks for these names, each as
    /// `TYPE=NAME`.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(pod: &Pod, server: &str, namespace: &str, headers: &[String], names: &[&str]) -> Result<Self> {
        let headers = headers.iter().flat_map(|header| ["--header", header.as_str()]);
        let own = ["names", "--server", server, "--namespace", namespace];
        let arguments: Vec<&str> = own.into_iter().chain(headers).chain(names.iter().copied()).collect();
        let name = format!("names-{}", PEERS.fetch_add(1, Ordering::Relaxed));
        Ok(Self { part: pod.start(&name, &arguments)? })
    }

    /// What the server has told until now.
    ///
    /// # Errors
    /// If the client prints what it should not.
    pub fn told(&self) -> Result<ToldNames> {
        let log = self.part.log();
        let whole = log.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let Some(last) = whole.lines().rfind(|line| line.starts_with("{\"known\"")) else {
            return Ok(ToldNames::default());
        };
        let mut told: Value = serde_json::from_str(last)?;
        let missing: BTreeMap<String, bool> = serde_json::from_value(told["missing"].take())?;
        Ok(ToldNames { known: serde_json::from_value(told["known"].take())?, missing: missing.into_keys().collect() })
    }
}

/// The clusters that `byname compile` writes for a pod of the namespace `shop`, of a dump of the cluster.
///
/// # Errors
/// If the dump or the compilation fails.
pub fn compiled_clusters(cluster: &Cluster, pod: &str) -> Result<UpstreamClusters> {
    let text = compile(cluster, &["--pod", &format!("shop/{pod}"), "--format", "envoy-bootstrap"])?;
    let documents = yaml_documents(&text)?;
    let bootstrap = documents.first().context("compile prints a bootstrap")?;
    let clusters = bootstrap["static_resources"]["clusters"].as_array().cloned().unwrap_or_default();
    Ok(by_name(clusters.into_iter(), |cluster| cluster["load_assignment"].clone()))
}

/// The configuration that `byname compile` writes for a client of the namespace `shop`, of a dump of the cluster.
///
/// # Errors
/// If the dump or the compilation fails.
pub fn compiled_table(cluster: &Cluster) -> Result<Value> {
    Ok(serde_json::from_str(&compile(cluster, &["--namespace", "shop"])?)?)
}

fn compile(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let program = byname_program()?;
    let program = program.to_str().context("a path in UTF-8")?;
    run(program, &[&["compile"][..], arguments].concat(), Some(&cluster.dump(KINDS)?))
}

fn by_name(clusters: impl Iterator<Item = Value>, assignment: impl Fn(&Value) -> Value) -> UpstreamClusters {
    let named = |cluster: Value| {
        let (name, assignment) = (cluster["name"].as_str().unwrap_or_default().to_owned(), assignment(&cluster));
        (name, UpstreamCluster::new(cluster, &assignment))
    };
    clusters.map(named).collect()
}

/// Waits until what a client has of these clusters is what `compile` makes of a dump.
///
/// # Errors
/// If it is not so in time, with both.
pub fn wait_until_equal(
    what: &str,
    names: &[&str],
    has: impl Fn() -> Result<UpstreamClusters>,
    wanted: impl Fn() -> Result<UpstreamClusters>,
) -> Result<std::time::Duration> {
    let of_names = |mut all: UpstreamClusters| -> UpstreamClusters {
        all.retain(|name, _| names.contains(&&**name));
        all
    };
    let is_equal = || Ok(of_names(has()?) == of_names(wanted()?));
    eventually(what, is_equal)
        .with_context(|| format!("has: {:#?}\ncompile: {:#?}", has().map(of_names), wanted().map(of_names)))
}
