//! The sidecars with many listeners, and what each of them discovers. Envoy's own routes are shared by all listeners, and so is
//! the VM. The connection manager of each listener keeps copies of the filter's configuration.

use std::path::Path;

use anyhow::Result;
use byname_core::wire::Packed;
use byname_test_support::Envoy;
use serde_json::{Map, Value, json};

use super::{
    super::{
        contestant::{Contestant, filter, filter::ShippedFilter, router, steered_virtual_hosts},
        native,
        world::OWN,
    },
    names::{NamedService, Names},
};

/// A sidecar with many listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Sidecar {
    /// One route, no filter and no pushes: the baseline.
    None,
    /// Envoy's own routes, in one route configuration that all listeners share by RDS. Each name has one virtual host and no
    /// cluster, because the tables of the other sidecars have no endpoints.
    Native,
    /// byname with an empty table: the module and its VMs.
    Empty,
    /// byname with the table as plain JSON.
    Plain,
    /// byname with the packed table, as `byname compile` writes it for Istio.
    Packed,
    /// byname without a table: the filter asks `byname serve` for the names that requests use.
    Stream {
        /// The number of names that requests use before memory is read.
        used: usize,
    },
}

impl Sidecar {
    pub(super) fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Native => "native, routes alone".to_owned(),
            Self::Empty => "byname, empty table".to_owned(),
            Self::Plain => "byname, plain table".to_owned(),
            Self::Packed => "byname, packed table".to_owned(),
            Self::Stream { used: 0 } => "byname, own stream".to_owned(),
            Self::Stream { used } => format!("byname, own stream, {used} names used"),
        }
    }

    /// Whether requests arrive with their canonical authority.
    pub(super) fn rewrites(self) -> bool {
        matches!(self, Self::Plain | Self::Packed | Self::Stream { .. })
    }

    /// The fields of its connection managers that differ from those of the other sidecars.
    pub(super) fn connection_manager(self, root: &Path, file: &Path) -> Result<Value> {
        let inline = |virtual_hosts: Value| json!({"name": "outbound", "virtual_hosts": virtual_hosts});
        Ok(match self {
            Self::None => {
                let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "upstream"}});
                let all = json!([{"name": "all", "domains": ["*"], "routes": [route]}]);
                json!({"route_config": inline(all), "http_filters": [router()]})
            }
            Self::Native => json!({
                "rds": {"route_config_name": "outbound", "config_source": native::source(file)},
                "http_filters": [router()],
            }),
            Self::Empty | Self::Plain | Self::Packed | Self::Stream { .. } => json!({
                "route_config": inline(steered_virtual_hosts()),
                "early_header_mutation_extensions":
                    filter::manager(root, "ecds")?["early_header_mutation_extensions"],
                "http_filters": [Contestant::Cluster.discovered(file), router()],
            }),
        })
    }

    /// Whether Envoy has taken `version`.
    pub(super) async fn has_taken(self, envoy: &Envoy, version: usize) -> Result<bool> {
        let taken = match self {
            Self::None => return Ok(true),
            Self::Native => {
                let updates = envoy.stats(".rds.outbound.update_success").await?;
                // The first update is version 0.
                updates.into_values().max().unwrap_or_default().saturating_sub(1)
            }
            Self::Empty | Self::Plain | Self::Packed | Self::Stream { .. } => {
                envoy.stat("wasmcustom.byname.table.version").await?
            }
        };
        Ok(taken == version as u64)
    }
}

/// The measurements of each sidecar, in the order in which the sidecars were measured first.
pub(super) fn by_sidecar<T>(all: &[T], of: impl Fn(&T) -> Sidecar) -> Vec<(Sidecar, Vec<&T>)> {
    let mut rows: Vec<(Sidecar, Vec<&T>)> = Vec::new();
    for one in all {
        match rows.iter_mut().find(|(sidecar, _)| *sidecar == of(one)) {
            Some((_, starts)) => starts.push(one),
            None => rows.push((of(one), vec![one])),
        }
    }
    rows
}

/// What a sidecar discovers, apart from its version: the virtual hosts, or the table.
pub(super) struct Content {
    sidecar: Sidecar,
    content: Value,
}

impl Content {
    pub(super) fn new(sidecar: Sidecar, names: &Names) -> Self {
        let content = match sidecar {
            Sidecar::None => Value::Null,
            Sidecar::Native => virtual_hosts(names),
            Sidecar::Empty | Sidecar::Stream { .. } => json!({}),
            Sidecar::Plain => json!({"services": entries(names)}),
            Sidecar::Packed => json!({"packed": packed(names)}),
        };
        Self { sidecar, content }
    }

