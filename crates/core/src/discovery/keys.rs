//! The keys that are asked for, and what is known of each.

use alloc::{boxed::Box, format, string::ToString, vec::Vec};
use core::{mem::take, net::IpAddr};

use super::messages::{Request, ResourceType};
use crate::{
    collections::HashMap,
    limits::{MAX_KEYS, MAX_UNUSED_SWEEPS, SWEEP_MILLISECONDS},
    names::NamespacedName,
    policy::Policy,
    table::{Key, ServiceKind, ServiceSpec, Table},
    wire::SteeringMode,
};

/// The share of all keys that go at once where there is no room: one look at all makes room for many.
const EVICTED_KEYS: usize = MAX_KEYS / 20;

#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) all: HashMap<Key, KeyState>,
    /// What the server has not been told yet.
    changes: Vec<Change>,
    unanswered: usize,
    /// The number of keys that were ever subscribed.
    order: u64,
    next_sweep: u64,
    /// Services that had this cluster IP before another Service took it.
    pub(super) contested: Vec<(Key, IpAddr)>,
}

/// What is known of a key.
#[derive(Debug)]
pub(super) struct KeyState {
    pub(super) resource_type: ResourceType,
    answer: Answer,
    /// Of a resource that is there.
    pub(super) version: Box<str>,
    /// Sweeps since a request last used it.
    unused: u8,
    pub(super) is_preloaded: bool,
    order: u64,
}

/// What the server said of a key on its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing.
    None,
    Present,
    Missing,
    /// Something that cannot be read.
    Unreadable,
}

#[derive(Debug)]
struct Change {
    resource_type: ResourceType,
    key: Key,
    is_subscription: bool,
}

/// The type by which a Service is asked for.
fn service_type(policy: &Policy) -> ResourceType {
    match policy.steering_mode {
        SteeringMode::Endpoint => ResourceType::Endpoints,
        SteeringMode::Authority | SteeringMode::Cluster => ResourceType::Service,
    }
}

/// Whether a Service that came without its endpoints is steered by endpoint.
pub(super) fn needs_endpoints(spec: &ServiceSpec, resource_type: ResourceType, policy: &Policy) -> bool {
    resource_type == ResourceType::Service
        && spec.steering_mode(policy) == SteeringMode::Endpoint
        && !matches!(spec.kind, ServiceKind::ExternalName(_))
}

impl Keys {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn next_sweep(&self) -> u64 {
        self.next_sweep
    }

    /// Whether the server has not answered for some key.
    pub(super) fn are_unanswered(&self) -> bool {
        self.unanswered > 0
    }

    pub(super) fn is_answered(&self, key: &Key) -> bool {
        self.all.get(key).is_none_or(|state| state.answer != Answer::None)
    }

    pub(super) fn answer(&self, key: &Key) -> Option<Answer> {
        self.all.get(key).map(|state| state.answer)
    }

    /// Subscribes to a key that is not subscribed yet. Returns whether nothing is to be expected of it.
    pub(super) fn subscribe(&mut self, key: &Key, table: &mut Table) -> bool {
        if let Some(state) = self.all.get_mut(key) {
            state.unused = 0;
            return state.answer == Answer::Unreadable;
        }
        let resource_type = match key {
            Key::Service(_) => service_type(table.policy()),
            Key::Address(_) => ResourceType::Address,
        };
        self.insert(key.clone(), resource_type, table);
        self.change(resource_type, key, true);
        false
    }

    /// Counts a key as subscribed, after making room for it.
    pub(super) fn insert(&mut self, key: Key, resource_type: ResourceType, table: &mut Table) {
        if self.all.len() >= MAX_KEYS {
            self.make_room(table);
        }
        self.order += 1;
        self.unanswered += 1;
        let state = KeyState {
            resource_type,
            answer: Answer::None,
            version: Box::default(),
            unused: 0,
            is_preloaded: false,
            order: self.order,
        };
        self.all.insert(key, state);
    }

    /// Notes an answer. A new version comes with one that is present.
    pub(super) fn set_answer(&mut self, key: &Key, answer: Answer, version: &str) {
        let Some(state) = self.all.get_mut(key) else { return };
        self.unanswered -= usize::from(state.answer == Answer::None);
        self.unanswered += usize::from(answer == Answer::None);
        (state.answer, state.version) = (answer, version.into());
    }

    /// Asks for a Service by another type.
    pub(super) fn ask_by(&mut self, key: &Key, resource_type: ResourceType) {
        let Some(state) = self.all.get_mut(key) else { return };
        let before = core::mem::replace(&mut state.resource_type, resource_type);
        self.set_answer(key, Answer::None, "");
        self.change(before, key, false);
        self.change(resource_type, key, true);
    }

    /// Asks once more for Services whose cluster IP another Service has taken and given up: they may have it again.
    pub(super) fn ask_for_contested(&mut self, table: &Table) {
        let free = |(_, address): &(Key, IpAddr)| table.find_by_cluster_ip(*address).is_none();
        for (key, _) in self.contested.extract_if(.., |contested| free(contested)).collect::<Vec<_>>() {
            if let Some(resource_type) = self.all.get(&key).map(|state| state.resource_type) {
                self.change(resource_type, &key, true);
            }
        }
    }

