//! What a table knows not to exist, where a server fills it when requests need it.
//!
//! Such a table has the Services that were asked for. A name that it does not have is missing only if the server has said so. An answer
//! holds while the stream that brought it lives: the server tells of a Service that appears. After that it is outdated.

use alloc::boxed::Box;
use core::{cell::Cell, fmt, net::IpAddr, str::from_utf8};

use hashbrown::HashTable;

use super::{index::Table, lookup::Missing, service_spec::ServiceSpec};
use crate::{
    collections::{HashMap, hash_name},
    names::{NamespacedName, is_label, is_special},
    policy::Policy,
};

/// The answers of a server that are not Services.
#[derive(Debug, Default)]
pub(crate) struct OnDemand {
    /// The namespaces with a Service that the caller may see, in order; `None` before the server has named them.
    namespaces: Option<Answer<Box<[Box<str>]>>>,
    missing: HashTable<Answer<NamespacedName>>,
    addresses: HashMap<IpAddr, Answer<Address>>,
    /// The number of the stream to the server.
    stream: u32,
}

/// What an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Nothing that the server knows.
    Missing,
    /// The address of an endpoint.
    Pod,
    /// A cluster IP of this Service.
    ClusterIp(NamespacedName),
}

#[derive(Debug)]
struct Answer<T> {
    value: T,
    /// The stream that brought it.
    stream: u32,
    /// Whether a request has looked it up since this was last cleared.
    is_used: Cell<bool>,
}

impl OnDemand {
    /// Why there is no Service called `name` in `namespace`.
    #[inline(never)]
    pub(super) fn absent(&self, namespace: &[u8], name: &[u8]) -> Missing {
        let is_it = |answer: &Answer<NamespacedName>| answer.value.is(namespace, name);
        if let Some(answer) = self.missing.find(hash_name(namespace, name), is_it) {
            return self.missing_by(answer, Missing::Service);
        }
        // No Service has such a name.
        let is_label = |label| from_utf8(label).is_ok_and(is_label);
        if !is_label(namespace) || !is_label(name) {
            return Missing::Service;
        }
        match &self.namespaces {
            Some(all) if all.value.binary_search_by(|one| one.as_bytes().cmp(namespace)).is_err() => {
                self.missing_by(all, Missing::Service)
            }
            _ => Missing::Unanswered,
        }
    }

    /// Whether a pod has this address.
    pub(super) fn pod(&self, address: IpAddr) -> Result<(), Missing> {
        match self.address(address)? {
            Address::Pod => Ok(()),
            Address::Missing | Address::ClusterIp(_) => Err(Missing::PodAddress),
        }
    }

    /// What this address is.
    pub(crate) fn address(&self, address: IpAddr) -> Result<&Address, Missing> {
        let answer = self.addresses.get(&address).ok_or(Missing::Unanswered)?;
        match (&answer.value, self.missing_by(answer, Missing::PodAddress)) {
            (Address::Missing, Missing::Outdated) => Err(Missing::Outdated),
            (address, _) => Ok(address),
        }
    }

    fn missing_by<T>(&self, answer: &Answer<T>, missing: Missing) -> Missing {
        answer.is_used.set(true);
        if answer.stream == self.stream { missing } else { Missing::Outdated }
    }

    fn answer<T>(&self, value: T) -> Answer<T> {
        Answer { value, stream: self.stream, is_used: Cell::new(true) }
    }

    fn find(&self, name: &NamespacedName) -> Option<&Answer<NamespacedName>> {
        let (namespace, name) = (name.namespace().as_bytes(), name.name().as_bytes());
        self.missing.find(hash_name(namespace, name), |answer| answer.value.is(namespace, name))
    }

    fn set_missing(&mut self, name: NamespacedName) {
        self.forget(&name);
        let hash = |name: &NamespacedName| hash_name(name.namespace().as_bytes(), name.name().as_bytes());
        let answer = self.answer(name);
        self.missing.insert_unique(hash(&answer.value), answer, |answer| hash(&answer.value));
    }

    /// Forgets that there is no Service of this name, and returns whether that was known.
    fn forget(&mut self, name: &NamespacedName) -> bool {
        let (namespace, name) = (name.namespace().as_bytes(), name.name().as_bytes());
        let found = self.missing.find_entry(hash_name(namespace, name), |answer| answer.value.is(namespace, name));
        found.map(|entry| entry.remove()).is_ok()
    }

    fn set_address(&mut self, address: IpAddr, value: Address) {
        let answer = self.answer(value);
        self.addresses.insert(address, answer);
    }

    fn set_namespaces(&mut self, mut all: Box<[Box<str>]>) {
        all.sort_unstable();
        self.namespaces = Some(self.answer(all));
    }
}

