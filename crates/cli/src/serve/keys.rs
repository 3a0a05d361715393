//! What the filter's own stream asks for: Services by their keys, addresses, and lists of names.
//!
//! A key is `namespace/name`. What a caller is answered for it is what the table has that is pushed to its Envoy: a Service that is hidden
//! or left out does not exist. An alias is its author's own text: whoever sees it is told where it leads, and no more of a Service that is
//! hidden there than of one that is missing. Otherwise authors of aliases could find out by them which hidden names exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use byname_core::wire;

use super::{
    addresses::AddressIndex,
    served_service::{ServedService, ServedServices},
};
use crate::{
    compile::service_text,
    input::InputError,
    kubernetes::{NamespacedName, Visibility},
};

/// The name of the list of all namespaces.
pub(super) const ALL_NAMESPACES: &str = "*";

/// What a change of Services changes for those who ask by key.
#[derive(Default)]
pub(super) struct ChangedKeys {
    /// Services whose names, ports or other settings changed, or who sees them.
    pub(super) services: BTreeSet<NamespacedName>,
    /// Services that changed in anything, endpoints included.
    pub(super) endpoints: BTreeSet<NamespacedName>,
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Namespaces whose list of names may have changed.
    pub(super) namespaces: BTreeSet<String>,
    /// Whether the list of all namespaces may have changed.
    pub(super) all_namespaces: bool,
}

/// What an address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressUse<'k> {
    ClusterIpOf(&'k NamespacedName),
    Endpoint,
}

/// The names of one namespace.
#[derive(Default)]
struct NamesBySight {
    /// Those that everyone sees.
    public: BTreeSet<Arc<NamespacedName>>,
    /// Those that only some namespaces see, by these.
    restricted: BTreeMap<Box<str>, BTreeSet<Arc<NamespacedName>>>,
}

impl NamesBySight {
    fn add(&mut self, name: &Arc<NamespacedName>, visibility: &Visibility) {
        match visibility {
            Visibility::Everyone => _ = self.public.insert(Arc::clone(name)),
            Visibility::Namespaces(viewers) => {
                for viewer in viewers {
                    self.restricted.entry(viewer.clone()).or_default().insert(Arc::clone(name));
                }
            }
        }
    }

