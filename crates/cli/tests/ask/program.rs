//! The program beside a Kubernetes API that has the example's cluster.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use byname_test_support::{kubernetes::KubernetesApi, repository, yaml_documents};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A dump of the same cluster.
pub(crate) const DUMP: &str = "examples/cluster/shop.yaml";

/// The cluster of [`DUMP`] behind an API.
pub(crate) struct ShopApi {
    pub(crate) api: KubernetesApi,
    pub(crate) directory: TempDir,
    pub(crate) kubeconfig: String,
    // Dropped last: the API runs in it.
    _runtime: Runtime,
}

/// What a run of the program gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl ShopApi {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let api = runtime.block_on(KubernetesApi::start()).unwrap();
        for object in objects() {
            api.put(object);
        }
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = api.kubeconfig(directory.path()).display().to_string();
        Self { api, directory, kubeconfig, _runtime: runtime }
    }

    /// Runs the program with this API's kubeconfig.
    pub(crate) fn byname(&self, args: &[&str]) -> Run {
        byname(&[args, &["--kubeconfig", &self.kubeconfig]].concat())
    }

    /// The lists that were asked for, as `services?limit=500`, without repetitions.
    pub(crate) fn lists(&self) -> Vec<String> {
        let mut lists: Vec<String> = self.api.requests();
        lists.iter_mut().for_each(|list| *list = list.split('?').next().unwrap_or_default().to_owned());
        lists.sort();
        lists.dedup();
        lists
    }

    /// A kubeconfig with two contexts, `dev` and `prod`, of which `dev` is the current one and for this API.
    pub(crate) fn two_contexts(&self) -> PathBuf {
        let file = self.directory.path().join("contexts.json");
        let server = format!("http://{}", self.api.address());
        let context = |cluster: &str| json!({"cluster": cluster, "user": "me", "namespace": "billing"});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "dev",
            "contexts": [
                {"name": "dev", "context": context("dev")},
                {"name": "prod", "context": context("nowhere")},
            ],
            "clusters": [
                {"name": "dev", "cluster": {"server": server}},
                {"name": "nowhere", "cluster": {"server": "http://127.0.0.1:9"}},
            ],
            "users": [{"name": "me", "user": {"token": "secret"}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }
}

/// The objects of [`DUMP`].
pub(crate) fn objects() -> Vec<Value> {
    let text = std::fs::read_to_string(repository().join(DUMP)).unwrap();
    let lists = yaml_documents(&text).unwrap();
    lists.iter().flat_map(|list| list["items"].as_array().unwrap().clone()).collect()
}

/// The program in the repository's root, with nothing of the user's settings.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_byname"));
    command.current_dir(repository());
    for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "PAGER", "BYNAME_PAGER", "KUBECONFIG"] {
        command.env_remove(variable);
    }
    command.env("HOME", "/nonexistent").env_remove("KUBERNETES_SERVICE_HOST");
    command
}

/// Runs the program without an input.
pub(crate) fn byname(args: &[&str]) -> Run {
    of(program().args(args).stdin(Stdio::null()).output().unwrap())
}

/// Runs the program with a piped input.
pub(crate) fn byname_with_input(args: &[&str], input: &str) -> Run {
    let mut command = program();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The program may end without reading it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    of(child.wait_with_output().unwrap())
}

pub(crate) fn of(output: Output) -> Run {
    Run {
        status: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Run {
    /// Fails unless the run ended with this status.
    pub(crate) fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}{}", self.stdout, self.stderr);
        self
    }

    /// The output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}
