//! The names that programs can have for what is in a table.

use std::collections::{BTreeMap, BTreeSet};

use byname_core::wire::{Protocol, Service, ServiceType};

use super::Side;

/// What an alias is asked for where nothing says more.
const WEB_PORTS: [u16; 2] = [80, 443];

/// A name with its port, and who uses it.
pub(super) struct Name {
    pub(super) authority: String,
    /// `None`: whoever.
    only_from: Option<String>,
}

impl Name {
    pub(super) fn is_for(&self, namespace: &str) -> bool {
        self.only_from.as_deref().is_none_or(|only| only == namespace)
    }
}

/// The names for everything in either state: short from its own namespace, longer from everywhere.
pub(super) fn of(old: &Side, new: &Side) -> Vec<Name> {
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
        let Some((namespace, service)) = key.split_once('/') else { continue };
        for port in ports {
            let mut add = |stem: &str| {
                for (form, only_from) in [
                    (stem.to_owned(), Some(namespace.to_owned())),
                    (format!("{stem}.{namespace}"), None),
                    (format!("{stem}.{namespace}.svc"), None),
                    (format!("{stem}.{namespace}.svc.{}", new.zone()), None),
                ] {
                    names.push(Name { authority: format!("{form}:{port}"), only_from });
                }
            };
            add(service);
            for hostname in hostnames.get(key).into_iter().flatten() {
                add(&format!("{hostname}.{service}"));
            }
        }
    }
    names
}

fn ports_of(side: &Side, service: &Service) -> BTreeSet<u16> {
    let own = |service: &Service| -> BTreeSet<u16> {
        service.ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(|port| port.port).collect()
    };
    if service.service_type != ServiceType::ExternalName {
        return own(service);
    }
    let target = service.external_name.as_deref().unwrap_or_default();
    let mut labels = target.split('.');
    let inside = labels
        .next()
        .zip(labels.next())
        .and_then(|(name, namespace)| side.services.get(&format!("{namespace}/{name}")));
    match inside {
        Some(inside) if inside.service_type != ServiceType::ExternalName => own(inside),
        _ => side.allowed_ports(target).chain(WEB_PORTS).collect(),
    }
}
