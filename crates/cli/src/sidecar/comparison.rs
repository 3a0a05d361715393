//! How the table of a sidecar differs from the one that the cluster gives now.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use byname_core::wire;
use serde::Serialize;

use super::hidden::HiddenServices;
use crate::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions, Compiled, PushedService},
    input::InputErrors,
    kubernetes::{ClusterState, NamespacedName},
};

/// How the table of a sidecar differs from the one that the cluster gives now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// The Services that differ, with what differs.
    pub services: BTreeMap<String, ServiceDifference>,
    /// Namespaces of the cluster whose Services the table leaves out as a whole, as `--visible` does.
    pub hidden: BTreeSet<String>,
    /// Services of the cluster that are not compared: the server that pushed the table may hide them from this sidecar.
    pub perhaps_hidden: BTreeSet<String>,
}

/// How a Service differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceDifference {
    /// Only the cluster has it.
    Missing,
    /// Only the sidecar has it.
    Gone,
    /// Its ports differ, and nothing else but perhaps its endpoints.
    Ports,
    /// Its endpoints differ, and nothing else.
    Endpoints,
    /// The hostnames or the ports of its endpoints differ, which names depend on, and nothing else.
    EndpointNames,
    /// Its addresses, type or settings differ.
    Changed,
}

/// The table that a cluster gives now with the settings of a sidecar.
#[derive(Debug)]
pub struct CurrentTable {
    /// The table.
    pub compiled: Compiled,
    /// What it leaves out because a server may do so.
    hidden: HiddenServices,
}

/// `cluster` compiled with the settings of a sidecar's configuration: in the form of `byname serve` if that pushed the configuration.
/// What a server would tell the filter is in the table.
///
/// # Errors
/// If the settings do not fit the cluster.
pub fn compile_as(held: &wire::Config, cluster: &ClusterState) -> Result<CurrentTable, InputErrors> {
    let (mut options, server) = options(held);
    if compile::is_pushed(&held.table) {
        let hidden = HiddenServices::of(held, cluster);
        let compiled = compile::pushed_names(cluster, &options, |name| hidden.contains(name))?;
        return Ok(CurrentTable { compiled, hidden });
    }
    let has_endpoints = held.table.services.values().any(|service| service.endpoints.is_some());
    options.names_only = !has_endpoints && server.is_none();
    let mut compiled = compile::compile(cluster, &CallerSettings::anyone(&options.base.config), &options)?;
    compiled.wire.server = server;
    Ok(CurrentTable { compiled, hidden: HiddenServices::default() })
}

/// The settings of a sidecar's configuration, and the server that its filter asks.
fn options(held: &wire::Config) -> (CompileOptions, Option<wire::Server>) {
    let (mut base, _) = Base::of_configuration(held);
    let server = base.config.server.take();
    (CompileOptions { base, skip_invalid: true, ..CompileOptions::default() }, server)
}

/// The endpoints that `byname serve` gives the Envoy of a sidecar for the upstream cluster of this name, which is of `service`: those for
/// the sidecar's zone and node. `None` if the cluster does not tell.
#[must_use]
pub fn endpoints_as(
    held: &wire::Config,
    cluster: &ClusterState,
    service: &NamespacedName,
    upstream: &str,
) -> Option<BTreeSet<SocketAddr>> {
    if !compile::is_pushed(&held.table) || !cluster.knows_endpoints_of(service) {
        return None;
    }
    let (options, _) = options(held);
    let parts = PushedService::compile(cluster, cluster.service(service)?, &options).ok()??;
    let locality = (held.caller.zone.as_deref(), held.caller.node.as_deref());
    let addresses = parts.addresses(&service.to_string(), &options, locality).remove(upstream)?;
    Some(addresses.into_iter().collect())
}

impl Comparison {
    /// Compares a sidecar's table with the cluster now, which [`compile_as`] compiled with the sidecar's settings.
    #[must_use]
    pub fn new(held: &wire::Config, now: &CurrentTable) -> Self {
        let CurrentTable { compiled, hidden } = now;
        let is_pushed = compile::is_pushed(&held.table);
        let has_addresses = held.table.services.values().any(has_addresses);
        let own_namespaces: BTreeSet<String> = held.table.services.keys().filter_map(|key| namespace(key)).collect();
        let mut comparison = Self {
            hidden: hidden.namespaces.clone(),
            perhaps_hidden: hidden.perhaps.iter().map(ToString::to_string).collect(),
            ..Self::default()
        };
        for (key, service) in &compiled.wire.table.services {
            let Some(own) = held.table.services.get(key) else {
                match namespace(key).filter(|namespace| !own_namespaces.contains(namespace)) {
                    Some(hidden) if !own_namespaces.is_empty() => drop(comparison.hidden.insert(hidden)),
                    _ => drop(comparison.services.insert(key.clone(), ServiceDifference::Missing)),
                }
                continue;
            };
            let without_endpoints = |service: &wire::Service| wire::Service { endpoints: None, ..service.clone() };
            let without_ports =
                |service: &wire::Service| wire::Service { ports: Vec::new(), ..without_endpoints(service) };
            let difference = if without_ports(own) != without_ports(service) {
                ServiceDifference::Changed
            } else if own.ports != service.ports {
                ServiceDifference::Ports
            } else if !has_addresses || own.endpoints == service.endpoints {
                continue;
            } else if is_pushed {
                ServiceDifference::EndpointNames
            } else {
                ServiceDifference::Endpoints
            };
            comparison.services.insert(key.clone(), difference);
        }
        let gone = held.table.services.keys().filter(|key| !compiled.wire.table.services.contains_key(*key));
        comparison.services.extend(gone.map(|key| (key.clone(), ServiceDifference::Gone)));
        comparison
    }

    /// Whether the sidecar's table says what the cluster says now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.services.is_empty()
    }
}

/// Whether a Service of a table has endpoints with addresses.
fn has_addresses(service: &wire::Service) -> bool {
    service.endpoints.iter().flatten().any(|group| group.addresses.iter().next().is_some())
}

fn namespace(key: &str) -> Option<String> {
    Some(NamespacedName::parse(key)?.namespace)
}
