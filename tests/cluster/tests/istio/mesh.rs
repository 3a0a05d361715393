//! The shop of examples/cluster with real pods, and a client with a sidecar in it.

use std::fs;

use anyhow::{Context, Result};
use byname_cluster::{Answer, Cluster, Istio, Part, Pod, PodOptions, eventually};
use byname_test_support::{CHECKOUT, repository, yaml_documents};
use serde_json::{Value, json};

pub(crate) const AUTHORITY: &str = "examples/istio/authority/config.yaml";
pub(crate) const BY_CLUSTER: &str = "examples/istio/cluster-header/config.yaml";
pub(crate) const BY_ENDPOINT: &str = "examples/istio/cluster-header/watch-config.yaml";
/// Kind and version of Istio's objects for routing.
const NETWORKING: &str = "networking.istio.io/v1";

pub(crate) struct Mesh<'c> {
    pub(crate) cluster: &'c Cluster,
    /// A pod in `shop`.
    pub(crate) client: Pod,
    pub(crate) chat: Chat,
    // Dropped last: it has the folders of the pods.
    pub(crate) istio: Istio<'c>,
}

/// The Service `chat` in `shop`: HTTP and WebSocket on port 80, gRPC on 9090. Its pod has no sidecar.
pub(crate) struct Chat {
    pub(crate) cluster_ip: String,
    _servers: [Part; 2],
}

impl Chat {
    fn start(cluster: &Cluster, istio: &Istio<'_>) -> Result<Self> {
        let metadata = json!({"namespace": "shop", "name": "chat", "labels": {"app": "chat"}});
        let ports = json!([
            {"name": "http", "port": 80, "targetPort": 8080},
            {"name": "grpc", "port": 9090, "appProtocol": "kubernetes.io/h2c"},
        ]);
        cluster.apply(&[
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"app": "chat"}, "ports": ports}}),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "main", "image": "example.com/main"}]}}),
        ])?;
        let get = |object: &str, path: &str| {
            cluster.kubectl(&["get", object, "-n", "shop", "-o", &format!("jsonpath={{{path}}}")])
        };
        eventually("chat has an address", || Ok(!get("pod/chat", ".status.podIP")?.is_empty()))?;
        let address = get("pod/chat", ".status.podIP")?;
        let start = |port: &str| istio.start_server("chat", &format!("{address}:{port}"));
        Ok(Self { cluster_ip: get("service/chat", ".spec.clusterIP")?, _servers: [start("8080")?, start("9090")?] })
    }
}

impl<'c> Mesh<'c> {
    pub(crate) fn start(cluster: &'c Cluster) -> Result<Self> {
        let istio = Istio::start(cluster)?;
        let client = istio.start_pod(&client("client"))?;
        let chat = Chat::start(cluster, &istio)?;
        Ok(Self { cluster, client, chat, istio })
    }

    /// What `byname compile` prints for `shop` in a format.
    pub(crate) fn compile(&self, config: &str, arguments: &[&str]) -> Result<Vec<Value>> {
        let config = repository().join(config).display().to_string();
        let of_shop = ["-n", "shop", "--visible", "shop", "--visible", "billing", "--config", &config];
        yaml_documents(&self.istio.compile(&[&of_shop[..], arguments].concat())?)
    }

    /// An object that has the filter, with the image of the registry.
    pub(crate) fn with_image(&self, config: &str, format: &str, arguments: &[&str]) -> Result<Value> {
        let (image, sha256) = self.istio.image();
        let image = ["--format", format, "--image", &image, "--sha256", sha256];
        Ok(self.compile(config, &[&image[..], arguments].concat())?.remove(0))
    }

    /// The WasmPlugin.
    pub(crate) fn plugin(&self, config: &str) -> Result<Value> {
        self.with_image(config, "istio-wasmplugin", &[])
    }

    /// The WasmPlugin with a table that a test can change.
    pub(crate) fn plain_plugin(&self, config: &str) -> Result<Value> {
        self.with_image(config, "istio-wasmplugin", &["--plain"])
    }

    /// The objects for steering by cluster.
    pub(crate) fn by_cluster(&self) -> Result<Vec<Value>> {
        let mut objects = self.compile(BY_CLUSTER, &["--format", "istio-envoyfilter"])?;
        objects.push(self.plugin(BY_CLUSTER)?);
        Ok(objects)
    }

    /// Applies the plugin of steering by authority and `objects`, and waits until the client steers.
    pub(crate) fn apply_with_authority(&self, objects: &[Value]) -> Result<()> {
        self.istio.apply_only(&[&[self.plugin(AUTHORITY)?], objects].concat())?;
        self.wait_for("_http._tcp.checkout", CHECKOUT)
    }