impl Table {
    /// An empty table that is filled when requests need it.
    pub(crate) fn fill_on_demand(&mut self) {
        self.on_demand = Some(Box::default());
    }

    /// What the address is; `None` in a table that has all there is, and for addresses that nothing in a cluster has.
    pub(crate) fn address_on_demand(&self, address: IpAddr) -> Option<Result<&Address, Missing>> {
        let on_demand = self.on_demand.as_ref().filter(|_| !is_special(address))?;
        Some(on_demand.address(address))
    }

    /// Sets the namespaces with a Service that the caller may see.
    pub(crate) fn set_namespaces<'t>(&mut self, all: impl Iterator<Item = &'t str>) {
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.set_namespaces(all.map(Box::from).collect());
        }
    }

    pub(crate) fn set_address(&mut self, address: IpAddr, value: Address) {
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.set_address(address, value);
        }
    }

    /// The server has nothing of this key.
    pub(crate) fn set_missing(&mut self, key: &Key) {
        match (&mut self.on_demand, key) {
            (Some(on_demand), Key::Service(name)) => on_demand.set_missing(name.clone()),
            (Some(on_demand), Key::Address(address)) => on_demand.set_address(*address, Address::Missing),
            (None, _) => {}
        }
    }

    /// Takes a cluster IP from the Service that has it.
    pub(crate) fn release_cluster_ip(&mut self, address: IpAddr) {
        if let Some(service) = self.find_by_cluster_ip(address) {
            let mut spec = service.spec.clone();
            spec.remove_cluster_ip(address);
            let is_put = self.put(spec);
            debug_assert!(is_put.is_ok(), "a Service that is in the table can lose an address");
        }
    }

    /// Forgets that there is no Service of this name.
    pub(crate) fn forget_missing(&mut self, name: &NamespacedName) {
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.forget(name);
        }
    }

    /// Forgets what is known of a key. `is_present` says that the Service is in the table, and not by the configuration.
    pub(crate) fn forget(&mut self, key: &Key, is_present: bool) {
        match key {
            Key::Service(name) if is_present => drop(self.take(name.namespace(), name.name())),
            Key::Service(name) => self.forget_missing(name),
            Key::Address(address) => {
                if let Some(on_demand) = &mut self.on_demand {
                    on_demand.addresses.remove(address);
                }
            }
        }
    }

    /// The stream to the server has ended: what it said not to exist may exist.
    pub(crate) fn stream_ended(&mut self) {
        if let Some(on_demand) = &mut self.on_demand {
            on_demand.stream = on_demand.stream.wrapping_add(1);
        }
    }

    /// Whether a request has looked the key up since the last call.
    pub(crate) fn take_use(&self, key: &Key) -> bool {
        let is_used = match (key, &self.on_demand) {
            (Key::Service(name), Some(on_demand)) => match self.get(name.namespace(), name.name()) {
                Some(service) => Some(&service.is_used),
                None => on_demand.find(name).map(|answer| &answer.is_used),
            },
            (Key::Address(address), Some(on_demand)) => on_demand.addresses.get(address).map(|answer| &answer.is_used),
            (_, None) => None,
        };
        is_used.is_some_and(Cell::take)
    }

    /// Takes the names of the namespaces from an earlier table.
    pub(crate) fn move_namespaces(&mut self, from: &mut Self) {
        if let (Some(on_demand), Some(from)) = (&mut self.on_demand, &mut from.on_demand)
            && let Some(answer) = from.namespaces.take()
        {
            on_demand.set_namespaces(answer.value);
        }
    }

    /// Takes what an earlier table knew of a key, if `may` says so of a Service. Returns whether this table knows it then.
    pub(crate) fn move_answer(
        &mut self,
        key: &Key,
        is_present: bool,
        from: &mut Self,
        may: impl FnOnce(&ServiceSpec, &Policy) -> bool,
    ) -> bool {
        match key {
            Key::Service(name) if is_present => from
                .take(name.namespace(), name.name())
                .filter(|spec| may(spec, &self.policy) && self.get(name.namespace(), name.name()).is_none())
                .is_some_and(|spec| self.put(spec).is_ok()),
            Key::Service(name) => {
                let is_missing = from.on_demand.as_mut().is_some_and(|from| from.forget(name));
                if is_missing {
                    self.set_missing(key);
                }
                is_missing
            }
            Key::Address(address) => {
                let answer = from.on_demand.as_mut().and_then(|from| from.addresses.remove(address));
                let is_known = answer.is_some();
                if let Some(answer) = answer {
                    self.set_address(*address, answer.value);
                }
                is_known
            }
        }
    }
}

/// What a server is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A Service.
    Service(NamespacedName),
    /// An address, which may be a cluster IP.
    Address(IpAddr),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}