    fn remove(&mut self, name: &NamespacedName, visibility: &Visibility) {
        match visibility {
            Visibility::Everyone => _ = self.public.remove(name),
            Visibility::Namespaces(viewers) => {
                for viewer in viewers {
                    if let Some(names) = self.restricted.get_mut(viewer) {
                        names.remove(name);
                        if names.is_empty() {
                            self.restricted.remove(viewer);
                        }
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.public.is_empty() && self.restricted.is_empty()
    }

    fn seen_by(&self, viewer: &str) -> impl Iterator<Item = &NamespacedName> {
        self.public.iter().chain(self.restricted.get(viewer).into_iter().flatten()).map(|name| &**name)
    }
}

/// The index of what the filter's own stream asks for.
pub(super) struct Keys {
    addresses: AddressIndex,
    /// The names of each namespace, by who sees them: looking for those that a caller sees takes no longer where others are hidden.
    names: BTreeMap<String, NamesBySight>,
    /// The Services that are left out of the table, because of others in it, and why.
    left_out: BTreeMap<NamespacedName, InputError>,
    /// The namespaces with a Service that everyone sees.
    public: BTreeSet<String>,
}

impl Keys {
    pub(super) fn new(base: &wire::Config) -> Self {
        Self {
            addresses: AddressIndex::new(base.table.single_machine),
            names: BTreeMap::new(),
            left_out: BTreeMap::new(),
            public: BTreeSet::new(),
        }
    }

    /// Takes note that a Service is replaced, appears or disappears.
    pub(super) fn replace(
        &mut self,
        name: &NamespacedName,
        old: Option<&ServedService>,
        new: Option<&ServedService>,
        changed: &mut ChangedKeys,
    ) {
        let Some(shared) = new.or(old).map(|service| &service.name) else { return };
        let is_seen_by_others = old.map(|it| &it.visibility) != new.map(|it| &it.visibility);
        if is_seen_by_others || old.map(|it| &it.parts.names) != new.map(|it| &it.parts.names) {
            changed.services.insert(name.clone());
        }
        if is_seen_by_others || old.map(|it| &it.parts) != new.map(|it| &it.parts) {
            changed.endpoints.insert(name.clone());
        }
        let [before, after] = [old, new].map(|service| service.map(|it| it.parts.whole()));
        // `append` would build the whole set anew for each Service.
        changed.addresses.extend(self.addresses.replace(shared, before, after));
        if is_seen_by_others {
            changed.namespaces.insert(name.namespace.clone());
            let services = [before, after].into_iter().flatten();
            changed.addresses.extend(services.flat_map(|service| self.addresses.all_of(service)));
        }
        if is_seen_by_others {
            let names = self.names.entry(name.namespace.clone()).or_default();
            old.into_iter().for_each(|old| names.remove(name, &old.visibility));
            new.into_iter().for_each(|new| names.add(shared, &new.visibility));
            if names.is_empty() {
                self.names.remove(&name.namespace);
            }
        }
    }

    /// The Services that are left out of the table, because of others in it, and why.
    pub(super) fn left_out(&self) -> &BTreeMap<NamespacedName, InputError> {
        &self.left_out
    }

    /// Takes note of which Services are left out of the table, because of others in it.
    pub(super) fn leave_out(
        &mut self,
        left_out: BTreeMap<NamespacedName, InputError>,
        services: &ServedServices,
        changed: &mut ChangedKeys,
    ) {
        let [before, after] = [&self.left_out, &left_out].map(|all| all.keys().collect::<BTreeSet<_>>());
        for name in before.symmetric_difference(&after).copied() {
            changed.services.insert(name.clone());
            changed.endpoints.insert(name.clone());
            changed.namespaces.insert(name.namespace.clone());
            if let Some(service) = services.get(name) {
                changed.addresses.extend(self.addresses.all_of(service.parts.whole()));
            }
        }
        self.left_out = left_out;
    }

    /// Works out whether the list of all namespaces may have changed, once all Services have.
    pub(super) fn finish(&mut self, changed: &mut ChangedKeys) {
        for namespace in &changed.namespaces {
            let was_public = self.public.contains(namespace);
            let is_public = self.names_in(namespace, "").next().is_some();
            // A namespace that everyone saw and sees is in every list.
            changed.all_namespaces |= !(was_public && is_public);
            match is_public {
                true => _ = self.public.insert(namespace.clone()),
                false => _ = self.public.remove(namespace),
            }
        }
    }

    /// The Service of this name, if callers of the namespace `viewer` see it; the empty one sees what everyone sees.
    pub(super) fn service<'s>(
        &self,
        services: &'s ServedServices,
        name: &NamespacedName,
        viewer: &str,
    ) -> Option<&'s ServedService> {
        services.get(name).filter(|service| !self.left_out.contains_key(name) && service.visibility.includes(viewer))
    }

    /// What an address stands for, as far as callers of the namespace see it.
    pub(super) fn address<'k>(
        &'k self,
        services: &ServedServices,
        address: IpAddr,
        viewer: &str,
    ) -> Option<AddressUse<'k>> {
        if let Some(name) = self.owner_of(address)
            && self.service(services, name, viewer).is_some()
        {
            return Some(AddressUse::ClusterIpOf(name));
        }
        let mut owners = self.addresses.with_endpoint(address);
        owners.any(|name| self.service(services, name, viewer).is_some()).then_some(AddressUse::Endpoint)
    }

    /// The Service that has the cluster IP. Of several that claim it, the table has one.
    pub(super) fn owner_of(&self, address: IpAddr) -> Option<&NamespacedName> {
        self.addresses.with_cluster_ip(address).find(|name| !self.left_out.contains_key(*name))
    }

    /// The names of the Services in a namespace that callers of the namespace `viewer` see, in no order.
    pub(super) fn names_in(&self, namespace: &str, viewer: &str) -> impl Iterator<Item = &str> {
        let seen = self.names.get(namespace).into_iter().flat_map(move |names| names.seen_by(viewer));
        seen.filter(|name| !self.left_out.contains_key(*name)).map(|name| &*name.name)
    }

    /// The namespaces with at least one Service that callers of the namespace `viewer` see.
    pub(super) fn namespaces(&self, viewer: &str) -> Vec<&str> {
        let is_seen = |namespace: &&str| self.names_in(namespace, viewer).next().is_some();
        self.names.keys().map(String::as_str).filter(is_seen).collect()
    }
}

/// The address that a name is, if it is written as the filter writes it.
pub(super) fn parse_address(name: &str) -> Option<IpAddr> {
    name.parse().ok().filter(|address: &IpAddr| address.to_string() == name)
}

/// A Service as the table has it that is pushed to Envoy: without addresses and readiness.
pub(super) fn names_text(service: &ServedService) -> String {
    service_text(&service.parts.names)
}

/// A Service as `byname compile` writes it.
pub(super) fn whole_text(service: &ServedService) -> String {
    service_text(service.parts.whole())
}
