//! The table and its indexes.
//!
//! Services are stored in slots, and hash tables of slots lead to them: by `namespace/name`, by cluster IP, and by the address
//! of an endpoint, which pod names are checked against. Inserting or removing a Service touches its own entries only; the
//! index by endpoint address is rebuilt when it is next needed.

use alloc::{boxed::Box, vec::Vec};
use core::{
    cell::{Cell, OnceCell},
    net::IpAddr,
};

use hashbrown::HashTable;

use super::{
    endpoints::Endpoints,
    on_demand::OnDemand,
    service::Service,
    service_spec::{ServiceKind, ServiceSpec},
};
use crate::{
    collections::{hash_address, hash_name},
    limits::{MAX_CLUSTER_IPS, MAX_SERVICES, MAX_TABLE_ENDPOINTS, MAX_TABLE_SHARES},
    names::below,
    policy::Policy,
    wire::{FieldErrorType, FieldErrors, FieldPathRef, SteeringMode},
};

/// The Services of a cluster, compiled for one caller. A change is applied whole or refused whole.
#[derive(Debug)]
pub struct Table {
    version: u64,
    policy: Policy,
    services: Vec<Option<Service>>,
    free: Vec<usize>,
    names: HashTable<u32>,
    /// Entries are slots times [`IPS_PER_SLOT`] plus the index of the cluster IP: see [`cluster_ip_at`].
    cluster_ips: HashTable<u32>,
    /// By the address of an endpoint. Built when a pod name is first looked up: few tables ever see one, and building would be an
    /// eighth of the work of reading a table.
    addresses: OnceCell<HashTable<u32>>,
    endpoints: usize,
    shares: usize,
    dropped: usize,
    /// Of a table that is filled when requests need it: what is known not to exist.
    pub(crate) on_demand: Option<Box<OnDemand>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(version: u64, policy: Policy) -> Self {
        Self {
            version,
            policy,
            services: Vec::new(),
            free: Vec::new(),
            names: HashTable::new(),
            cluster_ips: HashTable::new(),
            addresses: OnceCell::new(),
            endpoints: 0,
            shares: 0,
            dropped: 0,
            on_demand: None,
        }
    }

    /// The version that was pushed with the table.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The number of Services.
    #[must_use]
    pub fn services(&self) -> usize {
        self.names.len()
    }

