//! The server of a filter that asks for Services: `byname serve`, with the same names in a small Kubernetes API. A changed
//! object reaches the server as an event. A changed file of 10,000 Services would be read whole.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use byname_test_support::{Connection, RequestForm, free_port, kubernetes::KubernetesApi, repository};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

use super::{
    super::world::OWN,
    names::{NamedService, Names},
};

const PROGRAM: &str = "target/native/byname";
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Objects on a page of a list.
const PAGE: usize = 500;

/// A `byname serve` that ends with its value.
pub(super) struct Server {
    child: Child,
    api: KubernetesApi,
    /// The API's own thread, so that it does not delay the clients. `None` only during drop.
    runtime: Option<Runtime>,
    port: u16,
    directory: TempDir,
}

impl Server {
    /// Starts a server with these names, and waits until it is ready.
    pub(super) async fn start(names: &Names) -> Result<Self> {
        let program = repository().join(PROGRAM);
        ensure!(program.is_file(), "there is no {PROGRAM}: run `make cli`");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let api = runtime.spawn(KubernetesApi::start()).await??;
        api.list_in_pages_of(PAGE);
        for service in &names.services {
            api.put(object(service));
        }
        put_alias(&api, names);
        let directory = tempfile::tempdir()?;
        let (port, monitor) = (free_port()?, free_port()?);
        let child = Command::new(program)
            .args(["serve", "--insecure", "--listen", &format!("127.0.0.1:{port}")])
            .args(["--monitor", &format!("127.0.0.1:{monitor}"), "--kubeconfig"])
            .arg(api.kubeconfig(directory.path()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.path().join("log"))?)
            .spawn()?;
        let mut server = Self { child, api, runtime: Some(runtime), port, directory };
        let start = Instant::now();
        while !is_ready(monitor).await {
            if let Some(status) = server.child.try_wait()? {
                bail!("byname serve ended ({status}):\n{}", server.log());
            }
            ensure!(start.elapsed() < PATIENCE, "byname serve is not ready:\n{}", server.log());
            sleep(POLL).await;
        }
        Ok(server)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Changes the alias to the one of `names`.
    pub(super) fn change(&self, names: &Names) {
        put_alias(&self.api, names);
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Waiting for the thread is not allowed in asynchronous code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn is_ready(monitor: u16) -> bool {
    let Ok(mut connection) = Connection::open(monitor, RequestForm::Host).await else { return false };
    connection.get_path("serve", "/readyz", &[]).await.is_ok_and(|reply| reply.status == 200)
}

fn put_alias(api: &KubernetesApi, names: &Names) {
    if let Some((name, target)) = names.alias() {
        api.put(service(name, OWN, &json!({"type": "ExternalName", "externalName": target})));
    }
}

fn object(named: &NamedService) -> Value {
    let address = &named.cluster_ip;
    let ports = json!([{"name": "http", "port": 80}]);
    let spec = json!({"clusterIP": address, "clusterIPs": [address], "ports": ports});
    service(&named.name, &named.namespace, &spec)
}

fn service(name: &str, namespace: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}
