//! What the filter's own stream asks for: Services by their keys, addresses, and lists of names.
//!
//! A key is `namespace/name`. What a caller is answered for it is what the table has that is pushed to its Envoy: a Service that is hidden,
//! left out, or an alias of a hidden one does not exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Bound,
};

use byname_core::wire;
use byname_xds::Visibility;

use super::{
    addresses::AddressIndex,
    served_service::{ServedService, ServedServices},
};
use crate::{compile::service_text, kubernetes::NamespacedName};

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

/// The index of what the filter's own stream asks for.
pub(super) struct Keys {
    addresses: AddressIndex,
    /// The aliases that lead to each Service.
    aliases_of: BTreeMap<NamespacedName, BTreeSet<NamespacedName>>,
    /// The Services that are left out of the table, because of others in it.
    left_out: BTreeSet<NamespacedName>,
    /// The namespaces with a Service that everyone sees.
    public: BTreeSet<String>,
}

impl Keys {
    pub(super) fn new(base: &wire::Config) -> Self {
        Self {
            addresses: AddressIndex::new(base.table.single_machine),
            aliases_of: BTreeMap::new(),
            left_out: BTreeSet::new(),
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
        changed.addresses.append(&mut self.addresses.replace(shared, before, after));
        let [old_target, new_target] = [old, new].map(|service| service.and_then(|it| it.target.as_deref()));
        if is_seen_by_others || old_target != new_target {
            changed.namespaces.insert(name.namespace.clone());
        }
        if is_seen_by_others {
            let services = [before, after].into_iter().flatten();
            changed.addresses.extend(services.flat_map(|service| self.addresses.all_of(service)));
        }
        if old_target != new_target {
            if let Some(target) = old_target
                && let Some(aliases) = self.aliases_of.get_mut(target)
            {
                aliases.remove(name);
                if aliases.is_empty() {
                    self.aliases_of.remove(target);
                }
            }
            if let Some(target) = new_target {
                self.aliases_of.entry(target.clone()).or_default().insert(name.clone());
            }
        }
        // An alias of a missing Service is no secret, one of a hidden Service is.
        let export = |service: Option<&ServedService>| service.map_or(Visibility::Everyone, |it| it.visibility.clone());
        if export(old) != export(new) {
            for alias in self.aliases_of.get(name).into_iter().flatten() {
                changed.services.insert(alias.clone());
                changed.endpoints.insert(alias.clone());
                changed.namespaces.insert(alias.namespace.clone());
            }
        }
    }

    /// Takes note of which Services are left out of the table, because of others in it.
    pub(super) fn leave_out(
        &mut self,
        names: BTreeSet<NamespacedName>,
        services: &ServedServices,
        changed: &mut ChangedKeys,
    ) {
        for name in self.left_out.symmetric_difference(&names) {
            changed.services.insert(name.clone());
            changed.endpoints.insert(name.clone());
            changed.namespaces.insert(name.namespace.clone());
            if let Some(service) = services.get(name) {
                changed.addresses.append(&mut self.addresses.all_of(service.parts.whole()));
            }
        }
        self.left_out = names;
    }

    /// Works out whether the list of all namespaces may have changed, once all Services have.
    pub(super) fn finish(&mut self, services: &ServedServices, changed: &mut ChangedKeys) {
        for namespace in &changed.namespaces {
            let was_public = self.public.contains(namespace);
            let is_public = self.names_in(services, namespace, "").next().is_some();
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
        services.get(name).filter(|service| self.is_seen(services, name, service, viewer))
    }

    fn is_seen(&self, services: &ServedServices, name: &NamespacedName, service: &ServedService, viewer: &str) -> bool {
        let target = service.target.as_ref().and_then(|target| services.get(target));
        !self.left_out.contains(name)
            && service.visibility.includes(viewer)
            && target.is_none_or(|target| target.visibility.includes(viewer))
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
        self.addresses.with_cluster_ip(address).find(|name| !self.left_out.contains(*name))
    }

    /// The names of the Services in a namespace that callers of the namespace `viewer` see.
    pub(super) fn names_in<'s>(
        &self,
        services: &'s ServedServices,
        namespace: &str,
        viewer: &str,
    ) -> impl Iterator<Item = &'s str> {
        let first = NamespacedName::new(namespace, "");
        let all = services.range((Bound::Included(first), Bound::Unbounded));
        all.take_while(move |(name, _)| name.namespace == namespace)
            .filter(move |(name, service)| self.is_seen(services, name, service, viewer))
            .map(|(name, _)| &*name.name)
    }

    /// The namespaces with at least one Service that callers of the namespace `viewer` see.
    pub(super) fn namespaces<'s>(&self, services: &'s ServedServices, viewer: &str) -> BTreeSet<&'s str> {
        let mut namespaces = BTreeSet::new();
        for (name, service) in services {
            if !namespaces.contains(&*name.namespace) && self.is_seen(services, name, service, viewer) {
                namespaces.insert(&*name.namespace);
            }
        }
        namespaces
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