    /// The number of endpoints of all Services.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.endpoints
    }

    /// The number of endpoint addresses that were dropped because no other machine can reach them.
    #[must_use]
    pub fn addresses_dropped(&self) -> usize {
        self.dropped
    }

    /// Whether the table is filled when requests need it.
    #[must_use]
    pub fn is_on_demand(&self) -> bool {
        self.on_demand.is_some()
    }

    /// The number of keys that a server was asked for.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.on_demand.as_ref().map_or(0, |keys| keys.len())
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The Service called `name` in `namespace`.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.find_unused(namespace.as_bytes(), name.as_bytes())
    }

    /// The Service that a request asks for.
    #[inline(always)]
    pub(super) fn find(&self, namespace: &[u8], name: &[u8]) -> Option<&Service> {
        let service = self.find_unused(namespace, name)?;
        self.mark(service);
        Some(service)
    }

    /// Whether a request has looked the Service up since the last sweep.
    #[inline(always)]
    pub(super) fn is_used(&self, service: &Service) -> Option<&Cell<bool>> {
        self.on_demand.as_ref()?.used.get(usize::try_from(service.slot).ok()?)
    }

    /// Remembers that a request has used the Service, in a table that is filled on demand.
    #[inline(always)]
    pub(super) fn mark(&self, service: &Service) {
        if let Some(is_used) = self.is_used(service) {
            is_used.set(true);
        }
    }

    #[inline(always)]
    fn find_unused(&self, namespace: &[u8], name: &[u8]) -> Option<&Service> {
        let is_it = |index: &u32| self.at(*index).is_some_and(|service| service.spec.name.is(namespace, name));
        self.at(*self.names.find(hash_name(namespace, name), is_it)?)
    }

    /// The Service that has `address` as a cluster IP.
    #[must_use]
    pub fn by_cluster_ip(&self, address: IpAddr) -> Option<&Service> {
        let service = self.find_by_cluster_ip(address)?;
        self.mark(service);
        Some(service)
    }

    /// The Service that has `address` as a cluster IP, for other purposes than a request.
    pub(crate) fn find_by_cluster_ip(&self, address: IpAddr) -> Option<&Service> {
        let is_it = |entry: &u32| cluster_ip_at(&self.services, *entry) == Some(address);
        self.at(self.cluster_ips.find(hash_address(address), is_it)? / IPS_PER_SLOT)
    }

    /// Whether any endpoint has `address`.
    #[must_use]
    pub fn knows_address(&self, address: IpAddr) -> bool {
        let addresses = self.addresses.get_or_init(|| index_addresses(&self.services, self.endpoints));
        has_address(addresses, &self.services, address)
    }

    /// An empty table with room for this many Services.
    pub(crate) fn with_room(version: u64, policy: Policy, services: usize) -> Self {
        let mut table = Self::new(version, policy);
        table.services.reserve_exact(services);
        table.names = HashTable::with_capacity(services);
        table.cluster_ips = HashTable::with_capacity(services);
        table
    }

    /// Adds a Service of a new table.
    #[inline(never)]
    pub(crate) fn add(&mut self, mut spec: ServiceSpec, errors: &mut FieldErrors) {
        let dropped = self.drop_special(&mut spec);
        if self.get(spec.name.namespace(), spec.name.name()).is_some() {
            let at = FieldPathRef::root("table");
            errors.add(&at.field("services"), spec.name.as_str(), FieldErrorType::Duplicate);
        } else if let Err(more) = self.check(&spec, None) {
            errors.append(more);
        } else {
            self.services.push(None);
            self.insert(spec, dropped, self.services.len() - 1);
        }
    }

    /// Inserts a Service, or replaces the one with its namespace and name. The work grows with the endpoints of the two Services,
    /// not with the table.
    ///
    /// # Errors
    /// What depends on the rest of the table: a cluster IP of another Service, TLS towards a target inside the cluster, a bound
    /// of the table. The table is then unchanged.
    #[inline(never)]
    pub fn put(&mut self, mut spec: ServiceSpec) -> Result<(), FieldErrors> {
        let dropped = self.drop_special(&mut spec);
        let (namespace, name) = spec.name.parts();
        let old = self.get(namespace, name);
        let is_used = old.is_some_and(|old| self.is_used(old).is_some_and(Cell::get));
        self.check(&spec, old)?;
        self.remove(namespace, name);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.services.push(None);
            self.services.len() - 1
        });
        self.insert(spec, dropped, slot);
        if is_used && let Some(Some(service)) = self.services.get(slot) {
            self.mark(service);
        }
        Ok(())
    }

    /// Removes the endpoint addresses of `spec` that no other machine can reach, and returns their number.
    fn drop_special(&self, spec: &mut ServiceSpec) -> u16 {
        match &mut spec.endpoints {
            // At most MAX_SERVICE_ENDPOINTS.
            Some(endpoints) if !self.policy.single_machine => {
                u16::try_from(endpoints.drop_special()).unwrap_or(u16::MAX)
            }
            _ => 0,
        }
    }

    /// Removes the Service called `name` in `namespace`, and returns whether it was there.
    pub fn remove(&mut self, namespace: &str, name: &str) -> bool {
        self.take(namespace, name).is_some()
    }

    /// Removes the Service called `name` in `namespace`, and returns it.
    #[inline(never)]
    pub(crate) fn take(&mut self, namespace: &str, name: &str) -> Option<ServiceSpec> {
        let (namespace, name) = (namespace.as_bytes(), name.as_bytes());
        let hash = hash_name(namespace, name);
        let services = &self.services;
        let is_it = |index: &u32| at(services, *index).is_some_and(|other| other.spec.name.is(namespace, name));
        let entry = self.names.find_entry(hash, is_it).ok()?;
        let (index, _) = entry.remove();
        let slot = usize::try_from(index).ok()?;
        let service = self.services.get_mut(slot).and_then(Option::take)?;
        self.free.push(slot);
        self.dropped -= usize::from(service.addresses_dropped);
        self.shares -= service.spec.shares();
        for (address, which) in service.cluster_ips().iter().zip(0..) {
            let entry_of_ip = index * IPS_PER_SLOT + which;
            if let Ok(entry) = self.cluster_ips.find_entry(hash_address(*address), |other| *other == entry_of_ip) {
                entry.remove();
            }
        }
        if let Some(endpoints) = &service.spec.endpoints {
            self.endpoints -= endpoints.len();
            self.addresses.take();
        }
        Some(service.spec)
    }

    /// Stores a checked Service, which the table does not hold yet, in an empty slot.
    #[inline(never)]
    fn insert(&mut self, spec: ServiceSpec, dropped: u16, slot: usize) {
        self.dropped += usize::from(dropped);
        self.shares += spec.shares();
        if let Some(endpoints) = &spec.endpoints {
            self.endpoints += endpoints.len();
            self.addresses.take();
        }
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.make_unused(slot);
        }
        let (namespace, name) = spec.name.parts();
        let hash = hash_name(namespace.as_bytes(), name.as_bytes());
        // At most MAX_SERVICES.
        let index = u32::try_from(slot).unwrap_or(u32::MAX);
        let service = Service::new(spec, index, dropped, &self.policy);
        let slot = self.services.get_mut(slot);
        debug_assert!(slot.as_ref().is_some_and(|slot| slot.is_none()), "the slot is there and empty");
        if let Some(slot) = slot {
            *slot = Some(service);
        }
        let services = &self.services;
        insert_entry(&mut self.names, hash, index, &|index| {
            let (namespace, name) = at(services, *index).map(|service| service.spec.name.parts()).unwrap_or_default();
            hash_name(namespace.as_bytes(), name.as_bytes())
        });
        let addresses = at(services, index).map(Service::cluster_ips).unwrap_or_default();
        for (address, which) in addresses.iter().zip(0..) {
            insert_entry(&mut self.cluster_ips, hash_address(*address), index * IPS_PER_SLOT + which, &|entry| {
                cluster_ip_at(services, *entry).map(hash_address).unwrap_or_default()
            });
        }
    }

    #[inline(never)]
    fn check(&self, spec: &ServiceSpec, old: Option<&Service>) -> Result<(), FieldErrors> {
        let table = FieldPathRef::root("table");
        let services = table.field("services");
        let at = services.key(spec.name.as_str());
        let mut errors = FieldErrors::default();
        if old.is_none() && self.services() >= MAX_SERVICES {
            errors.add(&services, self.services() + 1, FieldErrorType::TooMany(MAX_SERVICES));
        }
        let old = old.map(|old| &old.spec);
        let endpoints = |spec: &ServiceSpec| spec.endpoints.as_ref().map_or(0, Endpoints::len);
        if self.endpoints - old.map_or(0, endpoints) + endpoints(spec) > MAX_TABLE_ENDPOINTS {
            errors.add(&at.field("endpoints"), endpoints(spec), FieldErrorType::TooMany(MAX_TABLE_ENDPOINTS));
        }
        if self.shares - old.map_or(0, ServiceSpec::shares) + spec.shares() > MAX_TABLE_SHARES {
            errors.add(&at.field("endpoints"), spec.shares(), FieldErrorType::TooMany(MAX_TABLE_SHARES));
        }
        for (index, address) in spec.cluster_ips().iter().enumerate() {
            let at = at.field("clusterIPs");
            if self.find_by_cluster_ip(*address).is_some_and(|other| other.spec.name != spec.name) {
                errors.add(&at.index(index), address, FieldErrorType::DuplicateClusterIp);
            }
        }
        if let ServiceKind::ExternalName(alias) = &spec.kind
            && alias.tls.is_some()
            && below(&alias.target, &self.policy.zone).is_some()
        {
            errors.add(&at.field("alias").field("tls"), &alias.target, FieldErrorType::TlsInsideCluster);
        }
        if spec.steering_mode(&self.policy) == SteeringMode::Endpoint
            && !matches!(spec.kind, ServiceKind::ExternalName(_))
            && spec.endpoints.is_none()
        {
            errors.add(&at, "", FieldErrorType::EndpointsRequired);
        }
        errors.or(())
    }

    /// The Service in a slot.
    #[inline(always)]
    pub(crate) fn at(&self, slot: u32) -> Option<&Service> {
        at(&self.services, slot)
    }
}

