//! `byname serve` as a pod of the mesh: behind a sidecar, which says who asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::{repository, yaml_documents};
use serde_json::Value;

use crate::{
    cluster::Cluster,
    istio::Istio,
    metric::value_of,
    part::{Part, eventually},
    pod::{Answer, Pod, PodOptions},
    watch::byname_program,
};

/// The objects of the server.
const OBJECTS: &str = "examples/istio/stream/server.yaml";
/// The server's namespace, as in [`OBJECTS`].
const NAMESPACE: &str = "byname-system";
/// Host and port by which workloads of the mesh reach the server.
pub const SERVER: &str = "byname.byname-system.svc.cluster.local:9905";
/// The port on which the server takes connections of its sidecar.
pub const XFCC_PORT: u16 = 18_001;
/// Where the server serves its metrics, in its pod.
const MONITOR: &str = "127.0.0.1:9902";

/// A server with a sidecar, as examples/istio/stream has it.
pub struct MeshServer {
    // Dropped before its pod.
    part: Part,
    /// The pod.
    pub pod: Pod,
    command: Vec<String>,
}

impl MeshServer {
    /// The objects of the example but those that make pods, because the tests run no containers.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn objects() -> Result<Vec<Value>> {
        let mut objects = example()?;
        objects.retain(|object| kind(object) != "Deployment");
        Ok(objects)
    }

    /// Starts the server of the example with more arguments, in a pod with a sidecar. Its [`objects`](Self::objects) must be there.
    ///
    /// # Errors
    /// If the sidecar or the server does not become ready, with the tail of its log.
    pub fn start(cluster: &Cluster, istio: &Istio<'_>, arguments: &[&str]) -> Result<Self> {
        Self::start_as("byname", cluster, istio, arguments)
    }

    /// The same in a pod of this name.
    ///
    /// # Errors
    /// If the sidecar or the server does not become ready, with the tail of its log.
    pub fn start_as(name: &str, cluster: &Cluster, istio: &Istio<'_>, arguments: &[&str]) -> Result<Self> {
        // The injector labels pods so: istiod tells other sidecars by it that the pod takes mTLS.
        let labels = [("app", "byname"), ("security.istio.io/tlsMode", "istio")];
        let pod = istio.start_pod(&PodOptions { namespace: NAMESPACE, name, labels: &labels, is_gateway: false })?;
        let kubeconfig = cluster.service_account(NAMESPACE, "byname")?.display().to_string();
        let program = byname_program()?.canonicalize()?.display().to_string();
        let deployment = example()?.into_iter().find(|object| kind(object) == "Deployment");
        let deployment = deployment.context("no Deployment")?;
        let words = deployment.pointer("/spec/template/spec/containers/0/command").and_then(Value::as_array);
        let own: Option<Vec<&str>> = words.context("no command")?.iter().map(Value::as_str).collect();
        let own = own.context("the command has words")?;
        ensure!(own.first() == Some(&"byname"), "{own:?}");
        let more = [&["--kubeconfig", &kubeconfig], arguments].concat();
        let words = [&[&*program], own.get(1..).unwrap_or_default(), &more].concat();
        let command: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let part = spawn(&pod, &command)?;
        let mut server = Self { part, pod, command };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let is_ready = || self.pod.run(&["curl", "-sf", "-m", "5", &format!("http://{MONITOR}/readyz")]).is_ok();
        self.part.wait_until(|_| is_ready())
    }

    /// Kills the server. Its sidecar goes on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.part.signal("KILL")?;
        // It may have ended with the status of the signal alone.
        let _ = self.part.wait_for_end();
        Ok(())
    }

    /// Starts the server again, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not become ready, with the tail of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.part = spawn(&self.pod, &self.command)?;
        self.wait_until_ready()
    }

    /// Sends the server a signal by its name, such as `STOP`.
    ///
    /// # Errors
    /// If it does not run.
    pub fn signal(&self, signal: &str) -> Result<()> {
        self.part.signal(signal)
    }

    /// What the server's monitor answers.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn monitor(&self, path: &str) -> Result<String> {
        Ok(self.pod.curl(&[&format!("http://{MONITOR}{path}")])?.text)
    }

    /// The value of the metric `byname_serve_NAME`; 0 while it has none.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn metric(&self, name: &str) -> Result<f64> {
        Ok(value_of(&self.monitor("/metrics")?, &format!("byname_serve_{name}")).unwrap_or_default())
    }

    /// Waits until a stream of this namespace is open.
    ///
    /// # Errors
    /// If none is in time.
    pub fn wait_for_stream(&self, namespace: &str) -> Result<()> {
        let wanted = format!("\tnamespace={namespace}\tservice_account=default\t");
        eventually(&format!("a stream of {namespace}"), || Ok(self.monitor("/debug/streams")?.contains(&wanted)))?;
        Ok(())
    }

    /// How many names that begin so each stream of this namespace subscribes to.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn names_by_stream(&self, namespace: &str, beginning: &str) -> Result<BTreeMap<String, usize>> {
        let is_of_namespace = format!("\tnamespace={namespace}\t");
        let mut names = BTreeMap::new();
        let mut nodes = BTreeSet::new();
        for line in self.monitor("/debug/streams")?.lines().filter(|line| line.contains(&is_of_namespace)) {
            let mut words = line.split('\t');
            names.insert(words.next().unwrap_or_default().to_owned(), 0);
            nodes.extend(words.next().and_then(|word| word.strip_prefix("node=")).map(str::to_owned));
        }
        for node in nodes {
            for line in self.monitor(&format!("/debug/resources?node={node}"))?.lines() {
                let mut words = line.split('\t');
                let count = words.next().and_then(|stream| names.get_mut(stream));
                if let Some(count) = count.filter(|_| words.nth(1).is_some_and(|name| name.starts_with(beginning))) {
                    *count += 1;
                }
            }
        }
        Ok(names)
    }

    /// Opens a stream from a program in the server's own pod, from this address of the pod, with this header of a sidecar.
    ///
    /// # Errors
    /// If the server ends the connection, or does not believe the header.
    pub fn ask_within(&self, from: &str, to: &str, header: &str) -> Result<Answer> {
        let method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
        let url = format!("http://{to}:{XFCC_PORT}{method}");
        let header = format!("x-forwarded-client-cert: {header}");
        let form =
            ["--http2-prior-knowledge", "--interface", from, "-X", "POST", "-H", "content-type: application/grpc"];
        let answer = self.pod.curl(&[&form[..], &["-H", &header, "--data-binary", "", &url]].concat())?;
        ensure!(answer.status == 200 && !answer.headers.contains("grpc-status: 16"), "{answer:?}");
        Ok(answer)
    }

    /// The log of the server.
    #[must_use]
    pub fn log(&self) -> String {
        self.part.log()
    }

    /// The last lines of each log.
    #[must_use]
    pub fn tails(&self) -> String {
        format!("== serve\n{}== its sidecar\n{}", self.part.tail(), self.pod.tail())
    }
}

fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// The objects of the example.
fn example() -> Result<Vec<Value>> {
    yaml_documents(&fs::read_to_string(repository().join(OBJECTS))?)
}

fn spawn(pod: &Pod, command: &[String]) -> Result<Part> {
    pod.spawn("serve", &command.iter().map(String::as_str).collect::<Vec<_>>())
}
