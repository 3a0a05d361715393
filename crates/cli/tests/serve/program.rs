//! `byname serve` as a process, and an Envoy that is its client.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use byname_test_support::{
    Connection, Envoy, Reply, RequestForm, TestUpstream, free_port,
    kubernetes::{KubernetesApi, kubeconfig},
    raw_http1, repository, yaml_documents,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Generous, because the machine may be slow and busy. A limit exists because a test that hangs is worse.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// Waits until `is_so` returns true.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < PATIENCE, "not so after {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(POLL).await;
    }
}

/// A `byname serve` process, killed on drop, with a directory of objects that it follows.
pub(crate) struct ServeProcess {
    child: Option<Child>,
    /// The program that runs: that of this build, or of another version.
    pub(crate) program: PathBuf,
    /// The port that sidecars connect to, the same after a restart.
    pub(crate) port: u16,
    monitor: u16,
    arguments: Vec<String>,
    /// The most memory of earlier processes.
    peak: AtomicU64,
    /// Variables of its environment.
    pub(crate) environment: Vec<(String, String)>,
    directory: TempDir,
}

/// What a run of the program gave.
pub(crate) struct ProgramOutput {
    pub(crate) status: Option<i32>,
    /// Both outputs.
    pub(crate) text: String,
}

impl ProgramOutput {
    /// Fails unless the run ended with this status, and its output has these parts.
    pub(crate) fn expect(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{}", self.text);
        for part in parts {
            assert!(self.text.contains(part), "{part}\n---\n{}", self.text);
        }
    }
}

impl ServeProcess {
    /// Starts the process with these objects, and waits until it serves them.
    pub(crate) async fn start(objects: &[Value]) -> Self {
        Self::start_with(objects, &json!({"version": 1, "table": {"singleMachine": true}})).await
    }

    /// The same with a configuration.
    pub(crate) async fn start_with(objects: &[Value], config: &Value) -> Self {
        Self::start_with_config(objects, config, &[]).await
    }

