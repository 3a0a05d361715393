//! What is known of the keys of a table that a server fills when requests need it.
//!
//! Such a table has the Services that were asked for. A name that it does not have is missing only if the server has said so. An answer
//! holds while the stream that brought it lives: the server tells of a Service that appears. After that it is outdated.

use alloc::{boxed::Box, vec::Vec};
use core::{cell::Cell, fmt, net::IpAddr, str::from_utf8};

use hashbrown::HashTable;

use super::missing::Missing;
use crate::{
    collections::{hash_address, hash_name},
    limits::{MAX_CONFIGURATION_BYTES, MAX_NAMESPACES},
    names::{NamespacedName, is_label},
};

/// What a server is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A Service.
    Service(NamespacedName),
    /// An address, which may be a cluster IP.
    Address(IpAddr),
}

/// What the server said of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Nothing on this stream.
    None,
    /// The Service is in the table.
    Present,
    Missing,
    /// It was missing on an earlier stream, and this stream has not brought an answer yet.
    Outdated,
    /// Something that cannot be read.
    Unreadable,
    /// The address is one of an endpoint.
    Pod,
    /// The address is a cluster IP of this Service.
    ClusterIp(NamespacedName),
}

/// A key that is subscribed, and what is known of it.
#[derive(Debug)]
pub(crate) struct KeyState {
    pub(crate) key: Key,
    pub(crate) answer: Answer,
    /// Of a resource that is there.
    pub(crate) version: Box<str>,
    /// Whether a Service is asked for with its endpoints.
    pub(crate) with_endpoints: bool,
    pub(crate) is_preloaded: bool,
    /// The cluster IPs that another Service took from this one. It may get them back.
    pub(crate) lost_cluster_ips: Vec<IpAddr>,
    /// The text of its Service in the table.
    pub(crate) bytes: usize,
    /// Sweeps since a request last used it.
    pub(crate) unused: u8,
    /// Whether a request has looked it up since the last sweep. A Service in the table has its mark in [`OnDemand::used`].
    pub(super) is_used: Cell<bool>,
}

/// The keys of a table, and what is known of each.
#[derive(Debug, Default)]
pub(crate) struct OnDemand {
    pub(super) keys: HashTable<KeyState>,
    unanswered: usize,
    /// The texts of all Services.
    bytes: usize,
    /// The namespaces with a Service that the caller may see, in order; `None` before the server has named them.
    namespaces: Option<Box<[Box<str>]>>,
    namespaces_are_outdated: bool,
    /// Whether a request has looked the Service in this slot up since the last sweep. Nothing that is decided depends on it.
    pub(super) used: Vec<Cell<bool>>,
}

