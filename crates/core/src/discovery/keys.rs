//! Which keys are subscribed: what is asked for, what is let go, and what the server has not been told yet.

use alloc::{boxed::Box, format, string::ToString, vec::Vec};

use super::messages::{Request, ResourceType};
use crate::{
    limits::{MAX_KEYS, MAX_UNUSED_SWEEPS, SWEEP_MILLISECONDS},
    names::NamespacedName,
    table::{Answer, Key, KeyState, ServiceKind, ServiceSpec, Table},
    wire::SteeringMode,
};

/// The share of all keys that go at once where there is no room: one look at all makes room for many.
const EVICTED_KEYS: usize = MAX_KEYS / 20;

#[derive(Debug, Default)]
pub(super) struct Keys {
    /// What the server has not been told yet.
    changes: Vec<Change>,
    /// Whether some Service may have lost a cluster IP to another ([`KeyState::lost_cluster_ips`]).
    pub(super) has_contested: bool,
    pub(super) next_sweep: u64,
}

#[derive(Debug)]
struct Change {
    resource_type: ResourceType,
    key: Key,
    is_subscription: bool,
}

impl KeyState {
    /// The type by which the key is asked for.
    pub(super) fn resource_type(&self) -> ResourceType {
        match self.key {
            Key::Address(_) => ResourceType::Address,
            Key::Service(_) if self.with_endpoints => ResourceType::Endpoints,
            Key::Service(_) => ResourceType::Service,
        }
    }

    /// How much the key would be missed, up to [`MOST_WORTH`].
    fn worth(&self) -> u8 {
        match self.answer {
            _ if self.is_preloaded => MOST_WORTH,
            Answer::Missing | Answer::Outdated | Answer::Unreadable if self.unused > 0 => 0,
            Answer::Missing | Answer::Outdated | Answer::Unreadable | Answer::None => 1,
            _ if self.unused > 0 => 2,
            _ => 3,
        }
    }
}

const MOST_WORTH: u8 = 4;

/// Whether a Service that came without its endpoints is steered by endpoint.
pub(super) fn needs_endpoints(spec: &ServiceSpec, table: &Table) -> bool {
    spec.steering_mode(table.policy()) == SteeringMode::Endpoint && !matches!(spec.kind, ServiceKind::ExternalName(_))
}

impl Keys {
    /// Subscribes to a key that is not subscribed yet. Returns whether nothing is to be expected of it.
    #[inline(never)]
    pub(super) fn subscribe(&mut self, key: &Key, is_preloaded: bool, table: &mut Table) -> bool {
        if let Some(state) = table.on_demand().and_then(|keys| keys.get_mut(key)) {
            state.unused = 0;
            state.is_preloaded |= is_preloaded;
            return state.answer == Answer::Unreadable;
        }
        let mut state = KeyState::new(key.clone(), table.policy().steering_mode == SteeringMode::Endpoint);
        state.is_preloaded = is_preloaded;
        self.change(&state, true);
        self.insert(state, table);
        false
    }

    /// Counts a key as subscribed, after making room for it.
    pub(super) fn insert(&mut self, state: KeyState, table: &mut Table) {
        if table.on_demand().is_some_and(|keys| keys.len() >= MAX_KEYS) {
            self.make_room(table);
        }
        if let Some(keys) = table.on_demand() {
            keys.insert(state);
        }
    }

    /// Asks for a Service with its endpoints, which came without them.
    pub(super) fn ask_with_endpoints(&mut self, key: &Key, table: &mut Table) {
        if let Some(mut state) = self.forget(key, table) {
            (state.answer, state.with_endpoints, state.bytes) = (Answer::None, true, 0);
            self.change(&state, true);
            self.insert(state, table);
        }
    }

    /// Unsubscribes from a key, and forgets what is known of it.
    #[inline(never)]
    pub(super) fn forget(&mut self, key: &Key, table: &mut Table) -> Option<KeyState> {
        let state = table.on_demand()?.remove(key)?;
        if let (Key::Service(name), Answer::Present) = (key, &state.answer) {
            table.remove(name.namespace(), name.name());
        }
        self.change(&state, false);
        Some(state)
    }

    fn change(&mut self, state: &KeyState, is_subscription: bool) {
        self.change_type(&state.key, state.resource_type(), is_subscription);
    }

    pub(super) fn change_type(&mut self, key: &Key, resource_type: ResourceType, is_subscription: bool) {
        self.changes.push(Change { resource_type, key: key.clone(), is_subscription });
    }

