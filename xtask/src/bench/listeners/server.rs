//! The server of a filter that asks for Services: `byname serve`, with the same names in a small Kubernetes API. A changed
//! object reaches the server as an event. A changed file of 10,000 Services would be read whole.

use anyhow::Result;
use byname_test_support::{ServeProcess, kubernetes::KubernetesApi};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::{
    super::world::OWN,
    names::{NamedService, Names},
};

/// Objects on a page of a list.
const PAGE: usize = 500;

/// A server, and the API that it follows.
pub(super) struct Server {
    serve: ServeProcess,
    api: KubernetesApi,
    /// The API's own thread, so that it does not delay the clients. `None` only during drop.
    runtime: Option<Runtime>,
    _directory: TempDir,
}

impl Server {
    /// Starts a server with these names, and waits until it is ready.
    pub(super) async fn start(names: &Names) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let api = runtime.spawn(KubernetesApi::start()).await??;
        api.list_in_pages_of(PAGE);
        for service in &names.services {
            api.put(object(service));
        }
        put_alias(&api, names);
        let directory = tempfile::tempdir()?;
        let serve = ServeProcess::start(&api.kubeconfig(directory.path()), &[]).await?;
        Ok(Self { serve, api, runtime: Some(runtime), _directory: directory })
    }

    pub(super) fn port(&self) -> u16 {
        self.serve.address.port()
    }

    /// Changes the alias to the one of `names`.
    pub(super) fn change(&self, names: &Names) {
        put_alias(&self.api, names);
    }

    pub(super) fn log(&self) -> String {
        self.serve.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Waiting for the thread is not allowed in asynchronous code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
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