    /// The same with more arguments.
    pub(crate) async fn start_with_config(objects: &[Value], config: &Value, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("in")).unwrap();
        fs::write(directory.path().join("base.json"), config.to_string()).unwrap();
        let from_dir = ["--from-dir".to_owned(), directory.path().join("in").display().to_string()];
        let config = ["--config".to_owned(), directory.path().join("base.json").display().to_string()];
        let arguments = from_dir.into_iter().chain(config).chain(more.iter().map(ToString::to_string)).collect();
        let mut program = Self::new(directory, arguments);
        program.write(objects);
        program.restart().await;
        program
    }

    /// The same as [`start`](Self::start) with more arguments.
    pub(crate) async fn start_with_arguments(objects: &[Value], arguments: &[&str]) -> Self {
        Self::start_with_config(objects, &json!({"version": 1, "table": {"singleMachine": true}}), arguments).await
    }

    /// The same, for Envoys that load this module.
    pub(crate) async fn start_with_module(objects: &[Value], module: &str) -> Self {
        Self::start_with_arguments(objects, &["--module", &repository().join(module).display().to_string()]).await
    }

    /// A process that follows an API, to be started with [`spawn`](Self::spawn). Envoy trusts `ca_certificates`, as PEM.
    pub(crate) fn of_api(api: &KubernetesApi, ca_certificates: &str) -> Self {
        Self::of_api_at(api.address(), ca_certificates)
    }

    /// The same for an API that is reached at another address.
    pub(crate) fn of_api_at(api: SocketAddr, ca_certificates: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (config, ca_file) = (directory.path().join("base.json"), directory.path().join("ca.pem"));
        fs::write(&config, json!({"version": 1, "table": {"singleMachine": true}}).to_string()).unwrap();
        fs::write(&ca_file, ca_certificates).unwrap();
        let kubeconfig = kubeconfig(directory.path(), json!({"server": format!("http://{api}")}));
        let arguments = [("--kubeconfig", kubeconfig), ("--config", config), ("--ca-file", ca_file)];
        let arguments = arguments.into_iter().flat_map(|(flag, file)| [flag.to_owned(), file.display().to_string()]);
        Self::new(directory, arguments.collect())
    }

    /// A process with these arguments, to be started with [`spawn`](Self::spawn).
    pub(crate) fn new(directory: TempDir, arguments: Vec<String>) -> Self {
        let [port, monitor] = [(); 2].map(|()| free_port().unwrap());
        let program = env!("CARGO_BIN_EXE_byname").into();
        let (peak, environment) = (AtomicU64::default(), Vec::new());
        Self { child: None, program, port, monitor, arguments, peak, environment, directory }
    }

    /// Starts the process again on the same port, and waits until it serves.
    pub(crate) async fn restart(&mut self) {
        self.spawn();
        eventually("it is ready", async || self.is_ready().await).await;
    }

    /// Starts the process again without waiting.
    pub(crate) fn spawn(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--monitor", &format!("127.0.0.1:{}", self.monitor)])
            .args(&self.arguments)
            .envs(self.environment.iter().cloned());
        if !self.arguments.iter().any(|argument| argument == "--identity") {
            command.arg("--insecure");
        }
        // A server for sidecars of a mesh alone does not listen there.
        if ["certificate", "token"].iter().any(|proof| self.arguments.iter().any(|argument| argument == proof))
            || !self.arguments.iter().any(|argument| argument == "xfcc")
        {
            command.args(["--listen", &format!("127.0.0.1:{}", self.port)]);
        }
        if !self.arguments.iter().any(|argument| argument == "--module") {
            command.arg("--module").arg(repository().join("target/byname.wasm"));
        }
        let log = fs::File::options().create(true).append(true).open(self.log_file()).unwrap();
        self.child = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    /// Ends the process at once.
    pub(crate) fn kill(&mut self) {
        self.keep_peak();
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Sends SIGTERM and returns the exit status.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        self.signal("TERM");
        let child = self.child.as_mut().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "it still runs");
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Sends the process a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        self.keep_peak();
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// The resident memory of the process, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.bytes("VmRSS:").unwrap()
    }

    /// The most memory that was ever resident, in bytes, also of earlier processes before they were ended.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.bytes("VmHWM:").unwrap_or_default().max(self.peak.load(Ordering::Relaxed))
    }

    /// A process that has ended does not tell it any more.
    fn keep_peak(&self) {
        self.peak.store(self.peak_bytes(), Ordering::Relaxed);
    }

    fn bytes(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.as_ref()?.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024)
    }

    /// Replaces the objects, in one step.
    pub(crate) fn write(&self, objects: &[Value]) {
        self.write_text(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
    }

    /// Replaces the file of the objects.
    pub(crate) fn write_text(&self, text: &str) {
        let next = self.directory.path().join("next.json");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.directory.path().join("in/cluster.json")).unwrap();
    }

    /// Runs the program with these arguments and the same objects.
    pub(crate) fn run_with_objects(&self, arguments: &[&str]) -> ProgramOutput {
        self.run(&[arguments, &["--filename", &self.directory.path().join("in").display().to_string()]].concat())
    }

    /// Runs the program with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> ProgramOutput {
        let output = Command::new(env!("CARGO_BIN_EXE_byname")).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        ProgramOutput { status: output.status.code(), text: text(output.stdout) + &text(output.stderr) }
    }

    /// The clusters that `byname compile` prints for the same objects, by name.
    pub(crate) fn compiled_clusters(&self) -> BTreeMap<String, Value> {
        let text = self.compiled("envoy-bootstrap");
        let bootstrap = yaml_documents(&text).unwrap().remove(0);
        let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap().iter();
        clusters.map(|cluster| (cluster["name"].as_str().unwrap().to_owned(), cluster.clone())).collect()
    }

    /// The table that `byname compile` prints for the same objects.
    pub(crate) fn compiled_table(&self) -> String {
        self.compiled("table")
    }

    fn compiled(&self, format: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_byname"))
            .args(["compile", "--namespace", "shop", "--format", format, "--filename"])
            .arg(self.directory.path().join("in"))
            .arg("--config")
            .arg(self.directory.path().join("base.json"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub(crate) async fn wait_for_log(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), async || self.log().contains(text)).await;
    }

    async fn is_ready(&self) -> bool {
        match Connection::open(self.monitor, RequestForm::Host).await {
            Ok(mut connection) => {
                connection.get_path("serve", "/readyz", &[]).await.is_ok_and(|reply| reply.status == 200)
            }
            Err(_) => false,
        }
    }

    /// Where the monitoring server listens.
    pub(crate) fn monitor(&self) -> String {
        format!("127.0.0.1:{}", self.monitor)
    }

    /// The reply to `path` of the monitoring server.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        let mut connection = Connection::open(self.monitor, RequestForm::Host).await.unwrap();
        connection.get_path("serve", path, &[]).await.unwrap()
    }

    /// The status line of the reply to `path` of the monitoring server, for a client with this address.
    pub(crate) async fn status_from(&self, address: [u8; 4], method: &str, path: &str) -> String {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        let mut connection = socket.connect(([127, 0, 0, 1], self.monitor).into()).await.unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: serve\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        connection.read_to_string(&mut reply).await.unwrap();
        reply.lines().next().unwrap_or_default().to_owned()
    }

    /// The reply to a POST.
    pub(crate) async fn post(&self, path: &str) -> String {
        let request = format!("POST {path} HTTP/1.1\r\nhost: serve\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        raw_http1(self.monitor, request.as_bytes()).await.unwrap()
    }

    /// The value of a metric, which is 0 while it has none. `name` includes the labels, if any.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let name = format!("byname_serve_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0.0, |value| value.parse().unwrap())
    }

    /// The Envoy of envoy/serve.yaml, for a client in the namespace `shop`.
    pub(crate) async fn envoy(&self, passthrough: &TestUpstream) -> Envoy {
        Envoy::builder("serve.yaml").port(18000, self.port).upstream(18080, passthrough).start().await.unwrap()
    }
}

