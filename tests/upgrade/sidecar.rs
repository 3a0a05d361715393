//! Sidecars from bootstraps that `byname compile` wrote for the shop, with every endpoint on this machine.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use byname_test_support::{Connection, Envoy, RequestForm, TestUpstream, yaml_documents};
use serde_json::{Value, json};
use tempfile::TempDir;

const LISTENER: u16 = 15001;
const CONFIGURATION: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/\
                             typed_config/config/configuration/value";

/// A running sidecar. Each Service has one upstream, with the Service's key as its name.
pub(crate) struct Sidecar {
    pub(crate) envoy: Envoy,
    _upstreams: Vec<TestUpstream>,
    _directory: TempDir,
}

/// The outcome of a request: the status, and the upstream with the authority that it received.
pub(crate) type Answer = (u16, String, String);

impl Sidecar {
    /// Starts Envoy with this module.
    pub(crate) async fn start(bootstrap: &str, module: &str) -> Result<Self> {
        let mut bootstrap = yaml_documents(bootstrap)?.into_iter().next().context("an empty bootstrap")?;
        let configuration = bootstrap.pointer_mut(CONFIGURATION).context("a bootstrap without the filter")?;
        let mut wire: Value = serde_json::from_str(configuration.as_str().unwrap_or_default())?;
        let (mut upstreams, mut ports) = (Vec::new(), BTreeMap::new());
        wire["table"]["singleMachine"] = true.into();
        for (key, service) in wire["table"]["services"].as_object_mut().into_iter().flatten() {
            let upstream = TestUpstream::start(key).await?;
            ports.insert(key.clone(), upstream.port());
            let port = upstream.port();
            let names = service["ports"].as_array().into_iter().flatten();
            let targets: Value = names.map(|one| (one["name"].as_str().unwrap_or_default(), port)).collect();
            for endpoints in service.get_mut("endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
                move_here(endpoints, &targets);
            }
            upstreams.push(upstream);
        }
        *configuration = wire.to_string().into();
        for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().into_iter().flatten() {
            if let Some(port) = service_of(cluster).and_then(|key| ports.get(&key)) {
                cluster["load_assignment"]["endpoints"] = json!([{"lb_endpoints": [
                    {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}},
                ]}]);
                let fields = cluster.as_object_mut().context("a cluster that is no object")?;
                // The upstreams speak plaintext, HTTP/1.1 and HTTP/2.
                if fields.remove("transport_socket").is_some() {
                    fields.remove("typed_extension_protocol_options");
                }
            }
        }
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("sidecar.yaml");
        // The harness replaces ports in this form.
        fs::write(&path, bootstrap.to_string().replace("\"port_value\":", "port_value: "))?;
        let mut builder =
            Envoy::builder(path.to_str().context("a path that is no text")?).concurrency(1).edit(MODULE, module);
        for port in ports.into_values().chain([443]) {
            builder = builder.port(port, port);
        }
        Ok(Self { envoy: builder.start().await?, _upstreams: upstreams, _directory: directory })
    }

    /// Requests each of `names`.
    pub(crate) async fn answers<'n>(&self, names: &'n [String]) -> Result<BTreeMap<&'n str, Answer>> {
        let mut connection = Connection::open(self.envoy.port(LISTENER), RequestForm::Host).await?;
        let mut answers = BTreeMap::new();
        for name in names {
            let reply = connection.get(name, &[]).await?;
            answers.insert(&**name, (reply.status, reply.said("upstream"), reply.said("authority")));
        }
        Ok(answers)
    }
}

/// The path of the module in the bootstraps.
const MODULE: &str = "/etc/byname/byname.wasm";

/// Puts an upstream in place of the endpoints of a group, for these ports.
fn move_here(endpoints: &mut Value, ports: &Value) {
    endpoints["addresses"] = "127.0.0.1".into();
    endpoints["ports"] = ports.clone();
    // A list of one or more, in one text.
    if let Some(hostnames) = endpoints.get_mut("hostnames") {
        *hostnames = hostnames.as_str().and_then(|all| all.split(' ').next()).unwrap_or_default().into();
    }
}

/// The key of the Service that a cluster is for. Its name is `outbound|PORT||[HOSTNAME.]NAME.NAMESPACE.svc.cluster.local`.
fn service_of(cluster: &Value) -> Option<String> {
    let host = cluster["name"].as_str()?.rsplit('|').next()?.strip_suffix(".svc.cluster.local")?;
    let mut labels = host.rsplit('.');
    let (namespace, name) = (labels.next()?, labels.next()?);
    Some(format!("{namespace}/{name}"))
}

/// Every Service of a table by its whole name and port, by a short name and by its cluster IP; endpoints with a hostname; aliases
/// into the cluster; and names that do not resolve.
pub(crate) fn names(table: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        ["nowhere", "nowhere.shop.svc.cluster.local", "checkout:1"].map(str::to_owned).to_vec();
    for (key, service) in table["table"]["services"].as_object().into_iter().flatten() {
        let Some((namespace, name)) = key.split_once('/') else { continue };
        if let Some(target) = service["externalName"].as_str() {
            names.extend(target.ends_with(".cluster.local").then(|| format!("{name}.{namespace}")));
            continue;
        }
        names.push(format!("{name}.{namespace}"));
        for port in service["ports"].as_array().into_iter().flatten() {
            names.push(format!("{name}.{namespace}.svc.cluster.local:{}", port["port"]));
            names.push(format!("_{}._tcp.{name}.{namespace}", port["name"].as_str().unwrap_or_default()));
        }
        if namespace == "shop" {
            names.push(name.to_owned());
        }
        let addresses = service["clusterIPs"].as_str().unwrap_or_default();
        names.extend(addresses.split(' ').next().filter(|address| *address != "None").map(str::to_owned));
        for group in service["endpoints"].as_array().into_iter().flatten() {
            let first = group["hostnames"].as_str().and_then(|all| all.split(' ').next());
            names.extend(first.map(|host| format!("{host}.{name}.{namespace}")));
        }
    }
    names
}
