//! The only state there is between two requests: whose turn it is, how many requests are open, and how endpoints have done.
//!
//! It knows Services and endpoints by numbers made of their names and addresses, and no table. So it outlives a push, and
//! an endpoint that stays keeps its count and its health. It holds what has open requests, failures or a turn, and is bounded;
//! what there is no room for is balanced by chance and never ejected.

use core::net::IpAddr;

use hashbrown::HashMap;

use crate::{
    ambient::Ambient,
    health::{Health, Outliers},
    limits::MAX_BALANCED,
};

/// What choices remember. One for all requests of a worker.
#[derive(Debug, Default)]
pub struct Balance {
    /// Of sets and of endpoints alike, whose numbers are 64 bits by chance.
    known: HashMap<u64, Known>,
    ejected: usize,
    events: Events,
}

/// What is known of a set (a turn) or of one endpoint (all else).
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    turn: u32,
    open: u32,
    health: Health,
    /// The set of an endpoint.
    set: u64,
}

/// How often it happened since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// An endpoint was ejected.
    pub ejected: u32,
    /// The time of one that was ejected was over.
    pub returned: u32,
}

/// What has to be told of a request when it is over: [`Balance::done`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Its number.
    pub(crate) endpoint: u64,
    pub(crate) set: u64,
    /// How many endpoints the set has.
    pub(crate) endpoints: u32,
    /// Whether it is counted as open.
    pub(crate) is_open: bool,
    pub(crate) outliers: Option<Outliers>,
}

impl Ticket {
    /// Address and port of the endpoint.
    #[must_use]
    pub fn endpoint(&self) -> (IpAddr, u16) {
        (self.address, self.port)
    }

    /// Whether it matters how the request ended.
    #[must_use]
    pub fn wants_status(&self) -> bool {
        self.outliers.is_some()
    }
}

impl Balance {
    /// How many Services' ports and endpoints it remembers something of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether it remembers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What happened since this was last asked for.
    pub fn take_events(&mut self) -> Events {
        core::mem::take(&mut self.events)
    }

    /// The request of this ticket is over, with this HTTP status; `None`: its client went away first. Says whether the
    /// endpoint is ejected for it.
    pub fn done(&mut self, ticket: Ticket, status: Option<u16>, ambient: &mut dyn Ambient) -> bool {
        let has_failed = status.is_some_and(|status| status >= 500);
        let is_ejected = match ticket.outliers {
            Some(outliers) if has_failed => self.fail(&ticket, outliers, ambient),
            _ => false,
        };
        let Some(known) = self.known.get_mut(&ticket.endpoint) else { return is_ejected };
        if ticket.is_open {
            known.open = known.open.saturating_sub(1);
        }
        if !has_failed
            && status.is_some()
            && !known.health.is_clean()
            && let Some(outliers) = ticket.outliers
        {
            known.health.succeeded(ambient.now(), outliers);
        }
        if known.open == 0 && known.health.is_clean() {
            self.known.remove(&ticket.endpoint);
        }
        is_ejected
    }

    fn fail(&mut self, ticket: &Ticket, outliers: Outliers, ambient: &mut dyn Ambient) -> bool {
        let Some(known) = self.know(ticket.endpoint, ambient, |_| Known::default()) else { return false };
        known.set = ticket.set;
        if !known.health.failed(outliers) {
            return false;
        }
        let now = ambient.now();
        let most = outliers.most_of(ticket.endpoints) as usize;
        let has_room = self.ejected_of(ticket.set, now) < most;
        let Some(known) = self.known.get_mut(&ticket.endpoint).filter(|_| has_room) else { return false };
        known.health.eject(now, outliers);
        self.ejected += 1;
        self.events.ejected += 1;
        true
    }

    /// How many endpoints of a set are ejected.
    pub(crate) fn ejected_of(&self, set: u64, now: u64) -> usize {
        self.known.values().filter(|known| known.set == set && known.health.is_ejected(now)).count()
    }

    /// Forgets what is over. To be done now and then, as with every table that is pushed.
    pub fn sweep(&mut self, now: u64) {
        self.forget(now, true);
    }

    fn forget(&mut self, now: u64, keep_turns: bool) {
        let (ejected, events) = (&mut self.ejected, &mut self.events);
        self.known.retain(|_, known| {
            if known.health.end_ejection(now) {
                *ejected = ejected.saturating_sub(1);
                events.returned += 1;
            }
            known.open > 0 || !known.health.is_clean() || (keep_turns && known.turn > 0)
        });
    }

    /// What is known of `id`, or becomes so if there is room.
    fn know(
        &mut self,
        id: u64,
        ambient: &mut dyn Ambient,
        new: impl FnOnce(&mut dyn Ambient) -> Known,
    ) -> Option<&mut Known> {
        if self.known.len() >= MAX_BALANCED && !self.known.contains_key(&id) {
            self.forget(ambient.now(), false);
            if self.known.len() >= MAX_BALANCED {
                return None;
            }
        }
        Some(self.known.entry(id).or_insert_with(|| new(ambient)))
    }

    pub(crate) fn any_ejected(&self) -> bool {
        self.ejected > 0
    }

    pub(crate) fn is_ejected(&mut self, endpoint: u64, now: u64) -> bool {
        let Some(known) = self.known.get_mut(&endpoint) else { return false };
        if known.health.end_ejection(now) {
            self.ejected = self.ejected.saturating_sub(1);
            self.events.returned += 1;
        }
        known.health.is_ejected(now)
    }

    /// The slot whose turn it is. The first turn of each worker is by chance, lest all begin with the same endpoint.
    pub(crate) fn turn(&mut self, set: u64, slots: u32, step: u32, ambient: &mut dyn Ambient) -> u32 {
        let first = |ambient: &mut dyn Ambient| Known { turn: ambient.random() as u32, ..Known::default() };
        let Some(known) = self.know(set, ambient, first) else { return ambient.random() as u32 % slots.max(1) };
        let slots = slots.max(1);
        let turn = known.turn % slots;
        known.turn = ((u64::from(turn) + u64::from(step)) % u64::from(slots)) as u32;
        turn
    }

    /// Counts one more open request, if there is room for it.
    pub(crate) fn open(&mut self, endpoint: u64, ambient: &mut dyn Ambient) -> bool {
        let known = self.know(endpoint, ambient, |_| Known::default());
        known.map(|known| known.open = known.open.saturating_add(1)).is_some()
    }

    pub(crate) fn open_requests(&self, endpoint: u64) -> u32 {
        self.known.get(&endpoint).map_or(0, |known| known.open)
    }
}