    /// Unsubscribes from a key, and forgets what is known of it.
    pub(super) fn forget(&mut self, key: &Key, table: &mut Table) {
        let Some(state) = self.all.remove(key) else { return };
        self.contested.retain(|(other, _)| other != key);
        self.unanswered -= usize::from(state.answer == Answer::None);
        table.forget(key, state.answer == Answer::Present);
        self.change(state.resource_type, key, false);
    }

    pub(super) fn change(&mut self, resource_type: ResourceType, key: &Key, is_subscription: bool) {
        self.changes.push(Change { resource_type, key: key.clone(), is_subscription });
    }

    /// Lets the keys go that are missed least: first those that do not exist, then those that were not used for long.
    #[cold]
    fn make_room(&mut self, table: &mut Table) {
        let mut all: Vec<_> = self.all.iter().map(|(key, state)| (state.worth(), state.order, key.clone())).collect();
        all.sort_unstable_by_key(|(worth, order, _)| (*worth, *order));
        for (.., key) in all.into_iter().take(EVICTED_KEYS) {
            self.forget(&key, table);
        }
    }

    /// Every answer that something is missing was of the stream that has ended.
    pub(super) fn ask_again(&mut self) {
        self.changes.clear();
        for state in self.all.values_mut().filter(|state| state.answer != Answer::Present) {
            self.unanswered += usize::from(state.answer != Answer::None);
            state.answer = Answer::None;
        }
    }

    /// Writes all keys of a type, and the versions that are known. Returns whether there are any.
    pub(super) fn write_all(&self, resource_type: ResourceType, request: &mut Request) -> bool {
        let mut has_any = false;
        for (key, state) in self.all.iter().filter(|(_, state)| state.resource_type == resource_type) {
            let name = key.to_string();
            request.subscribe(&name);
            if state.answer == Answer::Present && !state.version.is_empty() {
                request.version(&name, &state.version);
            }
            has_any = true;
        }
        has_any
    }

    /// Writes the changes of a type that the server has not been told yet. Returns whether there are any.
    pub(super) fn write_changes(&mut self, resource_type: ResourceType, request: &mut Request) -> bool {
        let (mut has_any, all) = (false, &self.all);
        self.changes.retain(|change| {
            let is_other = change.resource_type != resource_type;
            // A key that was let go and is needed again is subscribed again: in a message that says both, the server would read the end
            // of its subscription.
            let is_subscribed = all.get(&change.key).is_some_and(|state| state.resource_type == resource_type);
            if !is_other && change.is_subscription == is_subscribed {
                has_any = true;
                let name = change.key.to_string();
                match is_subscribed {
                    true => request.subscribe(&name),
                    false => request.unsubscribe(&name),
                }
            }
            is_other
        });
        has_any
    }

    /// The next stream will be told of every key.
    pub(super) fn clear_changes(&mut self) {
        self.changes.clear();
    }

    /// Lets the keys go that no request has used for half an hour. Returns whether it was time to look.
    pub(super) fn sweep(&mut self, now: u64, table: &mut Table) -> bool {
        if now < self.next_sweep {
            return false;
        }
        self.next_sweep = now.saturating_add(SWEEP_MILLISECONDS);
        let mut gone = Vec::new();
        for (key, state) in &mut self.all {
            state.unused = if table.take_use(key) { 0 } else { state.unused.saturating_add(1) };
            if state.unused >= MAX_UNUSED_SWEEPS && !state.is_preloaded {
                gone.push(key.clone());
            }
        }
        gone.iter().for_each(|key| self.forget(key, table));
        true
    }

    /// Takes over what an earlier configuration knew, `from` its table into `to`.
    pub(super) fn move_from(&mut self, earlier: &mut Self, from: &mut Table, to: &mut Table) {
        (self.order, self.next_sweep) = (earlier.order, earlier.next_sweep);
        to.move_namespaces(from);
        for (key, state) in take(&mut earlier.all) {
            let resource_type = match &key {
                Key::Address(_) => ResourceType::Address,
                Key::Service(_) => state.resource_type.max(service_type(to.policy())),
            };
            let KeyState { answer, version, unused, .. } = state;
            let is_known = to.move_answer(&key, answer == Answer::Present, from, |spec, policy| {
                !needs_endpoints(spec, state.resource_type, policy)
            });
            self.insert(key.clone(), resource_type, to);
            if is_known {
                self.set_answer(&key, answer, &version);
            }
            if let Some(moved) = self.all.get_mut(&key) {
                moved.unused = unused;
            }
        }
    }
}

impl KeyState {
    /// How much a key would be missed.
    fn worth(&self) -> u8 {
        match self.answer {
            _ if self.is_preloaded => 4,
            Answer::Missing | Answer::Unreadable => u8::from(self.unused == 0),
            Answer::Present => 2 + u8::from(self.unused == 0),
            Answer::None => 3,
        }
    }
}

/// The key of a Service called so.
pub(super) fn service_key(name: &str) -> Option<Key> {
    NamespacedName::parse(name).map(Key::Service)
}

/// The key of a Service of a namespace.
pub(super) fn key_within(namespace: &str, name: &str) -> Option<Key> {
    service_key(&format!("{namespace}/{name}"))
}
