//! The only state there is between two requests: whose turn it is, how many requests are open, and how endpoints have done.
//!
//! It knows Services and endpoints by numbers made of their names and addresses, and no table. So it outlives a push, and
//! an endpoint that stays keeps its count and its health. It holds what has open requests, failures or a turn, and is bounded;
//! what there is no room for is balanced by chance and never ejected.

use core::net::IpAddr;

use crate::{
    ambient::Ambient,
    hash::Map,
    health::{Health, Outliers},
    limits::MAX_BALANCED,
};

/// What choices remember. One for all requests of a worker.
#[derive(Debug, Default)]
pub struct Balance {
    /// Of sets and of endpoints alike, whose numbers are 64 bits by chance.
    known: Map<u64, Known>,
    ejected: usize,
    events: Events,
}

/// What is known of a set (a turn) or of one endpoint (all else).
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    turn: Option<u32>,
    open: u32,
    health: Health,
}

/// How often it happened since it was last asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// An endpoint was ejected.
    pub ejected: u32,
    /// The time of one that was ejected was over.
    pub returned: u32,
}

/// What has to be told of a request when it is over: [`Config::done`](crate::Config::done).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    /// Its number.
    pub(crate) endpoint: u64,
    /// That of the set, and where it is in the table.
    pub(crate) set: u64,
    pub(crate) place: SetPlace,
    /// How many endpoints the set has.
    pub(crate) endpoints: u32,
    /// Whether it is counted as open.
    pub(crate) is_open: bool,
    pub(crate) outliers: Option<Outliers>,
}

/// Where in a table a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SetPlace {
    pub(crate) service: u32,
    pub(crate) port: u16,
    pub(crate) part: u16,
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

    /// [`Config::done`](crate::Config::done), where `ejected` says how many endpoints are ejected beside that of the ticket.
    pub(crate) fn done(
        &mut self,
        ticket: Ticket,
        status: Option<u16>,
        ambient: &dyn Ambient,
        ejected: &dyn Fn(&Self, u64) -> Option<u32>,
    ) -> bool {
        let is_ejected = match (status, ticket.outliers) {
            (Some(500..), Some(outliers)) => self.fail(&ticket, outliers, ambient, ejected),
            (Some(_), Some(outliers)) => {
                self.succeed(ticket.endpoint, outliers, ambient);
                false
            }
            _ => false,
        };
        self.release(ticket);
        is_ejected
    }

    fn succeed(&mut self, endpoint: u64, outliers: Outliers, ambient: &dyn Ambient) {
        if self.known.get(&endpoint).is_none_or(|known| known.health.is_clean()) {
            return;
        }
        let now = ambient.now();
        // The time of its last ejection may be over, and nobody have asked.
        self.is_ejected(endpoint, now);
        if let Some(known) = self.known.get_mut(&endpoint) {
            known.health.succeeded(now, outliers);
        }
    }

    fn fail(
        &mut self,
        ticket: &Ticket,
        outliers: Outliers,
        ambient: &dyn Ambient,
        ejected: &dyn Fn(&Self, u64) -> Option<u32>,
    ) -> bool {
        if self.know(ticket.endpoint, ambient).is_none() {
            return false;
        }
        let now = ambient.now();
        // The time of its last ejection may be over, and nobody have asked.
        let is_out = self.is_ejected(ticket.endpoint, now);
        let Some(known) = self.known.get_mut(&ticket.endpoint) else { return false };
        if !known.health.failed(now, outliers) || is_out {
            return false;
        }
        let has_room = ejected(self, now).is_some_and(|ejected| ejected < outliers.most_of(ticket.endpoints));
        let Some(known) = self.known.get_mut(&ticket.endpoint) else { return false };
        if !has_room {
            known.health.stays();
            return false;
        }
        known.health.eject(now, outliers);
        self.ejected += 1;
        self.events.ejected += 1;
        true
    }

    /// The request of this ticket is over, and nobody knows any more what its endpoint was one of.
    pub fn release(&mut self, ticket: Ticket) {
        if let Some(known) = self.known.get_mut(&ticket.endpoint) {
            known.open = known.open.saturating_sub(u32::from(ticket.is_open));
            if known.open == 0 && known.health.is_clean() {
                self.known.remove(&ticket.endpoint);
            }
        }
    }

    /// Forgets what is over. To be done now and then, as with every table that is pushed.
    pub fn sweep(&mut self, now: u64) {
        self.forget(now, false);
    }

    /// Makes room: keeps what is open or ejected and, unless every place is needed, turns and what failed of late.
    fn forget(&mut self, now: u64, is_full: bool) {
        let (ejected, events) = (&mut self.ejected, &mut self.events);
        self.known.retain(|_, known| {
            if known.health.end_ejection(now) {
                *ejected = ejected.saturating_sub(1);
                events.returned += 1;
            }
            let is_of_use = known.turn.is_some() || !(known.health.is_clean() || known.health.is_old(now));
            known.open > 0 || known.health.is_ejected(now) || (is_of_use && !is_full)
        });
    }

    /// What is known of `id`, if there is room.
    fn know(&mut self, id: u64, ambient: &dyn Ambient) -> Option<&mut Known> {
        if self.known.len() >= MAX_BALANCED && !self.known.contains_key(&id) {
            self.forget(ambient.now(), true);
            if self.known.len() >= MAX_BALANCED {
                return None;
            }
        }
        Some(self.known.entry(id).or_default())
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

    /// Whether it is ejected at this time, by what was last heard of it.
    pub(crate) fn is_out(&self, endpoint: u64, now: u64) -> bool {
        self.known.get(&endpoint).is_some_and(|known| known.health.is_ejected(now))
    }

    /// The slot whose turn it is. The first turn of each worker is by chance, lest all begin with the same endpoint.
    pub(crate) fn turn(&mut self, set: u64, slots: u32, step: u32, ambient: &mut dyn Ambient) -> u32 {
        let slots = slots.max(1);
        let Some(known) = self.know(set, ambient) else { return ambient.random() as u32 % slots };
        let turn = known.turn.unwrap_or_else(|| ambient.random() as u32) % slots;
        known.turn = Some(((u64::from(turn) + u64::from(step)) % u64::from(slots)) as u32);
        turn
    }

    /// Counts one more open request, if there is room for it.
    pub(crate) fn open(&mut self, endpoint: u64, ambient: &dyn Ambient) -> bool {
        self.know(endpoint, ambient).map(|known| known.open = known.open.saturating_add(1)).is_some()
    }

    pub(crate) fn open_requests(&self, endpoint: u64) -> u32 {
        self.known.get(&endpoint).map_or(0, |known| known.open)
    }
}