    /// Applies what steering by cluster needs and `objects`, and waits until the client steers.
    pub(crate) fn apply_with_clusters(&self, objects: &[Value]) -> Result<()> {
        self.istio.apply_only(&[&self.by_cluster()?, objects].concat())?;
        eventually("the client steers by cluster", || {
            Ok(self.client.curl(&["-H", "host: _grpc._tcp.catalog", "http://catalog/"])?.body["port"] == 9090)
        })?;
        Ok(())
    }

    /// Waits until the client reaches `host` by `name`.
    pub(crate) fn wait_for(&self, name: &str, host: &str) -> Result<()> {
        eventually(&format!("{name} is {host}"), || {
            let answer = self.client.get(name)?;
            expect(answer.said("authority") == host, &answer)
        })?;
        Ok(())
    }

    /// Waits until the client's Envoy has an object, by its path in the API: istiod writes it into the metadata of routes.
    pub(crate) fn wait_for_virtual_service(&self, name: &str) -> Result<()> {
        let path = format!("namespaces/shop/virtual-service/{name}");
        eventually(&format!("the client has {path}"), || {
            Ok(self.client.admin("/config_dump?resource=dynamic_route_configs")?.contains(&path))
        })?;
        Ok(())
    }

    pub(crate) fn tails(&self) -> String {
        format!("{}== client\n{}", self.istio.tails(), self.client.tail())
    }
}

/// For [`eventually`], whose last error shows the answer.
pub(crate) fn expect(is_so: bool, answer: &Answer) -> Result<bool> {
    is_so.then_some(true).with_context(|| format!("the answer is {}: {}", answer.status, answer.text))
}

/// Waits until it is so ten times in a row: what passes while a push arrives does not count.
pub(crate) fn steadily(what: &str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    eventually(what, || {
        for _ in 0..10 {
            if !is_so()? {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    Ok(())
}

/// A pod in `shop` that no Service selects.
pub(crate) fn client(name: &str) -> PodOptions<'_> {
    PodOptions { namespace: "shop", name, labels: &[("app", "client")], is_gateway: false }
}

/// An object of Istio's in `shop`.
pub(crate) fn networking(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": NETWORKING, "kind": kind, "metadata": {"namespace": "shop", "name": name}, "spec": spec})
}

/// The objects of a file of examples/istio.
pub(crate) fn example(file: &str) -> Result<Vec<Value>> {
    yaml_documents(&fs::read_to_string(repository().join("examples/istio").join(file))?)
}

/// The namespaces and Services of examples/cluster, with the same addresses, and pods that answer for those of `shop` and
/// `billing`.
pub(crate) fn shop() -> Result<Vec<Value>> {
    let dump = yaml_documents(&fs::read_to_string(repository().join("examples/cluster/shop.yaml"))?)?.remove(0);
    let items = dump["items"].as_array().context("a List")?;
    let namespaces = ["shop", "billing", "data"];
    let mut objects: Vec<Value> = namespaces
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    for item in items.iter().filter(|item| item["kind"] == "Service") {
        let metadata = json!({"namespace": item["metadata"]["namespace"], "name": item["metadata"]["name"]});
        let namespace = metadata["namespace"].as_str().unwrap_or_default();
        if !namespaces.contains(&namespace) {
            continue;
        }
        let mut spec = item["spec"].clone();
        // The pods with a sidecar have no IPv6, and Istio's own routes alone would try another endpoint.
        if spec["ipFamilyPolicy"] == "PreferDualStack" {
            spec["ipFamilyPolicy"] = "SingleStack".into();
            for field in ["clusterIPs", "ipFamilies"] {
                spec[field].as_array_mut().context("a list")?.truncate(1);
            }
        }
        objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": &spec}));
        if namespace == "data" || spec["selector"].is_null() {
            continue;
        }
        let ports: Vec<Value> = spec["ports"].as_array().into_iter().flatten().map(container_port).collect();
        objects.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {"replicas": 2, "selector": {"matchLabels": spec["selector"]}, "template": {
                "metadata": {"labels": spec["selector"]},
                "spec": {"containers": [{"name": "main", "image": "example.com/main", "ports": ports}]},
            }},
        }));
    }
    Ok(objects)
}

fn container_port(port: &Value) -> Value {
    match port["targetPort"].as_str() {
        Some(name @ "grpc") => json!({"name": name, "containerPort": 9090}),
        Some(name @ "metrics") => json!({"name": name, "containerPort": 9102}),
        Some(name) => json!({"name": name, "containerPort": 8080}),
        None => json!({"containerPort": port["targetPort"]}),
    }
}
