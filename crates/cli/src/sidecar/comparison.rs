//! How the table of a sidecar differs from the one that the cluster gives now.

use std::collections::{BTreeMap, BTreeSet};

use byname_core::wire;
use serde::Serialize;

use crate::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions, Compiled},
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
}

/// How a Service differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceDifference {
    /// Only the cluster has it.
    Missing,
    /// Only the sidecar has it.
    Gone,
    /// Its endpoints differ, and nothing else.
    Endpoints,
    /// Its ports, addresses, type or settings differ.
    Changed,
}

/// `cluster` compiled with the settings of a sidecar's configuration. What a server would tell the filter is in the table.
///
/// # Errors
/// If the settings do not fit the cluster.
pub fn compile_as(held: &wire::Config, cluster: &ClusterState) -> Result<Compiled, InputErrors> {
    let (mut base, has_endpoints) = Base::of_configuration(held);
    let asks_a_server = base.config.server.take().is_some();
    let names_only = !has_endpoints && !asks_a_server;
    let options = CompileOptions { base, names_only, skip_invalid: true, ..CompileOptions::default() };
    compile::compile(cluster, &CallerSettings::anyone(&options.base.config), &options)
}

impl Comparison {
    /// Compares a sidecar's table with the cluster now, which [`compile_as`] compiled with the sidecar's settings.
    #[must_use]
    pub fn new(held: &wire::Config, now: &Compiled) -> Self {
        let has_addresses = held.table.services.values().any(has_addresses);
        let own_namespaces: BTreeSet<String> = held.table.services.keys().filter_map(|key| namespace(key)).collect();
        let mut comparison = Self::default();
        for (key, service) in &now.wire.table.services {
            let Some(own) = held.table.services.get(key) else {
                match namespace(key).filter(|namespace| !own_namespaces.contains(namespace)) {
                    Some(hidden) if !own_namespaces.is_empty() => drop(comparison.hidden.insert(hidden)),
                    _ => drop(comparison.services.insert(key.clone(), ServiceDifference::Missing)),
                }
                continue;
            };
            let without_endpoints = |service: &wire::Service| wire::Service { endpoints: None, ..service.clone() };
            if without_endpoints(own) != without_endpoints(service) {
                comparison.services.insert(key.clone(), ServiceDifference::Changed);
            } else if has_addresses && own.endpoints != service.endpoints {
                comparison.services.insert(key.clone(), ServiceDifference::Endpoints);
            }
        }
        let gone = held.table.services.keys().filter(|key| !now.wire.table.services.contains_key(*key));
        comparison.services.extend(gone.map(|key| (key.clone(), ServiceDifference::Gone)));
        comparison
    }

    /// Whether the sidecar's table says what the cluster says now.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.services.is_empty()
    }
}

/// Whether a Service of a table has endpoints with addresses. `byname serve` gives the filter hostnames of endpoints alone.
fn has_addresses(service: &wire::Service) -> bool {
    service.endpoints.iter().flatten().any(|group| group.addresses.iter().next().is_some())
}

fn namespace(key: &str) -> Option<String> {
    Some(NamespacedName::parse(key)?.namespace)
}
