//! A pod without a mesh, whose outgoing traffic iptables redirects to an Envoy that `byname compile` wrote the bootstrap of.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use byname_test_support::{envoy_binary, repository};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    cluster::{printed, run},
    netns::PodNetwork,
    part::Part,
    pod::{Answer, CURL, PROXY_USER, python_grpc},
    watch::byname_program,
};

/// The pod's own address. Services and endpoints are on its loopback device.
const ADDRESS: &str = "10.244.0.20";
const ADMIN: &str = "127.0.0.1:15000";
/// Address of the listener.
pub const REDIRECTED_TO: &str = "127.0.0.1:15001";
/// The addresses of Services and endpoints, and the redirect. Envoy runs as $0, whose connections must not come back to it.
const REDIRECT: &str = "set -e
ip address add 10.96.1.1/24 dev lo
ip address add 10.244.1.1/24 dev lo
for network in 10.96.0.0/16 10.244.0.0/16; do
  iptables -t nat -A OUTPUT -p tcp -d $network -m owner ! --uid-owner $0 -j REDIRECT --to-ports 15001
done";
/// Runs Envoy as a user that may not read the repository. $0 is the pod's folder.
const RUN_ENVOY: &str = "set -e
mount --bind $1 $0/envoy
exec setpriv --reuid $2 --regid $2 --clear-groups $0/envoy -c $0/sidecar.yaml --use-dynamic-base-id --concurrency 1 --log-level info";

/// A pod that runs until it is dropped.
pub struct RedirectedPod {
    // Dropped before the network they run in.
    envoy: Option<Part>,
    servers: Vec<Part>,
    network: PodNetwork,
    directory: TempDir,
}

impl RedirectedPod {
    /// Makes the pod's network, and starts a server on each address, with its name.
    ///
    /// # Errors
    /// If the network cannot be made or a server does not start.
    pub fn start(servers: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("byname-redirect-").tempdir()?;
        // Envoy's user reads what is in it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let network = PodNetwork::create(directory.path().join("network"), "redirected", ADDRESS)?;
        let mut pod = Self { envoy: None, servers: Vec::new(), network, directory };
        pod.run(&["sh", "-c", REDIRECT, PROXY_USER])?;
        let program = repository().join("target/cluster/istio").display().to_string();
        for (address, name) in servers {
            let command = pod.network.command(&[&program, "server", "--name", name, "--listen", address]);
            pod.servers.push(Part::spawn(command, &format!("{name}-{address}"), pod.directory.path())?);
        }
        Ok(pod)
    }

    /// Compiles a bootstrap from these objects, and starts an Envoy with it in place of the last one.
    ///
    /// # Errors
    /// If the objects cannot be compiled or Envoy does not become ready.
    pub fn start_envoy(&mut self, objects: &[Value], config: &Value) -> Result<()> {
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let (dump, base) = (file("dump.json"), file("config.json"));
        fs::write(&dump, json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string())?;
        fs::write(&base, config.to_string())?;
        self.start_envoy_with(&["-f", &dump, "--config", &base])
    }

    /// The same with other arguments of `byname compile` in place of the objects and the configuration.
    ///
    /// # Errors
    /// If nothing can be compiled or Envoy does not become ready.
    pub fn start_envoy_with(&mut self, arguments: &[&str]) -> Result<()> {
        self.envoy = None;
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let (module, bootstrap) = (file("byname.wasm"), file("sidecar.yaml"));
        let shipped = repository().join("target/byname.wasm");
        fs::copy(&shipped, &module).with_context(|| format!("there is no {}; run `make build`", shipped.display()))?;
        let of_pod = ["compile", "-n", "shop", "--format", "envoy-bootstrap"];
        let listeners = ["--pass", "original-dst", "--listen", REDIRECTED_TO, "--admin", ADMIN];
        let files = ["--module", &module, "--output-file", &bootstrap];
        run(&byname_program()?.display().to_string(), &[&of_pod[..], arguments, &listeners, &files].concat(), None)?;
        fs::write(self.directory.path().join("envoy"), "")?;
        let directory = self.directory.path().display().to_string();
        let envoy = envoy_binary()?.canonicalize()?.display().to_string();
        let command =
            self.network.command(&["unshare", "--mount", "sh", "-c", RUN_ENVOY, &directory, &envoy, PROXY_USER]);
        let mut part = Part::spawn(command, "envoy", self.directory.path())?;
        let ready = format!("http://{ADMIN}/ready");
        part.wait_until(|_| self.run(&["curl", "-sf", "-m", "2", &ready]).is_ok())?;
        self.envoy = Some(part);
        Ok(())
    }

    /// Asks with curl, as a workload in the pod would.
    ///
    /// # Errors
    /// If nothing answers.
    pub fn curl(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::read(&self.run(&[&CURL, arguments].concat())?)
    }

    /// Calls the health service with Python's gRPC, and returns who answered.
    ///
    /// # Errors
    /// If the client does not run.
    pub fn call_grpc(&self, arguments: &[&str]) -> Result<Value> {
        let client = python_grpc()?;
        let client: Vec<&str> = client.iter().map(String::as_str).collect();
        Ok(serde_json::from_str(&self.run(&[&client[..], arguments].concat())?)?)
    }

    /// Sends bytes to an address, and returns what arrives until the connection is closed or silent.
    ///
    /// # Errors
    /// If nothing listens.
    pub fn send(&self, host: &str, port: &str, request: &str) -> Result<String> {
        let script = repository().join("tests/cluster/send.py").display().to_string();
        self.run(&["python3", &script, host, port, request])
    }

    /// Runs a program in the pod to its end, and returns what it printed.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    fn run(&self, program: &[&str]) -> Result<String> {
        let mut command: Command = self.network.command(program);
        printed(&program.join(" "), &command.stdin(Stdio::null()).output()?)
    }

    /// The last lines of Envoy's log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.envoy.as_ref().map(Part::tail).unwrap_or_default()
    }
}