impl Key {
    #[inline(never)]
    fn hash(&self) -> u64 {
        match self {
            Self::Service(name) => {
                let (namespace, name) = name.parts();
                hash_name(namespace.as_bytes(), name.as_bytes())
            }
            Self::Address(address) => hash_address(*address),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Answer {
    /// Whether the server still has to answer.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self, Self::None | Self::Outdated)
    }
}

impl KeyState {
    /// A key of which nothing is known.
    pub(crate) fn new(key: Key, with_endpoints: bool) -> Self {
        Self {
            key,
            answer: Answer::None,
            version: Box::default(),
            with_endpoints,
            is_preloaded: false,
            lost_cluster_ips: Vec::new(),
            bytes: 0,
            unused: 0,
            is_used: Cell::default(),
        }
    }

    /// Why there is no Service or address, as far as the server has said.
    fn missing(&self, missing: Missing) -> Missing {
        self.is_used.set(true);
        match self.answer {
            Answer::Missing => missing,
            Answer::Outdated => Missing::Outdated,
            // A Service whose answer cannot be read may exist.
            _ => Missing::Unanswered,
        }
    }
}

impl OnDemand {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the server has not answered for some key.
    pub(crate) fn is_awaited(&self) -> bool {
        self.unanswered > 0
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut KeyState> {
        self.keys.iter_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeyState> {
        self.keys.iter()
    }

    #[inline(never)]
    pub(crate) fn get(&self, key: &Key) -> Option<&KeyState> {
        self.keys.find(key.hash(), |state| state.key == *key)
    }

    #[inline(never)]
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut KeyState> {
        self.keys.find_mut(key.hash(), |state| state.key == *key)
    }

    /// Adds a key that is not there yet.
    pub(crate) fn insert(&mut self, state: KeyState) {
        self.unanswered += usize::from(state.answer.is_awaited());
        self.bytes += state.bytes;
        self.keys.insert_unique(state.key.hash(), state, |state| state.key.hash());
    }

    #[inline(never)]
    pub(crate) fn remove(&mut self, key: &Key) -> Option<KeyState> {
        let (state, _) = self.keys.find_entry(key.hash(), |state| state.key == *key).ok()?.remove();
        self.unanswered -= usize::from(state.answer.is_awaited());
        self.bytes -= state.bytes;
        Some(state)
    }

    /// Whether there is room for a Service of so many bytes.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= MAX_CONFIGURATION_BYTES
    }

    /// Notes how long the text of a Service is that the table has now.
    pub(crate) fn weigh(&mut self, key: &Key, bytes: usize) {
        let Some(state) = self.get_mut(key) else { return };
        let before = core::mem::replace(&mut state.bytes, bytes);
        self.bytes = self.bytes + bytes - before;
    }

    /// Notes an answer. A version comes with a resource that is there.
    pub(crate) fn set_answer(&mut self, key: &Key, answer: Answer, version: &str) {
        let is_awaited = answer.is_awaited();
        let Some(state) = self.get_mut(key) else { return };
        let was_awaited = state.answer.is_awaited();
        (state.answer, state.version) = (answer, version.into());
        self.unanswered = self.unanswered + usize::from(is_awaited) - usize::from(was_awaited);
    }

    /// The stream to the server has ended: what it said not to exist may exist, and what could not be read may be another by now.
    pub(crate) fn stream_ended(&mut self) {
        self.namespaces_are_outdated = true;
        self.unanswered = 0;
        for state in self.keys.iter_mut() {
            match state.answer {
                Answer::Missing => state.answer = Answer::Outdated,
                Answer::Unreadable => state.answer = Answer::None,
                _ => {}
            }
            self.unanswered += usize::from(state.answer.is_awaited());
        }
    }

    /// Sets the namespaces with a Service that the caller may see. Returns whether they are in order, as they have to be.
    pub(crate) fn set_namespaces<'t>(&mut self, all: impl Iterator<Item = &'t str>) -> bool {
        let all: Box<[Box<str>]> = all.take(MAX_NAMESPACES + 1).map(Box::from).collect();
        let is_sorted = all.is_sorted() && all.len() <= MAX_NAMESPACES;
        if is_sorted {
            (self.namespaces, self.namespaces_are_outdated) = (Some(all), false);
        }
        is_sorted
    }

    /// Takes the names of the namespaces from an earlier table, whose stream has ended.
    pub(crate) fn move_namespaces(&mut self, from: &mut Self) {
        (self.namespaces, self.namespaces_are_outdated) = (from.namespaces.take(), true);
    }

    /// Why there is no Service called `name` in `namespace`.
    #[inline(never)]
    pub(super) fn absent(&self, namespace: &[u8], name: &[u8]) -> Missing {
        let is_it = |state: &KeyState| matches!(&state.key, Key::Service(key) if key.is(namespace, name));
        let state = self.keys.find(hash_name(namespace, name), is_it);
        let missing = state.map_or(Missing::Unanswered, |state| state.missing(Missing::Service));
        // No Service has such a name.
        let is_label = |label| from_utf8(label).is_ok_and(is_label);
        if !missing.is_unsure() || !is_label(namespace) || !is_label(name) {
            return Missing::Service;
        }
        match &self.namespaces {
            Some(all) if all.binary_search_by(|one| one.as_bytes().cmp(namespace)).is_err() => {
                if self.namespaces_are_outdated { Missing::Outdated } else { Missing::Service }
            }
            _ => missing,
        }
    }

    /// Whether a pod has this address.
    pub(super) fn pod(&self, address: IpAddr) -> Result<(), Missing> {
        match self.address(address)? {
            Answer::Pod => Ok(()),
            _ => Err(Missing::PodAddress),
        }
    }

    /// What this address is: [`Answer::Missing`], [`Answer::Pod`] or [`Answer::ClusterIp`].
    pub(super) fn address(&self, address: IpAddr) -> Result<&Answer, Missing> {
        let state = self.get(&Key::Address(address)).ok_or(Missing::Unanswered)?;
        match &state.answer {
            answer @ (Answer::Missing | Answer::Pod | Answer::ClusterIp(_)) => {
                state.is_used.set(true);
                Ok(answer)
            }
            _ => Err(state.missing(Missing::PodAddress)),
        }
    }

    /// The slot gets a Service that no request has looked up.
    pub(super) fn make_unused(&mut self, slot: usize) {
        match self.used.get(slot) {
            Some(used) => used.set(false),
            None => self.used.resize(slot + 1, Cell::new(false)),
        }
    }
}
