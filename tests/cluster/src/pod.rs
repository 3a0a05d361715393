//! A pod whose sidecar, or gateway, is pilot-agent with Envoy.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use byname_test_support::{envoy_binary, kubectl_binary, repository};
use serde_json::{Value, json};

use crate::{
    cluster::{printed, run},
    netns::PodNetwork,
    part::Part,
};

/// Namespace of istiod.
pub(crate) const NAMESPACE: &str = "istio-system";
/// Istio's proxy runs as this user, whose traffic is not redirected.
pub(crate) const PROXY_USER: &str = "1337";

/// Prints headers and body of the answer.
pub(crate) const CURL: [&str; 5] = ["curl", "-sS", "-i", "-m", "20"];

/// A pod with a sidecar, or a gateway.
#[derive(Clone, Copy, Debug)]
pub struct PodOptions<'a> {
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Name of the pod.
    pub name: &'a str,
    /// Labels of the pod.
    pub labels: &'a [(&'a str, &'a str)],
    /// Whether the proxy is a gateway: nothing is redirected to it.
    pub is_gateway: bool,
}

/// A pod whose proxy runs until it is dropped, and the pod with it.
pub struct Pod {
    /// The kubeconfig of an administrator.
    pub(crate) kubeconfig: PathBuf,
    // Dropped before the network it runs in.
    pub(crate) agent: Option<Part>,
    pub(crate) network: PodNetwork,
    pub(crate) folder: PathBuf,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) address: String,
}

/// An answer over HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, as they were sent.
    pub headers: String,
    /// The body: JSON, if a workload answered.
    pub body: Value,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Asks with curl from outside of all pods.
    ///
    /// # Errors
    /// If nothing answers.
    pub fn outside(arguments: &[&str]) -> Result<Self> {
        let [program, options @ ..] = CURL;
        Self::read(&run(program, &[&options, arguments].concat(), None)?)
    }

    pub(crate) fn read(printed: &str) -> Result<Self> {
        let (headers, text) = printed.split_once("\r\n\r\n").context("an answer has headers")?;
        let status = headers.split(' ').nth(1).context("a status")?.parse()?;
        let body = serde_json::from_str(text).unwrap_or_default();
        Ok(Self { status, headers: headers.to_ascii_lowercase(), body, text: text.to_owned() })
    }

    /// A field of the workload's JSON, empty if no workload answered.
    #[must_use]
    pub fn said(&self, field: &str) -> &str {
        self.body.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.agent = None;
        // A pod without processes would be asked and not answer. It may be gone already, or the API.
        let kubeconfig = format!("--kubeconfig={}", self.kubeconfig.display());
        let end = ["delete", "pod", &self.name, "-n", &self.namespace, "--timeout=20s", "--ignore-not-found"];
        if let Ok(kubectl) = kubectl_binary() {
            drop(Command::new(kubectl).arg(kubeconfig).args(end).output());
        }
    }
}

