//! Kubernetes' own parts: etcd, the API server, the controllers, and a stand-in for scheduler and kubelet.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{kubectl_binary, kubernetes::kubeconfig_with};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::part::{Part, eventually};

/// Address and port of the API server. The certificate that it makes for itself is for the address that it announces, which the API
/// wants not to be loopback.
pub const API_ADDRESS: &str = "10.244.255.250:6443";
const ETCD: &str = "http://127.0.0.1:2379";
/// Token of the administrator, in group `system:masters`.
const ADMIN_TOKEN: &str = "administrator";

/// How a cluster is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterOptions {
    /// Whether the pods answer HTTP on their addresses.
    pub serves: bool,
}

/// A cluster that runs until it is dropped.
pub struct Cluster {
    // Dropped first to last: the clients of the API end before it does.
    kubelet: Option<Part>,
    controllers: Option<Part>,
    api: Option<Part>,
    etcd: Option<Part>,
    directory: TempDir,
    options: ClusterOptions,
}

impl Cluster {
    /// Starts everything with an empty cluster, and waits until the API is ready.
    ///
    /// # Errors
    /// If a part does not start, with the tail of its log.
    pub fn start(options: ClusterOptions) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("byname-cluster-").tempdir()?;
        let key = directory.path().join("service-accounts.key");
        run("openssl", &["genrsa", "-out", &key.display().to_string(), "2048"], None)?;
        fs::write(
            directory.path().join("tokens.csv"),
            format!("{ADMIN_TOKEN},administrator,administrator,\"system:masters\"\n"),
        )?;
        let mut cluster = Self { kubelet: None, controllers: None, api: None, etcd: None, directory, options };
        cluster.start_etcd()?;
        cluster.start_api()?;
        cluster.start_clients()?;
        Ok(cluster)
    }

    /// Directory of certificates, kubeconfigs and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts etcd on the data that is there.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_etcd(&mut self) -> Result<()> {
        let data = self.path("etcd");
        self.etcd = Some(Part::start("kubernetes", "etcd", self.directory(), &["etcd", "--data-dir", &data])?);
        Ok(())
    }

    /// Starts the API server and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready, with the tail of its log.
    pub fn start_api(&mut self) -> Result<()> {
        let (certificates, key, tokens) =
            (self.path("certificates"), self.path("service-accounts.key"), self.path("tokens.csv"));
        let arguments = [
            "apiserver".to_owned(),
            format!("--etcd-servers={ETCD}"),
            "--secure-port=6443".to_owned(),
            "--advertise-address=10.244.255.250".to_owned(),
            format!("--cert-dir={certificates}"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-signing-key-file={key}"),
            format!("--service-account-key-file={key}"),
            "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            format!("--token-auth-file={tokens}"),
            "--allow-privileged=true".to_owned(),
        ];
        self.api = Some(Part::start("kubernetes", "apiserver", self.directory(), &arguments)?);
        let ready = || run("curl", &["-skf", &format!("https://{API_ADDRESS}/readyz"), "-m", "2"], None).is_ok();
        self.api.as_mut().context("it was started")?.wait_until(|_| ready())?;
        self.kubeconfig_file("admin", ADMIN_TOKEN);
        Ok(())
    }

    /// Starts the controllers and the stand-in for scheduler and kubelet.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start_clients(&mut self) -> Result<()> {
        let admin = self.path("admin.kubeconfig");
        let arguments = [
            "controllers".to_owned(),
            format!("--kubeconfig={admin}"),
            format!("--service-account-private-key-file={}", self.path("service-accounts.key")),
            format!("--root-ca-file={}", self.path("certificates/apiserver.crt")),
            "--leader-elect=false".to_owned(),
            "--allocate-node-cidrs=false".to_owned(),
            // The stand-in sends no heartbeats.
            "--controllers=*,-node-lifecycle-controller,-node-ipam-controller,-node-route-controller".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
            "--concurrent-service-endpoint-syncs=20".to_owned(),
        ];
        self.controllers = Some(Part::start("kubernetes", "controllers", self.directory(), &arguments)?);
        let serves = format!("--serve={}", self.options.serves);
        let arguments = ["kubelet", "--kubeconfig", &admin, &serves];
        self.kubelet = Some(Part::start("kubernetes", "kubelet", self.directory(), &arguments)?);
        // Objects that controllers make for each namespace, without which no pod is admitted.
        eventually("the namespace default has its ServiceAccount", || {
            self.kubectl(&["get", "serviceaccount", "default", "-n", "default"]).map(|_| true)
        })?;
        Ok(())
    }

    /// Ends the controllers and the stand-in, so that nothing changes the cluster but the test.
    pub fn stop_clients(&mut self) {
        self.controllers = None;
        self.kubelet = None;
    }

    /// Kills the API server.
    pub fn kill_api(&mut self) {
        self.api = None;
    }

    /// Forgets the API server's certificate. It makes itself another one when it starts, which a client must read anew.
    ///
    /// # Errors
    /// If the files cannot be removed.
    pub fn rotate_certificate(&self) -> Result<()> {
        Ok(fs::remove_dir_all(self.path("certificates"))?)
    }

    /// Pauses the API server: its connections stay open and nothing is answered.
    ///
    /// # Errors
    /// If it does not run.
    pub fn pause_api(&self) -> Result<()> {
        self.api.as_ref().context("the API server does not run")?.signal("STOP")
    }

    /// Lets a paused API server go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn resume_api(&self) -> Result<()> {
        self.api.as_ref().context("the API server does not run")?.signal("CONT")
    }

    /// Ends the API server and etcd, and copies etcd's data to `name`.
    ///
    /// # Errors
    /// If the copy fails.
    pub fn stop_and_save(&mut self, name: &str) -> Result<()> {
        self.stop_all();
        run("cp", &["-r", &self.path("etcd"), &self.path(name)], None)?;
        Ok(())
    }

    /// Ends the API server and etcd, and replaces etcd's data by what was saved as `name`; by nothing if `name` was not saved.
    ///
    /// # Errors
    /// If the copy fails.
    pub fn stop_and_restore(&mut self, name: &str) -> Result<()> {
        self.stop_all();
        fs::remove_dir_all(self.path("etcd"))?;
        if Path::new(&self.path(name)).exists() {
            run("cp", &["-r", &self.path(name), &self.path("etcd")], None)?;
        }
        Ok(())
    }

    fn stop_all(&mut self) {
        self.stop_clients();
        self.kill_api();
        self.etcd = None;
    }

    /// Forgets the history of all keys.
    ///
    /// # Errors
    /// If etcd refuses.
    pub fn compact(&self) -> Result<()> {
        let mut part = Part::start("kubernetes", "compact", self.directory(), &["compact", ETCD])?;
        part.wait_for_end()
    }

    /// Runs kubectl as the administrator, and returns what it printed.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with_input(arguments, None)
    }

    /// Runs kubectl as the administrator with a standard input.
    ///
    /// # Errors
    /// If it fails, with what it printed.
    pub fn kubectl_with_input(&self, arguments: &[&str], input: Option<&str>) -> Result<String> {
        let kubeconfig = format!("--kubeconfig={}", self.path("admin.kubeconfig"));
        run(&kubectl_binary()?.display().to_string(), &[&[kubeconfig.as_str()], arguments].concat(), input)
    }

    /// A command that watches a list of the API, by its path and query, and prints one line of JSON for each event.
    #[must_use]
    pub fn watch_command(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        let token = format!("authorization: Bearer {ADMIN_TOKEN}");
        command.args(["-skN", "-H", &token, &format!("https://{API_ADDRESS}{path}")]);
        command
    }

    /// Applies objects, with validation as strict as the API has it.
    ///
    /// # Errors
    /// If the API refuses one.
    pub fn apply(&self, objects: &[Value]) -> Result<String> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.kubectl_with_input(&["apply", "--server-side", "--validate=strict", "-f", "-"], Some(&list))
    }

    /// The objects of `kinds` in all namespaces, as kubectl prints them.
    ///
    /// # Errors
    /// If kubectl fails.
    pub fn dump(&self, kinds: &str) -> Result<String> {
        self.kubectl(&["get", kinds, "--all-namespaces", "-o", "yaml"])
    }

    /// A kubeconfig for a ServiceAccount, with nothing more than what is granted to it.
    ///
    /// # Errors
    /// If no token can be had.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let token = self.kubectl(&["create", "token", name, "-n", namespace])?;
        Ok(self.kubeconfig_file(&format!("{namespace}-{name}"), token.trim()))
    }

    /// A kubeconfig of the administrator.
    #[must_use]
    pub fn admin(&self) -> PathBuf {
        PathBuf::from(self.path("admin.kubeconfig"))
    }

    fn kubeconfig_file(&self, name: &str, token: &str) -> PathBuf {
        let authority = self.path("certificates/apiserver.crt");
        let cluster = json!({"server": format!("https://{API_ADDRESS}"), "certificate-authority": authority});
        kubeconfig_with(PathBuf::from(self.path(&format!("{name}.kubeconfig"))), cluster, token)
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The last lines of each log.
    #[must_use]
    pub fn tails(&self) -> String {
        let parts = [
            ("etcd", &self.etcd),
            ("apiserver", &self.api),
            ("controllers", &self.controllers),
            ("kubelet", &self.kubelet),
        ];
        let tail = |(name, part): (&str, &Option<Part>)| {
            format!("== {name}\n{}", part.as_ref().map_or("does not run\n".to_owned(), Part::tail))
        };
        parts.into_iter().map(tail).collect()
    }
}

/// Runs a program to its end, and returns what it printed.
///
/// # Errors
/// If it does not start or fails, with what it printed.
pub fn run(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{program} does not start"))?;
    let mut stdin = child.stdin.take().context("it was asked for")?;
    let input = input.unwrap_or_default().to_owned();
    // A thread, because a program that prints before it has read all would wait for us.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A program may end without reading its input; its status says whether that is an error.
    let _ = writer.join();
    printed(&format!("{program} {}", arguments.join(" ")), &output)
}

/// What a program printed, if it ended well. `called` names it in the error.
pub(crate) fn printed(called: &str, output: &Output) -> Result<String> {
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{called} failed ({}):\n{printed}{said}", output.status);
    Ok(printed.into_owned())
}