fn at(services: &[Option<Service>], index: u32) -> Option<&Service> {
    services.get(usize::try_from(index).ok()?)?.as_ref()
}

/// Cluster IPs that a slot has room for.
const IPS_PER_SLOT: u32 = MAX_CLUSTER_IPS as u32;

const _: () = assert!(MAX_SERVICES < (u32::MAX / IPS_PER_SLOT) as usize);

/// The cluster IP that an entry of [`Table::cluster_ips`] stands for.
fn cluster_ip_at(services: &[Option<Service>], entry: u32) -> Option<IpAddr> {
    let which = usize::try_from(entry % IPS_PER_SLOT).ok()?;
    at(services, entry / IPS_PER_SLOT)?.cluster_ips().get(which).copied()
}

fn has_address(addresses: &HashTable<u32>, services: &[Option<Service>], address: IpAddr) -> bool {
    let has_it = |index: &u32| {
        at(services, *index)
            .and_then(|service| service.spec.endpoints.as_ref())
            .is_some_and(|all| all.contains(address))
    };
    addresses.find(hash_address(address), has_it).is_some()
}

/// One copy for all indexes, because the code that grows a hash table is large.
#[inline(never)]
fn insert_entry(into: &mut HashTable<u32>, hash: u64, value: u32, rehash: &dyn Fn(&u32) -> u64) {
    into.insert_unique(hash, value, rehash);
}

/// The index of Services by the addresses of their endpoints, of which there are `endpoints`.
#[inline(never)]
fn index_addresses(services: &[Option<Service>], endpoints: usize) -> HashTable<u32> {
    let mut addresses = HashTable::with_capacity(endpoints);
    for service in services.iter().flatten() {
        if let Some(endpoints) = &service.spec.endpoints {
            // One entry an address, since thousands of Services may share an endpoint. The capacity suffices, so no entry is ever
            // hashed again.
            endpoints.each_address(&mut |address| {
                if !has_address(&addresses, services, address) {
                    insert_entry(&mut addresses, hash_address(address), service.slot, &|_| 0);
                }
            });
        }
    }
    addresses
}
