//! The shop on this machine: an upstream for each Service, and an Envoy with what istiod would give a sidecar in
//! `shop`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::Result;
use byname_test_support::{Connection, Envoy, Reply, RequestForm, TestUpstream, repository, yaml_documents};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    SHOP,
    istiod::{self, Istio, MeshService, TYPE},
    objects,
    patches::PatchedSidecar,
};

/// The port of the listener that a pod has at 0.0.0.0_80, behind a redirection by iptables. There is no redirection
/// here, and so no original destination: `PassthroughCluster` is an upstream instead of an ORIGINAL_DST cluster.
const LISTENER: u16 = 15080;
/// A listener in place of the external host. It accepts only the right server name.
const OUTSIDE: u16 = 15443;
const HOST_OUTSIDE: &str = "api.weather.example.com";

/// The Istio objects of the mesh.
pub(crate) struct Applied {
    pub(crate) istio: Istio,
    pub(crate) plugin: Option<Value>,
    pub(crate) envoy_filters: Vec<Value>,
    /// ServiceEntry and DestinationRule.
    pub(crate) external: Vec<Value>,
    pub(crate) allows_any: bool,
    /// Authorization filters. They come after the phases AUTHN and AUTHZ.
    pub(crate) authorizes: Vec<Value>,
}

impl Applied {
    pub(crate) fn authority() -> Self {
        Self {
            istio: Istio::V1_30,
            plugin: Some(objects("authority/wasmplugin.yaml").remove(0)),
            envoy_filters: Vec::new(),
            external: objects("authority/external.yaml"),
            allows_any: false,
            authorizes: Vec::new(),
        }
    }

    pub(crate) fn cluster_header() -> Self {
        Self {
            plugin: Some(objects("cluster-header/wasmplugin.yaml").remove(0)),
            envoy_filters: objects("cluster-header/envoyfilter.yaml"),
            external: Vec::new(),
            ..Self::authority()
        }
    }
}

/// The upstreams, and a directory that Envoy watches.
pub(crate) struct Mesh {
    services: Vec<MeshService>,
    upstreams: BTreeMap<String, TestUpstream>,
    certificate: String,
    directory: TempDir,
}

impl Mesh {
    /// Starts the upstreams. `outside` is the name in the certificate of the external host.
    pub(crate) async fn start_with(outside: &str, external: &[Value]) -> Result<Self> {
        let dump = yaml_documents(&fs::read_to_string(repository().join(SHOP))?)?.remove(0);
        let services = istiod::services(&dump, &["shop", "billing"], external);
        let mut upstreams = BTreeMap::new();
        for service in &services {
            for port in &service.ports {
                let name = istiod::cluster_name(*port, &service.host);
                upstreams.insert(name.clone(), TestUpstream::start(&name).await?);
            }
        }
        upstreams.insert("PassthroughCluster".into(), TestUpstream::start("PassthroughCluster").await?);
        let (upstream, certificate) = TestUpstream::start_tls("outside", outside).await?;
        upstreams.insert("outside".into(), upstream);
        let directory = tempfile::Builder::new().prefix("byname-istio-").tempdir()?;
        fs::create_dir(directory.path().join("ecds"))?;
        fs::write(directory.path().join("ca.pem"), &certificate)?;
        Ok(Self { services, upstreams, certificate, directory })
    }

    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(HOST_OUTSIDE, &objects("authority/external.yaml")).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Replaces the watched file in one step, like a configuration push.
    pub(crate) fn push(&self, extension: &Value) -> Result<()> {
        fs::write(self.path("next"), extension.to_string())?;
        Ok(fs::rename(self.path("next"), self.path("ecds/byname.yaml"))?)
    }

    pub(crate) fn module() -> String {
        repository().join("target/byname.wasm").display().to_string()
    }

