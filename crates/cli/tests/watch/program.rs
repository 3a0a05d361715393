//! `byname watch` as a process, with its output file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use byname_test_support::{
    Connection, Envoy, RequestForm, TestUpstream, kubernetes::KubernetesApi, raw_http1, repository,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Generous, because the machine may be slow and busy. A limit exists because a test that hangs is worse.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// Waits until `is_so` returns true.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not so after {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(POLL).await;
    }
}

/// A `byname watch` process, killed on drop.
pub(crate) struct WatchProcess {
    child: Child,
    log: PathBuf,
    /// The output file.
    pub(crate) output: PathBuf,
    port: u16,
    directory: TempDir,
}

impl WatchProcess {
    /// Starts the process with `arguments`, which receive a temporary directory, and waits until it listens.
    pub(crate) async fn start(arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (log, output) = (directory.path().join("log"), directory.path().join("out/byname.yaml"));
        fs::create_dir(output.parent().unwrap()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_byname"));
        command
            .args(["watch", "--listen", "127.0.0.1:0", "--output-file"])
            .arg(&output)
            .args(arguments(directory.path()));
        let stderr = Stdio::from(fs::File::create(&log).unwrap());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let mut program = Self { child, log, output, port: 0, directory };
        eventually("it answers", || {
            let log = program.log();
            assert!(!log.contains("error:"), "{log}");
            let line = log.lines().find_map(|line| Some(line.split_once(" note: listening on http://127.0.0.1:")?.1));
            program.port = line.and_then(|port| port.parse().ok()).unwrap_or_default();
            program.port != 0
        })
        .await;
        program
    }

    /// Starts the process for the filter of envoy/endpoint.yaml, with `config` as its `--config`, and waits for the
    /// first file.
    pub(crate) async fn by_endpoint(api: &KubernetesApi, config: &Value) -> Self {
        let program = Self::start(|directory| {
            let base = directory.join("base.json");
            fs::write(&base, config.to_string()).unwrap();
            let module = repository().join("target/byname.wasm").display().to_string();
            let (base, kubeconfig) = (base.display().to_string(), api.kubeconfig(directory).display().to_string());
            let pairs = [
                ["--kubeconfig", &kubeconfig],
                ["--namespace", "shop"],
                ["--config", &base],
                ["--filter-name", "byname-endpoint"],
                ["--module", &module],
            ];
            pairs.as_flattened().iter().map(|argument| (*argument).to_owned()).collect()
        })
        .await;
        eventually("the first file is there", || program.output.exists()).await;
        program
    }

    /// The Envoy of envoy/endpoint.yaml, with the output file as its filter configuration.
    pub(crate) async fn envoy(&self, passthrough: &TestUpstream) -> Envoy {
        Envoy::builder("endpoint.yaml")
            .upstream(18080, passthrough)
            .following(self.output.parent().unwrap())
            .start()
            .await
            .unwrap()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn count_in_log(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    pub(crate) async fn wait_for_log(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.log().contains(text)).await;
    }

    /// The status and the body of the reply to `path`.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let mut connection = Connection::open(self.port, RequestForm::Host).await.unwrap();
        let reply = connection.get_path("watch", path, &[]).await.unwrap();
        (reply.status, reply.body)
    }

    /// Status and body of what it answers to a request of another method.
    pub(crate) async fn send(&self, method: &str, path: &str) -> (u16, String) {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: watch\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let reply = raw_http1(self.port, request.as_bytes()).await.unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        (status, reply.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The value of a metric. `name` includes the labels, if any.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics").await;
        let name = format!("byname_watch_{name} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a metric has this value. Metrics change shortly after the file is written.
    pub(crate) async fn wait_for_metric(&self, name: &str, value: f64) {
        let start = Instant::now();
        while self.metric(name).await != value {
            assert!(start.elapsed() < PATIENCE, "{name} is {} and not {value}", self.metric(name).await);
            tokio::time::sleep(POLL).await;
        }
    }

    /// The number of ready endpoints of each Service in the file (`--format table`). Fails if the file is incomplete.
    pub(crate) fn services(&self) -> Option<BTreeMap<String, usize>> {
        let text = fs::read_to_string(&self.output).ok()?;
        let config: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let services = config["table"]["services"].as_object().unwrap().iter();
        let count = |group: &Value| group["addresses"].as_str().unwrap().split(' ').count();
        let ready = |service: &Value| {
            let groups = service["endpoints"].as_array().into_iter().flatten();
            groups.filter(|group| group["ready"] != false).map(count).sum()
        };
        Some(services.map(|(name, service)| (name.clone(), ready(service))).collect())
    }

    /// Waits until the table has these Services, with these numbers of endpoints.
    pub(crate) async fn wait_for(&self, services: &[(&str, usize)]) {
        let wanted: BTreeMap<String, usize> =
            services.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let start = Instant::now();
        while self.services().as_ref() != Some(&wanted) {
            let late = start.elapsed() > PATIENCE;
            assert!(!late, "{:?} and not {wanted:?}; its log:\n{}", self.services(), self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Replaces the process, which has ended, with `child`.
    pub(crate) fn adopt(&mut self, child: Child) {
        self.child = child;
    }

    /// Sends SIGTERM and returns the exit status.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let mut status = None;
        let child = &mut self.child;
        eventually("it ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for WatchProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of byname watch:\n{}", self.log());
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn service(name: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "ClusterIP", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]},
    })
}

/// An EndpointSlice of the Service `name` with these endpoints.
pub(crate) fn slice(name: &str, endpoints: &[Value]) -> Value {
    slice_with_port(name, endpoints, 8080)
}

pub(crate) fn slice_with_port(name: &str, endpoints: &[Value], port: u16) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": format!("{name}-{port}"),
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

pub(crate) fn endpoint(address: &str, ready: bool) -> Value {
    json!({"addresses": [address], "conditions": {"ready": ready, "serving": ready, "terminating": false}})
}

/// This many ready endpoints.
pub(crate) fn endpoints(count: usize) -> Vec<Value> {
    (1..=count).map(|number| endpoint(&format!("10.1.0.{number}"), true)).collect()
}
