//! The names that clients can use for the Services of a table.

use std::collections::{BTreeMap, BTreeSet};

use byname_core::{
    limits::MAX_ALIAS_HOPS,
    wire::{Protocol, Service, ServiceType},
};

use super::side::Side;
use crate::kubernetes::NamespacedName;

/// Ports that every alias is compared on.
const WEB_PORTS: [u16; 2] = [80, 443];

/// A name with its port, and the namespaces that can use it.
pub(super) struct ComparedName {
    pub(super) authority: String,
    /// The one namespace that resolves this form; `None` for any namespace.
    only_from: Option<String>,
}

impl ComparedName {
    pub(super) fn is_for(&self, namespace: &str) -> bool {
        self.only_from.as_deref().is_none_or(|only| only == namespace)
    }
}

/// The names of all Services of either state: the short form from its own namespace, longer forms from every namespace.
pub(super) fn of(old: &Side, new: &Side) -> Vec<ComparedName> {
    let mut ports: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
    let mut hostnames: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for side in [old, new] {
        for (key, service) in &side.services {
            ports.entry(key).or_default().extend(ports_of(side, service));
            let groups = service.endpoints.iter().flatten();
            hostnames.entry(key).or_default().extend(groups.flat_map(|group| group.hostnames.iter()));
        }
    }
    let mut names = Vec::new();
    for (key, ports) in &ports {
        let Some(NamespacedName { namespace, name: service }) = NamespacedName::parse(key) else { continue };
        for port in ports {
            let mut add = |stem: &str| {
                let mut name = |form: String, only_from| {
                    names.push(ComparedName { authority: format!("{form}:{port}"), only_from });
                };
                name(stem.to_owned(), Some(namespace.clone()));
                name(format!("{stem}.{namespace}"), None);
                name(format!("{stem}.{namespace}.svc"), None);
                for zone in BTreeSet::from([old.zone(), new.zone()]) {
                    name(format!("{stem}.{namespace}.svc.{zone}"), None);
                }
            };
            add(&service);
            for hostname in hostnames.get(key).into_iter().flatten() {
                add(&format!("{hostname}.{service}"));
            }
        }
    }
    names
}

fn ports_of(side: &Side, service: &Service) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    let mut at = service;
    for _ in 0..=MAX_ALIAS_HOPS {
        if at.service_type != ServiceType::ExternalName {
            ports.extend(at.ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(|port| port.port));
            break;
        }
        let target = at.external_name.as_deref().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        ports.extend(WEB_PORTS);
        ports.extend(side.allowed_ports(&target));
        let Some(next) = side.service_called(&target) else { break };
        at = next;
    }
    ports
}