    pub(crate) async fn envoy(&self, applied: &Applied) -> Result<Envoy> {
        if let Some(plugin) = &applied.plugin {
            self.push(&applied.istio.extension_config(plugin, &Self::module()))?;
        }
        let (file, directory) = (self.text("ecds/byname.yaml"), self.text("ecds"));
        let filters = applied.istio.filters(applied.plugin.as_ref(), &file, &directory, &applied.authorizes);
        let mut sidecar = PatchedSidecar {
            connection_manager: istiod::connection_manager(80, &self.text("rds.yaml"), &filters),
            routes: istiod::routes(80, &self.services, "shop", applied.allows_any),
            clusters: self.clusters(&applied.external),
        };
        applied.envoy_filters.iter().for_each(|filter| sidecar.apply(filter));
        let mut routes = sidecar.routes;
        routes["@type"] = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration".into();
        fs::write(self.path("rds.yaml"), json!({"resources": [routes]}).to_string())?;
        let bootstrap = self.bootstrap(&sidecar.connection_manager, &sidecar.clusters).to_string();
        // The test harness finds ports by this spelling.
        let bootstrap = bootstrap.replace("\"port_value\":", "port_value: ");
        // Paths of the pod.
        let bootstrap = bootstrap.replace("/etc/byname/ecds", &directory);
        let bootstrap = bootstrap.replace("/etc/ssl/certs/ca-certificates.crt", &self.text("ca.pem"));
        fs::write(self.path("bootstrap.yaml"), bootstrap)?;
        let mut builder = Envoy::builder(&self.text("bootstrap.yaml")).concurrency(1);
        for upstream in self.upstreams.values() {
            builder = builder.port(upstream.port(), upstream.port());
        }
        builder.start().await
    }

    fn clusters(&self, external: &[Value]) -> Vec<Value> {
        let mut clusters = vec![json!({"name": "BlackHoleCluster", "type": "STATIC"})];
        for (name, upstream) in &self.upstreams {
            let mut cluster = cluster(name, upstream.port());
            for rule in external.iter().filter(|object| object["kind"] == "DestinationRule") {
                let host = rule["spec"]["host"].as_str().unwrap();
                let tls = (*name == istiod::cluster_name(80, host))
                    .then(|| istiod::transport_socket(rule, 80, &self.text("ca.pem")).expect("TLS"));
                if let Some(tls) = tls {
                    cluster = self::cluster(name, OUTSIDE);
                    cluster["transport_socket"] = tls;
                }
            }
            clusters.push(cluster);
        }
        clusters
    }

    fn bootstrap(&self, connection_manager: &Value, clusters: &[Value]) -> Value {
        assert!(!self.certificate.is_empty());
        // An EnvoyFilter's cluster has the external host's name. Here the listener `OUTSIDE` takes its place.
        let there = |cluster: &Value| {
            let text = cluster.to_string();
            let address = format!("\"address\":\"{HOST_OUTSIDE}\",\"port_value\":443");
            let here = format!("\"address\":\"127.0.0.1\",\"port_value\":{OUTSIDE}");
            serde_json::from_str::<Value>(&text.replace(&address, &here)).expect("JSON")
        };
        let clusters: Vec<Value> = clusters.iter().map(there).collect();
        let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
        let http = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager});
        let tcp = json!({"name": "tcp", "typed_config": {
            "@type": format!("{TYPE}.network.tcp_proxy.v3.TcpProxy"), "stat_prefix": "outside", "cluster": "outside"}});
        let inspector = json!({"name": "tls", "typed_config": {
            "@type": format!("{TYPE}.listener.tls_inspector.v3.TlsInspector")}});
        json!({
            "admin": {"address": address(9901)},
            "node": {"id": "sidecar~10.244.1.7~web-0.shop~shop.svc.cluster.local", "cluster": "web.shop",
                     "metadata": {"NAMESPACE": "shop"}},
            "static_resources": {
                "listeners": [
                    {"name": "0.0.0.0_80", "address": address(LISTENER), "traffic_direction": "OUTBOUND",
                     "filter_chains": [{"filters": [http]}]},
                    {"name": "outside", "address": address(OUTSIDE), "listener_filters": [inspector],
                     "filter_chains": [{"filter_chain_match": {"server_names": [HOST_OUTSIDE]}, "filters": [tcp]}]},
                ],
                "clusters": clusters,
            },
        })
    }
}

fn cluster(name: &str, port: u16) -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    // Istio's clusters get their endpoints by EDS.
    json!({"name": name, "type": "STATIC", "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}})
}

pub(crate) async fn get(envoy: &Envoy, authority: &str, headers: &[(&str, &str)]) -> Result<Reply> {
    Connection::open(envoy.port(LISTENER), RequestForm::Host).await?.get(authority, headers).await
}
