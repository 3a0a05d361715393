//! The processes of a pod without containers: this starts what the manifests say, with a real Envoy and a real `byname
//! watch`, on directories for volumes and on free ports.
//!
//! This is no kubelet. It pulls no images and uses the programs of this machine. It sets no user, capabilities, limits
//! or read-only file system. It runs no probes over time, but a sidecar's startup probe must succeed before the next
//! container starts.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use byname_test_support::{Connection, RequestForm, TestUpstream, envoy_binary, kubernetes::KubernetesApi, repository};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container, PodSpec},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Generous, because the machine may be slow and busy. A limit exists because a test that hangs is worse.
const PATIENCE: Duration = Duration::from_secs(60);
/// The directory on this machine with the programs of the images.
const MODULE: &str = "/usr/local/share/byname/byname.wasm";

/// The processes of a pod, killed on drop.
pub(crate) struct PodProcesses {
    spec: PodSpec,
    namespace: String,
    directory: TempDir,
    /// Replacements for paths, ports and other text of the manifests.
    instead: Vec<(String, String)>,
    ports: BTreeMap<u16, u16>,
    processes: BTreeMap<String, Child>,
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

impl PodProcesses {
    /// Starts a pod of the Deployment `name`, which was applied before.
    pub(crate) async fn start(api: &KubernetesApi, namespace: &str, name: &str) -> Self {
        let deployment = api.object("Deployment", namespace, name).unwrap();
        let deployment: Deployment = serde_json::from_value(deployment).unwrap();
        let spec = deployment.spec.template.spec.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut pod = Self {
            spec,
            namespace: namespace.to_owned(),
            directory,
            instead: Vec::new(),
            ports: [15001, 9901, 9902].into_iter().map(|port| (port, free_port())).collect(),
            processes: BTreeMap::new(),
        };
        pod.prepare(api).await;
        for container in pod.spec.init_containers.clone().into_iter().flatten() {
            pod.run(&container, api).await;
        }
        pod
    }

    /// The free port in place of a port of the manifests.
    pub(crate) fn port(&self, port: u16) -> u16 {
        self.ports[&port]
    }

    /// Makes a directory for each volume that has files or is written to.
    async fn prepare(&mut self, api: &KubernetesApi) {
        let here = |name: &str| self.directory.path().join(name);
        let (_, certificate) = TestUpstream::start_tls("none", "none").await.unwrap();
        fs::write(here("ca.pem"), certificate).unwrap();
        let path = |path: PathBuf| path.canonicalize().unwrap().display().to_string();
        self.instead = vec![
            (MODULE.to_owned(), path(repository().join("target/byname.wasm"))),
            ("/etc/ssl/certs/ca-certificates.crt".to_owned(), here("ca.pem").display().to_string()),
        ];
        for (port, free) in &self.ports {
            self.instead.push((format!("port_value: {port}"), format!("port_value: {free}")));
            self.instead.push((format!("\":{port}\""), format!("\"127.0.0.1:{free}\"")));
        }
        let containers = self.spec.init_containers.iter().flatten().chain(&self.spec.containers);
        for mount in containers.flat_map(|container| container.volume_mounts.iter().flatten()) {
            fs::create_dir_all(here(&mount.name)).unwrap();
            self.instead.push((mount.mount_path.clone(), here(&mount.name).display().to_string()));
        }
        for volume in self.spec.volumes.iter().flatten() {
            let Some(source) = &volume.config_map else { continue };
            let map = api.object("ConfigMap", &self.namespace, &source.name).unwrap();
            let map: ConfigMap = serde_json::from_value(map).unwrap();
            for (file, text) in map.data.iter().flatten() {
                fs::write(here(&volume.name).join(file), self.localized(text)).unwrap();
            }
        }
    }