impl Pod {
    /// Starts the agent, with its log in `logs`, and waits until it is ready.
    pub(crate) fn start_agent(&mut self, logs: &Path, is_gateway: bool) -> Result<()> {
        let kind = if is_gateway { "router" } else { "sidecar" };
        let config = json!({
            "discoveryAddress": format!("istiod.{NAMESPACE}.svc:15012"),
            "binaryPath": "./envoy",
            "concurrency": 2,
            "statusPort": 15020,
            "proxyStatsMatcher": {"inclusionPrefixes": ["extension_config_discovery"]},
        });
        let script = "mount --bind \"$0\" ./pilot-agent; mount --bind \"$1\" ./envoy; shift; exec \"$@\"";
        for name in ["pilot-agent", "envoy"] {
            fs::write(self.folder.join(name), "")?;
        }
        let agent = repository().join("target/cluster/istio").canonicalize()?.display().to_string();
        let envoy = envoy_binary()?.canonicalize()?.display().to_string();
        let environment = [
            ("PROXY_CONFIG", config.to_string()),
            ("POD_NAME", self.name.clone()),
            ("POD_NAMESPACE", self.namespace.clone()),
            ("INSTANCE_IP", self.address.clone()),
            ("SERVICE_ACCOUNT", "default".into()),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes".into()),
            ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT".into()),
            ("ISTIO_META_WORKLOAD_NAME", self.name.clone()),
            ("ISTIO_META_MESH_ID", "cluster.local".into()),
            ("TRUST_DOMAIN", "cluster.local".into()),
            ("CLOUD_PLATFORM", "none".into()),
            ("JWT_POLICY", "third-party-jwt".into()),
        ];
        let user = ["setpriv", "--reuid", PROXY_USER, "--regid", PROXY_USER, "--clear-groups"];
        let run = [
            "./pilot-agent",
            "agent",
            kind,
            "--templateFile=files/bootstrap.json",
            "--proxyLogLevel=warning,wasm:info",
        ];
        let container = ["sh", "-c", script, &agent, &envoy];
        let mut command = self.command(true, &[&container[..], &user, &run].concat());
        command.envs(environment);
        let mut agent = Part::spawn(command, &format!("{}-{}", self.namespace, self.name), logs)?;
        let ready = || self.run(&["curl", "-sf", "-m", "2", "http://127.0.0.1:15021/healthz/ready"]).is_ok();
        agent.wait_until(|_| ready())?;
        self.agent = Some(agent);
        Ok(())
    }

    /// A command that runs a program in the pod. If `ends_all`, what it started ends with it.
    fn command(&self, ends_all: bool, program: &[&str]) -> Command {
        let processes: &[&str] = if ends_all { &["--pid", "--fork", "--kill-child", "--mount-proc"] } else { &[] };
        let mut enter = enter(self.network.file(), &self.folder, processes).into_iter();
        let mut command = Command::new(enter.next().unwrap_or_default());
        command.args(enter).args(program);
        command
    }