    pub(super) fn sidecar(&self) -> Sidecar {
        self.sidecar
    }

    /// The text of the discovered file in this version.
    pub(super) fn text(&self, root: &Path, version: usize) -> Result<String> {
        let server = match self.sidecar {
            Sidecar::None => return Ok(String::new()),
            Sidecar::Native => return Ok(routes(&self.content, version)),
            Sidecar::Stream { .. } => json!({"cluster": "byname-server", "onTimeout": "refuse"}),
            Sidecar::Empty | Sidecar::Plain | Sidecar::Packed => Value::Null,
        };
        filter_text(root, &self.content, &server, version)
    }
}

/// The Services of a table, as `byname compile` writes names without endpoints.
fn entries(names: &Names) -> Map<String, Value> {
    let entry = |service: &NamedService| {
        let value = json!({"clusterIPs": service.cluster_ip, "ports": [{"name": "http", "port": 80}]});
        (format!("{}/{}", service.namespace, service.name), value)
    };
    let alias = names
        .alias()
        .map(|(name, target)| (format!("{OWN}/{name}"), json!({"type": "ExternalName", "externalName": target})));
    names.services.iter().map(entry).chain(alias).collect()
}

/// The packed form of the same Services.
fn packed(names: &Names) -> Value {
    let text = Value::from(entries(names)).to_string();
    let Packed { bytes, deflate } = Packed::new(&text);
    json!({"bytes": bytes, "deflate": deflate})
}

/// The discovered filter with this table and this server, which is null for a filter that asks none.
fn filter_text(root: &Path, table: &Value, server: &Value, version: usize) -> Result<String> {
    let mut configuration = json!({
        "version": 1,
        "steering": {"by": "cluster", "cluster": "upstream"},
        "table": table,
    });
    configuration["table"]["version"] = version.into();
    // The capabilities of a filter are in its file.
    let bootstrap = if server.is_null() { "cluster" } else { "stream" };
    if !server.is_null() {
        configuration["server"] = server.clone();
    }
    filter::text(ShippedFilter::read(root, bootstrap, &configuration)?.filter, root)
}

fn virtual_hosts(names: &Names) -> Value {
    let alias = names.alias().map(|(name, target)| alias_virtual_host(name, &target));
    names.services.iter().map(virtual_host).chain(alias).collect()
}

/// The virtual host of a Service as Istio writes it: a cluster IP is a host too, and no host has a port.
fn virtual_host(service: &NamedService) -> Value {
    let NamedService { name, namespace, cluster_ip } = service;
    let mut domains =
        vec![service.canonical(), format!("{name}.{namespace}.svc"), format!("{name}.{namespace}"), cluster_ip.clone()];
    domains.extend((namespace == OWN).then(|| name.clone()));
    json!({
        "name": format!("{}:80", service.canonical()),
        "domains": domains,
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
    })
}

/// The virtual host of an alias. The upstream sees its target.
fn alias_virtual_host(name: &str, target: &str) -> Value {
    json!({
        "name": format!("{name}.{OWN}.svc.cluster.local:80"),
        "domains": [name],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream", "host_rewrite_literal": target}}],
    })
}

fn routes(virtual_hosts: &Value, version: usize) -> String {
    let routes = json!({
        "name": "outbound",
        "ignore_port_in_host_matching": true,
        "virtual_hosts": virtual_hosts,
        // Envoy ignores a route configuration that has not changed.
        "response_headers_to_add": [{"header": {"key": "x-version", "value": version.to_string()}}],
    });
    native::discovered("route.v3.RouteConfiguration", vec![routes])
}

#[cfg(test)]
mod tests {
    use byname_core::{Config, Defaults};

    use super::*;

    #[test]
    fn the_plain_and_the_packed_table_hold_the_same_names() {
        let names = Names::with_probe(50, 1);
        let read = |table: Value| {
            let configuration = json!({"version": 1, "caller": {"namespace": OWN}, "table": table});
            let config = Config::read(configuration.to_string().into_bytes(), &Defaults::default());
            config.map(|config| config.table.services()).expect("it is whole")
        };
        // The alias and its two targets.
        assert_eq!(read(json!({"services": entries(&names)})), 53);
        assert_eq!(read(json!({"packed": packed(&names)})), 53);
    }
}
