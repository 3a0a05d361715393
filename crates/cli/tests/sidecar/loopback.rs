//! A small cluster on this machine, its upstreams, and Envoys with compiled bootstraps.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Result;
use byname_test_support::{Connection, Envoy, Reply, RequestForm, TestResult, TestUpstream};
use serde_json::{Value, json};

use crate::workdir::Workdir;

/// The port of the listener in every bootstrap.
pub(crate) const LISTENER: u16 = 15001;
pub(crate) const IN_SHOP: &str = "payments.shop.svc.cluster.local";
/// A host outside the cluster, which the DNS server of [`with_dns`] knows.
pub(crate) const OUTSIDE: &str = "api.weather.example.com";
/// Every way of steering.
pub(crate) const MODES: [&str; 3] = ["cluster", "endpoint", "authority"];

/// A small cluster on this machine, and its upstreams.
pub(crate) struct Loopback {
    pub(crate) workdir: Workdir,
    pub(crate) upstreams: Vec<TestUpstream>,
    /// Ports of the bootstrap, and the ports that listen in their place.
    pub(crate) ports: Vec<(u16, u16)>,
}

impl Loopback {
    /// Starts `payments` in two namespaces, the StatefulSet `db` with two pods, and the alias `pay`.
    pub(crate) async fn start() -> Result<Self> {
        let mut upstreams = Vec::new();
        for name in ["payments.shop", "payments.prod", "db-0", "db-1"] {
            upstreams.push(TestUpstream::start(name).await?);
        }
        Ok(Self { workdir: Workdir::new()?, upstreams, ports: Vec::new() })
    }

    fn objects(&self, alias: &str) -> Vec<Value> {
        let endpoints = |namespace: &str, of: &str, upstream: usize, hostname: Value| {
            let name = format!("{of}-{upstream}");
            slice([namespace, of, &name], &json!("http"), self.upstreams[upstream].port(), &hostname)
        };
        let port = |number: u16| json!([{"name": "http", "port": number}]);
        let h2c = json!([{"name": "http", "port": 8080, "appProtocol": "kubernetes.io/h2c"}]);
        vec![
            service("shop", "payments", json!({"clusterIP": "10.96.0.10", "ports": port(80)})),
            endpoints("shop", "payments", 0, json!(null)),
            service("prod", "payments", json!({"clusterIP": "10.96.0.11", "ports": h2c})),
            endpoints("prod", "payments", 1, json!(null)),
            service("shop", "db", json!({"clusterIP": "None", "ports": port(80)})),
            endpoints("shop", "db", 2, json!("db-0")),
            endpoints("shop", "db", 3, json!("db-1")),
            alias_to("pay", alias),
        ]
    }

    pub(crate) fn dump(&self, alias: &str, more: &[Value]) -> Result<String> {
        let items = [self.objects(alias), more.to_vec()].concat();
        self.workdir.put("dump.json", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
    }

    /// Compiles a bootstrap with the module's path in the repository, and starts an Envoy with it.
    pub(crate) async fn sidecar(&self, config: &Value, args: &[&str], edit: impl Fn(&str) -> String) -> Result<Envoy> {
        let bootstrap = self.workdir.path("sidecar.yaml").display().to_string();
        let args =
            [&["--format", "envoy-bootstrap", "--module", "target/byname.wasm", "--output-file", &bootstrap], args]
                .concat();
        self.workdir.compile(&self.workdir.path("dump.json").display().to_string(), config, &args)?;
        fs::write(&bootstrap, edit(&fs::read_to_string(&bootstrap)?))?;
        let mut builder = Envoy::builder(&bootstrap).concurrency(1);
        for upstream in &self.upstreams {
            builder = builder.port(upstream.port(), upstream.port());
        }
        for (port, instead) in &self.ports {
            builder = builder.port(*port, *instead);
        }
        builder.start().await
    }
}

fn service(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

fn slice([namespace, of, name]: [&str; 3], port_name: &Value, port: u16, hostname: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"namespace": namespace, "name": name, "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"name": port_name, "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "hostname": hostname}],
    })
}

/// An ExternalName Service in `shop`.
pub(crate) fn alias_to(name: &str, target: &str) -> Value {
    service("shop", name, json!({"type": "ExternalName", "externalName": target}))
}

/// A Service in `shop` with these ports, each with the port of loopback that is its only endpoint.
pub(crate) fn service_with(name: &str, ports: &[(Value, u16)]) -> Vec<Value> {
    let listed: Vec<&Value> = ports.iter().map(|(port, _)| port).collect();
    let mut objects = vec![service("shop", name, json!({"ports": listed}))];
    for (port, upstream) in ports {
        objects.push(slice(
            ["shop", name, &format!("{name}-{}", port["port"])],
            &port["name"],
            *upstream,
            &json!(null),
        ));
    }
    objects
}

pub(crate) fn on_this_machine(by: &str) -> Value {
    let steering = json!({"by": by, "originalDst": {"http2Cluster": "original-dst-http2"}});
    json!({"version": 1, "steering": steering, "table": {"singleMachine": true}})
}

pub(crate) async fn get(envoy: &Envoy, authority: &str, headers: &[(&str, &str)]) -> Result<Reply> {
    Connection::open(envoy.port(LISTENER), RequestForm::Host).await?.get(authority, headers).await
}

/// Sends requests until `upstream` answers.
pub(crate) async fn wait_for(envoy: &Envoy, authority: &str, upstream: &str) -> TestResult {
    let start = Instant::now();
    loop {
        let reply = get(envoy, authority, &[]).await?;
        if reply.said("upstream") == upstream {
            return Ok(());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{authority}: {} {}", reply.status, reply.body);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Adds a DNS server that knows [`OUTSIDE`] to the Envoy of a bootstrap.
pub(crate) fn with_dns(bootstrap: &str) -> String {
    let dns = json!({
        "name": "dns",
        "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": "DNS"}},
        "listener_filters": [{"name": "envoy.filters.udp.dns_filter", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.udp.dns_filter.v3.DnsFilterConfig",
            "stat_prefix": "dns",
            "server_config": {"inline_dns_table": {"virtual_domains": [
                {"name": OUTSIDE, "endpoint": {"address_list": {"address": ["127.0.0.1"]}}},
            ]}},
        }}],
    });
    let dns = dns.to_string().replace("\"port_value\":\"DNS\"", "port_value: 15353");
    let mut text = String::new();
    for line in bootstrap.lines() {
        text += &format!("{line}\n");
        match line.trim_start() {
            "listeners:" => text += &format!("  - {dns}\n"),
            option if option.starts_with("dns_resolver_options:") => {
                text += line.strip_suffix(option).unwrap_or_default();
                text += "resolvers: [{socket_address: {address: 127.0.0.1, port_value: 15353}}]\n";
            }
            _ => {}
        }
    }
    text
}