    fn localized(&self, text: &str) -> String {
        self.instead.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// A container's command, with the variables that the kubelet expands.
    fn words(&self, container: &Container) -> Vec<String> {
        let mut words = container.command.clone().unwrap();
        for variable in container.env.iter().flatten() {
            let from = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
            let value = match from.map(|field| &*field.field_path) {
                Some("metadata.name") => "checkout-0",
                Some("metadata.namespace") => &self.namespace,
                _ => continue,
            };
            words.iter_mut().for_each(|word| *word = word.replace(&format!("$({})", variable.name), value));
        }
        // As JSON, because the word alone is in quotation marks.
        serde_json::from_str(&self.localized(&serde_json::to_string(&words).unwrap())).unwrap()
    }

    /// Runs an init container to its end, or starts a sidecar and waits until it is ready.
    async fn run(&mut self, container: &Container, api: &KubernetesApi) {
        let words = self.words(container);
        let mut command = match &*words[0] {
            "byname" => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_byname"));
                let kubeconfig = api.kubeconfig(self.directory.path());
                command.args(&words[1..]).arg("--kubeconfig").arg(kubeconfig);
                command
            }
            program => {
                let envoy = envoy_binary().unwrap();
                let mut command = Command::new(if program == "envoy" { &*envoy } else { program.as_ref() });
                command.args(&words[1..]);
                command
            }
        };
        let log = fs::File::create(self.log_file(&container.name)).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut child = command.spawn().unwrap();
        if container.restart_policy.is_none() {
            assert!(child.wait().unwrap().success(), "{}", self.log(&container.name));
            return;
        }
        self.processes.insert(container.name.clone(), child);
        let start = Instant::now();
        while !self.is_started(container).await {
            let ended = self.processes.get_mut(&container.name).unwrap().try_wait().unwrap();
            let is_late = ended.is_some() || start.elapsed() > PATIENCE;
            assert!(!is_late, "{} is not ready ({ended:?}): {}", container.name, self.log(&container.name));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the startup probe succeeds.
    async fn is_started(&self, container: &Container) -> bool {
        let probe = container.startup_probe.as_ref().unwrap();
        if let Some(exec) = &probe.exec {
            let words = exec.command.clone().unwrap();
            // The probe opens the port with bash.
            let script = words[2].replace("/15001", &format!("/{}", self.port(15001)));
            let output = Command::new(&words[0]).args([&words[1], &script]).output().unwrap();
            return output.status.success();
        }
        let path = probe.http_get.as_ref().unwrap().path.clone().unwrap();
        let Ok(mut connection) = Connection::open(self.port(9902), RequestForm::Host).await else { return false };
        connection.get_path("watch", &path, &[]).await.is_ok_and(|reply| reply.status == 200)
    }

    fn log_file(&self, container: &str) -> PathBuf {
        self.directory.path().join(format!("{container}.log"))
    }

    /// Whether a sidecar of this name runs.
    pub(crate) fn has(&self, container: &str) -> bool {
        self.processes.contains_key(container)
    }

    /// The log of a container.
    pub(crate) fn log(&self, container: &str) -> String {
        fs::read_to_string(self.log_file(container)).unwrap()
    }

    /// The output of `curl -s URL` in the application's container. `http_proxy` is set there, so the request goes to
    /// Envoy.
    pub(crate) async fn curl(&self, url: &str) -> String {
        let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut connection = Connection::open(self.port(15001), RequestForm::Proxy).await.unwrap();
        let reply = connection.get_path(authority, &format!("/{path}"), &[]).await.unwrap();
        let upstream = reply.said("upstream");
        if upstream.is_empty() { reply.body } else { upstream }
    }
}

impl Drop for PodProcesses {
    fn drop(&mut self) {
        for (name, process) in &mut self.processes {
            if std::thread::panicking() {
                let log = fs::read_to_string(self.directory.path().join(format!("{name}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().filter(|line| !line.contains("][info]")).collect();
                eprintln!("the log of {name}:\n{}", lines.join("\n"));
            }
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// The EndpointSlice of a Service, as its controller would write it: one pod on loopback, on the upstream's port.
pub(crate) fn slice(namespace: &str, service: &str, upstream: &TestUpstream) -> Value {
    let name = format!("{service}-{}", upstream.port());
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": upstream.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
    })
}
