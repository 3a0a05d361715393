//! The state between choices: round-robin turns, open requests, and the health of endpoints.
//!
//! Services and endpoints are known by 64-bit hashes of their names and addresses. So the state refers to no table and outlives
//! every configuration push: an endpoint that stays keeps its count and its health. A hash collision would merge two endpoints'
//! state: about 1 chance in 3e9 with 10,000 Services and 100,000 endpoints. The state is bounded; an endpoint without room in it
//! is chosen at random and never ejected.

use core::{hash::BuildHasherDefault, net::IpAddr};

use super::{ejection::EndpointHealth, env::Env, rendezvous::score_address};
use crate::{
    collections::HashMap,
    limits::MAX_BALANCED,
    policy::OutlierDetection,
    table::{EndpointGroup, EndpointSet, Table},
};

/// The state between choices. All requests of a worker share one value.
#[derive(Debug, Default)]
pub struct Balance {
    /// By the hash of a set or of an endpoint.
    entries: HashMap<u64, BalanceEntry>,
    ejected: usize,
    events: Events,
}

/// The state of a set (`turn`) or of an endpoint (the other fields).
#[derive(Clone, Copy, Debug, Default)]
struct BalanceEntry {
    turn: Option<u32>,
    open: u32,
    health: EndpointHealth,
}

/// Ejections and returns since [`Balance::take_events`] was last called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Endpoints that were ejected.
    pub ejected: u32,
    /// Endpoints whose ejection ended.
    pub returned: u32,
}

/// The receipt of a choice, to be handed to [`Config::done`](crate::Config::done) when the request is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// The hash of the endpoint.
    pub(crate) endpoint: u64,
    /// The hash of the set that it was chosen from, and the set's location in the table.
    pub(crate) set: u64,
    pub(crate) location: SetLocation,
    /// The number of endpoints in the set.
    pub(crate) endpoints: u32,
    /// Whether the request is counted as open.
    pub(crate) is_open: bool,
    pub(crate) outlier_detection: Option<OutlierDetection>,
}

/// The location of a set of endpoints in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetLocation {
    /// The slot of the Service.
    pub(crate) slot: u32,
    /// The index of the usable endpoints in the Service.
    pub(crate) usable_index: u32,
    pub(crate) subset_index: u16,
    /// See [`Usable::set_id`](crate::table::Usable::set_id).
    pub(crate) pod_port: u16,
}

impl Ticket {
    /// Address and port of the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> (IpAddr, u16) {
        (self.address, self.port)
    }

    /// Whether the status of the response matters.
    #[must_use]
    pub fn wants_status(&self) -> bool {
        self.outlier_detection.is_some()
    }
}