impl Drop for ServeProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of byname serve:\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

pub(crate) async fn upstream(name: &str) -> TestUpstream {
    TestUpstream::start(name).await.unwrap()
}

/// A request through a new connection.
pub(crate) async fn ask(envoy: &Envoy, authority: &str) -> Reply {
    Connection::open(envoy.port(15001), RequestForm::Host).await.unwrap().get(authority, &[]).await.unwrap()
}

/// Waits until this upstream answers with 200.
pub(crate) async fn eventually_answers(envoy: &Envoy, authority: &str, upstream: &str) {
    let what = format!("{upstream} answers {authority}");
    eventually(&what, async || {
        let reply = ask(envoy, authority).await;
        reply.status == 200 && reply.said("upstream") == upstream
    })
    .await;
}

/// Whether this upstream answers whichever worker gets the request. Each connection goes to a random worker: so many that none is left out by
/// chance, also if a test asks until it is so.
pub(crate) async fn all_workers_answer(envoy: &Envoy, authority: &str, upstream: &str) -> bool {
    for _ in 0..24 {
        if ask(envoy, authority).await.said("upstream") != upstream {
            return false;
        }
    }
    true
}

pub(crate) fn service(name: &str) -> Value {
    // Each name has an address of its own.
    let sum = name.bytes().fold(0u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let address = format!("10.97.{}.{}", sum >> 8, sum & 0xFF);
    service_with(name, &json!({"clusterIP": address, "clusterIPs": [address]}))
}

/// A Service with one port, 80, and more fields of `spec`.
pub(crate) fn service_with(name: &str, spec: &Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    let mut all =
        json!({"type": "ClusterIP", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": all})
}

/// An ExternalName Service, without ports.
pub(crate) fn alias(name: &str, host: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    let spec = json!({"type": "ExternalName", "externalName": host});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

/// The object with these words of its annotation `byname/export-to`, if there are any.
pub(crate) fn annotated(mut object: Value, export: Option<&str>) -> Value {
    if let Some(export) = export {
        object["metadata"]["annotations"] = json!({"byname/export-to": export});
    }
    object
}

/// An EndpointSlice of the Service `name` with one endpoint for each upstream: each on its own port, so each in a slice of its own.
pub(crate) fn slices(name: &str, upstreams: &[&TestUpstream]) -> Vec<Value> {
    upstreams.iter().map(|upstream| slice(name, upstream, &json!({}))).collect()
}

/// An EndpointSlice with one endpoint, which has these fields too.
pub(crate) fn slice(name: &str, upstream: &TestUpstream, endpoint: &Value) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    let mut all = json!({"addresses": ["127.0.0.1"], "conditions": {"ready": true}});
    all.as_object_mut().unwrap().extend(endpoint.as_object().unwrap().clone());
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": format!("{name}-{}", upstream.port()),
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": upstream.port(), "protocol": "TCP"}],
        "endpoints": [all],
    })
}

/// Checks that Envoy took all that it was sent.
pub(crate) async fn assert_nothing_is_refused(program: &ServeProcess, envoy: &Envoy) {
    assert_eq!(envoy.stat("control_plane.connected_state").await.unwrap(), 1);
    let refused = envoy.stats("update_rejected").await.unwrap();
    assert!(refused.values().all(|count| *count == 0), "{refused:?}");
    assert!(!program.log().contains(" refused "), "{}", program.log());
}

/// The only EndpointSlice of a Service, so that a change replaces the endpoint in one step.
pub(crate) fn only_slice(name: &str, upstream: &TestUpstream) -> Value {
    let mut slice = slice(name, upstream, &json!({}));
    let (_, name) = name.split_once('/').unwrap();
    slice["metadata"]["name"] = name.into();
    slice
}
