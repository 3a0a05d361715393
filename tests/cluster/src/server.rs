//! `byname serve` as a pod of the mesh: behind a sidecar, which says who asks.

use std::fs;

use anyhow::{Result, ensure};
use byname_test_support::{repository, yaml_documents};
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    istio::Istio,
    metric::value_of,
    part::{Part, eventually},
    pod::{Answer, Pod, PodOptions},
    watch::byname_program,
};

/// The server's namespace, as in examples/fleet.
const NAMESPACE: &str = "byname-system";
/// Host and port by which workloads of the mesh reach the server.
pub const SERVER: &str = "byname.byname-system.svc.cluster.local:9905";
/// The port on which the server takes connections of its sidecar.
pub const XFCC_PORT: u16 = 18_001;
/// Where the server serves its metrics, in its pod.
const MONITOR: &str = "127.0.0.1:9902";

/// A server with a sidecar. Its Service is `byname`, whose port 9905 is called `grpc-byname`.
pub struct MeshServer {
    // Dropped before its pod.
    part: Part,
    /// The pod.
    pub pod: Pod,
}

impl MeshServer {
    /// The objects that the server needs beside its pod, and what makes its sidecar require mTLS.
    ///
    /// # Errors
    /// If the objects of examples/fleet cannot be read.
    pub fn objects() -> Result<Vec<Value>> {
        let rbac = yaml_documents(&fs::read_to_string(repository().join("examples/fleet/rbac.yaml"))?)?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        let metadata = json!({"namespace": NAMESPACE, "name": "byname"});
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": {"app": "byname"}, "ports": [{"name": "grpc-byname", "port": 9905, "targetPort": XFCC_PORT}]},
        });
        let strict = json!({
            "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": metadata,
            "spec": {"selector": {"matchLabels": {"app": "byname"}}, "mtls": {"mode": "STRICT"}},
        });
        Ok([vec![namespace], rbac, vec![service, strict]].concat())
    }

    /// Starts the server with more arguments, in a pod with a sidecar. Its [`objects`](Self::objects) must be there.
    ///
    /// # Errors
    /// If the sidecar or the server does not become ready, with the tail of its log.
    pub fn start(cluster: &Cluster, istio: &Istio<'_>, arguments: &[&str]) -> Result<Self> {
        // The injector labels pods so: istiod tells other sidecars by it that the pod takes mTLS.
        let labels = [("app", "byname"), ("security.istio.io/tlsMode", "istio")];
        let pod = istio.start_pod(&PodOptions {
            namespace: NAMESPACE,
            name: "byname",
            labels: &labels,
            is_gateway: false,
        })?;
        let kubeconfig = cluster.service_account(NAMESPACE, "byname")?.display().to_string();
        let program = byname_program()?.canonicalize()?.display().to_string();
        let own = ["--identity", "xfcc", "--xfcc-listen", &format!(":{XFCC_PORT}"), "--monitor", MONITOR];
        let serve = [&[&*program, "serve", "--kubeconfig", &kubeconfig], &own[..], arguments].concat();
        let mut part = pod.spawn("serve", &serve)?;
        let is_ready = || pod.run(&["curl", "-sf", "-m", "5", &format!("http://{MONITOR}/readyz")]).is_ok();
        part.wait_until(|_| is_ready())?;
        Ok(Self { part, pod })
    }

    /// Ends the server and its pod.
    ///
    /// # Errors
    /// If the API does not delete the pod.
    pub fn end(self, cluster: &Cluster) -> Result<()> {
        drop(self);
        cluster.kubectl(&["delete", "pod/byname", "-n", NAMESPACE])?;
        Ok(())
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