impl Balance {
    /// Nothing is chosen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: HashMap::with_hasher(BuildHasherDefault::new()),
            ejected: 0,
            events: Events { ejected: 0, returned: 0 },
        }
    }

    /// The number of Service ports and endpoints that have an entry.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the events since the last call.
    pub fn take_events(&mut self) -> Events {
        core::mem::take(&mut self.events)
    }

    /// Records the end of a request: see [`Config::done`](crate::Config::done).
    pub(crate) fn done(&mut self, ticket: Ticket, status: Option<u16>, env: &dyn Env, table: &Table) -> bool {
        let is_ejected = match (status, ticket.outlier_detection) {
            (Some(500..), Some(outlier_detection)) => self.fail(&ticket, outlier_detection, env, table),
            (Some(_), Some(outlier_detection)) => {
                self.succeed(ticket.endpoint, outlier_detection, env);
                false
            }
            _ => false,
        };
        self.release(ticket);
        is_ejected
    }

    fn succeed(&mut self, endpoint: u64, outlier_detection: OutlierDetection, env: &dyn Env) {
        if self.entries.get(&endpoint).is_none_or(|entry| entry.health.is_clean()) {
            return;
        }
        let now = env.now();
        // Ends an ejection that is over and was not asked about since.
        self.end_ejection(endpoint, now);
        if let Some(entry) = self.entries.get_mut(&endpoint) {
            entry.health.succeeded(now, outlier_detection);
        }
    }

    fn fail(&mut self, ticket: &Ticket, outlier_detection: OutlierDetection, env: &dyn Env, table: &Table) -> bool {
        if self.entry(ticket.endpoint, env).is_none() {
            return false;
        }
        let now = env.now();
        let is_ejected_already = self.end_ejection(ticket.endpoint, now);
        let Some(entry) = self.entries.get_mut(&ticket.endpoint) else { return false };
        if !entry.health.failed(now, outlier_detection) || is_ejected_already {
            return false;
        }
        let ejected = self.count_ejected_beside(ticket, table, now);
        let has_room = ejected.is_some_and(|ejected| ejected < outlier_detection.max_ejected(ticket.endpoints));
        let Some(entry) = self.entries.get_mut(&ticket.endpoint) else { return false };
        if !has_room {
            entry.health.keep();
            return false;
        }
        entry.health.eject(now, outlier_detection);
        self.ejected += 1;
        self.events.ejected += 1;
        true
    }

    /// The number of ejected endpoints in the set that `ticket` was chosen from; `None` where the table no longer has the set.
    fn count_ejected_beside(&self, ticket: &Ticket, table: &Table, now: u64) -> Option<u32> {
        let service = table.at(ticket.location.slot)?;
        let usable = service.usable_at(usize::try_from(ticket.location.usable_index).ok()?)?;
        let subset = usable.subsets.get(usize::from(ticket.location.subset_index))?;
        let id = usable.set_id(subset, ticket.location.pod_port);
        let groups = service.spec.endpoints.as_ref()?.set_groups();
        (id == ticket.set).then(|| self.count_ejected(&subset.set, id, groups, now))
    }

    /// The number of ejected endpoints in the set whose hash is `id`.
    pub(crate) fn count_ejected(&self, set: &EndpointSet, id: u64, groups: &[EndpointGroup], now: u64) -> u32 {
        let is_ejected = |(address, port)| u32::from(self.is_ejected(score_address(id, address, port), now));
        set.addresses(groups).map(|endpoint| is_ejected((endpoint.ip(), endpoint.port()))).sum()
    }

    /// Records the end of a request whose configuration is gone.
    pub fn release(&mut self, ticket: Ticket) {
        if let Some(entry) = self.entries.get_mut(&ticket.endpoint) {
            entry.open = entry.open.saturating_sub(u32::from(ticket.is_open));
            if entry.open == 0 && entry.health.is_clean() {
                self.entries.remove(&ticket.endpoint);
            }
        }
    }

    /// Removes state that no longer matters. Call it now and then, such as at every configuration push.
    pub fn sweep(&mut self, now: u64) {
        self.forget(now, false);
    }

    /// Keeps entries with open requests or an ejection and, unless the state is full, turns and recent failures.
    fn forget(&mut self, now: u64, is_full: bool) {
        let (ejected, events) = (&mut self.ejected, &mut self.events);
        self.entries.retain(|_, entry| {
            if entry.health.end_ejection(now) {
                *ejected = ejected.saturating_sub(1);
                events.returned += 1;
            }
            let is_of_use = entry.turn.is_some() || !(entry.health.is_clean() || entry.health.is_old(now));
            entry.open > 0 || entry.health.is_ejected(now) || (is_of_use && !is_full)
        });
    }

    /// The entry of `id`, if there is room for it.
    fn entry(&mut self, id: u64, env: &dyn Env) -> Option<&mut BalanceEntry> {
        if self.entries.len() >= MAX_BALANCED && !self.entries.contains_key(&id) {
            self.forget(env.now(), true);
            if self.entries.len() >= MAX_BALANCED {
                return None;
            }
        }
        Some(self.entries.entry(id).or_default())
    }

    pub(crate) fn any_ejected(&self) -> bool {
        self.ejected > 0
    }

    /// Ends an ejection that is over at `now`, and returns whether the endpoint is ejected then.
    pub(super) fn end_ejection(&mut self, endpoint: u64, now: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&endpoint) else { return false };
        if entry.health.end_ejection(now) {
            self.ejected = self.ejected.saturating_sub(1);
            self.events.returned += 1;
        }
        entry.health.is_ejected(now)
    }

    /// Whether the endpoint is ejected at `now`.
    pub(super) fn is_ejected(&self, endpoint: u64, now: u64) -> bool {
        self.entries.get(&endpoint).is_some_and(|entry| entry.health.is_ejected(now))
    }

    /// The turn of a round-robin cycle of `turns` turns, which then advances by `step`. The first turn is random, so that not all
    /// workers start with the same endpoint.
    pub(super) fn turn(&mut self, set: u64, turns: u32, step: u32, env: &mut dyn Env) -> u32 {
        let turns = turns.max(1);
        let Some(entry) = self.entry(set, env) else { return env.random() as u32 % turns };
        let turn = entry.turn.unwrap_or_else(|| env.random() as u32) % turns;
        entry.turn = Some(((u64::from(turn) + u64::from(step)) % u64::from(turns)) as u32);
        turn
    }

    /// Counts one more open request, and returns whether there was room.
    pub(crate) fn open(&mut self, endpoint: u64, env: &dyn Env) -> bool {
        self.entry(endpoint, env).map(|entry| entry.open = entry.open.saturating_add(1)).is_some()
    }

    pub(crate) fn open_requests(&self, endpoint: u64) -> u32 {
        self.entries.get(&endpoint).map_or(0, |entry| entry.open)
    }
}