    /// Asks once more for Services whose cluster IP another Service has taken and given up: they may have it again.
    pub(super) fn ask_for_contested(&mut self, table: &mut Table) {
        let Some(mut keys) = table.on_demand.take() else { return };
        self.has_contested = false;
        for state in keys.iter_mut() {
            let lost = state.lost_cluster_ips.len();
            state.lost_cluster_ips.retain(|address| table.find_by_cluster_ip(*address).is_some());
            if state.lost_cluster_ips.len() < lost {
                self.change(state, true);
            }
            self.has_contested |= !state.lost_cluster_ips.is_empty();
        }
        table.on_demand = Some(keys);
    }

    /// Lets the keys go that are missed least: first those that do not exist, then those that were not used for long.
    #[cold]
    fn make_room(&mut self, table: &mut Table) {
        let mut gone = Vec::new();
        for worth in 0..=MOST_WORTH {
            let keys = table.on_demand().into_iter().flat_map(|keys| keys.iter());
            let room = EVICTED_KEYS.saturating_sub(gone.len());
            gone.extend(keys.filter(|state| state.worth() == worth).map(|state| state.key.clone()).take(room));
        }
        self.forget_all(&gone, table);
    }

    /// Lets the keys go that no request has used for half an hour. Returns whether it was time to look.
    pub(super) fn sweep(&mut self, now: u64, table: &mut Table) -> bool {
        if now < self.next_sweep {
            return false;
        }
        self.next_sweep = now.saturating_add(SWEEP_MILLISECONDS);
        let mut gone = Vec::new();
        table.sweep(|state| {
            if state.unused >= MAX_UNUSED_SWEEPS && !state.is_preloaded {
                gone.push(state.key.clone());
            }
        });
        self.forget_all(&gone, table);
        true
    }

    fn forget_all(&mut self, keys: &[Key], table: &mut Table) {
        for key in keys {
            self.forget(key, table);
        }
    }

    /// The next stream will be told of every key.
    pub(super) fn clear_changes(&mut self) {
        self.changes.clear();
    }

    /// Writes all keys of a type, and the versions that are known. Returns whether there are any.
    pub(super) fn write_all(resource_type: ResourceType, table: &mut Table, request: &mut Request) -> bool {
        let mut has_any = false;
        let keys = table.on_demand().into_iter().flat_map(|keys| keys.iter());
        for state in keys.filter(|state| state.resource_type() == resource_type) {
            let name = state.key.to_string();
            request.subscribe(&name);
            if !state.version.is_empty() {
                request.version(&name, &state.version);
            }
            has_any = true;
        }
        has_any
    }

    /// Writes the changes of a type that the server has not been told yet. Returns whether there are any.
    pub(super) fn write_changes(
        &mut self,
        resource_type: ResourceType,
        table: &mut Table,
        request: &mut Request,
    ) -> bool {
        let mut has_any = false;
        self.changes.retain(|change| {
            let is_other = change.resource_type != resource_type;
            // A key that was let go and is needed again is subscribed again: in a message that says both, the server would read the end
            // of its subscription.
            let state = table.on_demand().and_then(|keys| keys.get(&change.key));
            let is_subscribed = state.is_some_and(|state| state.resource_type() == resource_type);
            if !is_other && change.is_subscription == is_subscribed {
                has_any = true;
                request.name(&change.key.to_string(), is_subscribed);
            }
            is_other
        });
        has_any
    }

    /// Takes over what an earlier configuration knew, `from` its table into `to`. The stream has ended.
    pub(super) fn move_from(&mut self, from: &mut Table, to: &mut Table) {
        let Some(mut before) = from.on_demand.take() else { return };
        from.fill_on_demand();
        before.stream_ended();
        if let Some(keys) = to.on_demand() {
            keys.move_namespaces(&mut before);
        }
        let by_endpoint = to.policy().steering_mode == SteeringMode::Endpoint;
        let keys: Vec<Key> = before.iter().map(|state| state.key.clone()).collect();
        for key in keys {
            let Some(mut state) = before.remove(&key) else { continue };
            if let Key::Service(name) = &key {
                let is_in_configuration = to.get(name.namespace(), name.name()).is_some();
                let spec = match state.answer {
                    Answer::Present => from.take(name.namespace(), name.name()),
                    _ => None,
                };
                if is_in_configuration {
                    continue;
                }
                let is_usable = |spec: &ServiceSpec| state.with_endpoints || !needs_endpoints(spec, to);
                let is_known = spec.filter(is_usable).is_some_and(|spec| to.put(spec).is_ok());
                if state.answer == Answer::Present && !is_known {
                    (state.answer, state.version, state.bytes) = (Answer::None, Box::default(), 0);
                }
                state.with_endpoints |= by_endpoint;
            }
            // The new configuration says what is preloaded.
            state.is_preloaded = false;
            self.insert(state, to);
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