    /// Runs a program in the pod to its end, and returns what it printed.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn run(&self, program: &[&str]) -> Result<String> {
        let output = self.command(false, program).output()?;
        printed(&format!("{} in {}", program.join(" "), self.name), &output)
    }

    /// Starts a part of `tests/cluster/istio` as a workload in the pod.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(&self, name: &str, arguments: &[&str]) -> Result<Part> {
        let program = repository().join("target/cluster/istio").display().to_string();
        self.spawn(name, &[&[program.as_str()], arguments].concat())
    }

    /// Starts a program as a workload in the pod.
    ///
    /// # Errors
    /// If it does not start.
    pub fn spawn(&self, name: &str, program: &[&str]) -> Result<Part> {
        Part::spawn(self.command(false, program), name, &self.folder)
    }

    /// Runs a client of `tests/cluster/istio` in the pod, and returns the JSON that it prints.
    ///
    /// # Errors
    /// If it fails.
    pub fn client(&self, arguments: &[&str]) -> Result<Value> {
        let program = repository().join("target/cluster/istio").display().to_string();
        let printed = run_part(self.command(false, &[&[program.as_str()], arguments].concat()))?;
        // Istio's packages log to the standard output too, before the client begins.
        let result = printed.lines().last().context("the client printed nothing")?;
        Ok(serde_json::from_str(result)?)
    }

    /// Calls the health service with Python's gRPC: a target, and an authority if it is not the target.
    ///
    /// # Errors
    /// If the client does not run.
    pub fn call_grpc(&self, arguments: &[&str]) -> Result<Value> {
        let client = python_grpc()?;
        let client: Vec<&str> = client.iter().map(String::as_str).collect();
        Ok(serde_json::from_str(&self.run(&[&client[..], arguments].concat())?)?)
    }

    /// Asks with curl, as a workload in the pod would.
    ///
    /// # Errors
    /// If nothing answers.
    pub fn curl(&self, arguments: &[&str]) -> Result<Answer> {
        Answer::read(&self.run(&[&CURL, arguments].concat())?)
    }

    /// Asks for `/` of a host.
    ///
    /// # Errors
    /// If nothing answers.
    pub fn get(&self, host: &str) -> Result<Answer> {
        self.curl(&[&format!("http://{host}/")])
    }

    /// Asks Envoy's admin interface.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn admin(&self, path: &str) -> Result<String> {
        self.run(&["curl", "-sf", "-m", "10", &format!("http://127.0.0.1:15000{path}")])
    }

    /// The resident memory of the pod's Envoy in kB.
    ///
    /// # Errors
    /// If there is not one Envoy, or if the system does not report its memory.
    pub fn resident_kilobytes(&self) -> Result<u64> {
        self.envoy_kilobytes("VmRSS")
    }

    /// The resident memory of the pod's Envoy in kB without that of files, which all Envoys share. It includes the memory of Wasm VMs.
    ///
    /// # Errors
    /// If there is not one Envoy, or if the system does not report its memory.
    pub fn anonymous_kilobytes(&self) -> Result<u64> {
        self.envoy_kilobytes("RssAnon")
    }

    /// A field of `/proc/PID/status` of the pod's Envoy.
    fn envoy_kilobytes(&self, field: &str) -> Result<u64> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            // Other entries are no processes, and processes end.
            let Ok(status) = fs::read_to_string(process.join("status")) else { continue };
            if status.starts_with("Name:\tenvoy\n") && self.network.has(&process)? {
                let mut fields = status.lines().filter_map(|line| line.split_once(':'));
                let value = fields.find(|(name, _)| *name == field).with_context(|| format!("no {field}"))?.1;
                found.push(value.trim().trim_end_matches(" kB").parse()?);
            }
        }
        match *found {
            [kilobytes] => Ok(kilobytes),
            _ => bail!("{} runs {} Envoys", self.name, found.len()),
        }
    }

    /// Name of the pod.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address of the pod.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The folder that the pod has as `/etc/byname/ecds`.
    #[must_use]
    pub fn ecds(&self) -> PathBuf {
        self.folder.join("ecds")
    }

    /// The log of the agent and of Envoy.
    #[must_use]
    pub fn log(&self) -> String {
        self.agent.as_ref().map(Part::log).unwrap_or_default()
    }

    /// The access log of the sidecar, which a Telemetry object turns on.
    #[must_use]
    pub fn access_log(&self) -> String {
        // Envoy makes the file when it gets the object.
        fs::read_to_string(self.folder.join("lib/access.log")).unwrap_or_default()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.agent.as_ref().map(Part::tail).unwrap_or_default()
    }
}

/// The command that runs in a pod, by the file of its network and by its folder, the program that follows. `processes` are options of
/// `unshare` besides.
pub(crate) fn enter(network: &Path, folder: &Path, processes: &[&str]) -> Vec<String> {
    let container = folder.join("container").display().to_string();
    let mut command: Vec<String> =
        vec!["nsenter".into(), format!("--net={}", network.display()), "unshare".into(), "--mount".into()];
    command.extend(processes.iter().map(|&option| option.to_owned()));
    command.extend(["sh".into(), container, folder.display().to_string()]);
    command
}

/// The command that runs `tests/grpc/client.py`.
pub(crate) fn python_grpc() -> Result<[String; 4]> {
    let packages = repository().join("target/grpc/packages");
    ensure!(packages.is_dir(), "there is no gRPC at {}: run `make grpc`", packages.display());
    let client = repository().join("tests/grpc/client.py").canonicalize()?.display().to_string();
    let path = format!("PYTHONPATH={}", packages.canonicalize()?.display());
    Ok(["env".into(), path, "python3".into(), client])
}

/// Runs a part of `tests/cluster/istio` that ends by itself. It would end early with its standard input.
pub(crate) fn run_part(mut command: Command) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    let output = child.wait_with_output()?;
    drop(stdin);
    printed(&format!("{command:?}"), &output)
}
