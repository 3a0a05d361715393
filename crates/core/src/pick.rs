//! The choice of one endpoint out of those that may serve. Clock, chance and key are handed in, and `balance` is the only
//! state.
//!
//! | policy | the endpoint | grows with their number |
//! |---|---|---|
//! | `ROUND_ROBIN` | the next one in turn; with weights, a turn has as many places as they sum up to, and spreads them evenly | no |
//! | `RANDOM` | by chance, in proportion to weight | no |
//! | `LEAST_REQUEST` | of two by chance, the one with fewer open requests for its weight (power of two choices) | no |
//! | `consistentHash`, `sessionAffinity` | the one that the key belongs to (`rendezvous`) | yes |
//!
//! One that is ejected (`balance`) is passed over: the next in turn, another by chance, the second in rank. Where all are
//! ejected they are taken as if none were. No choice allocates, but for the first one of a Service's port.

use alloc::boxed::Box;
use core::net::{IpAddr, SocketAddr};

use crate::{
    ambient::Ambient,
    balance::{Balance, SetPlace, Ticket},
    endpoints::{Group, Placed, Port},
    few::Few,
    header::is_header_name,
    health::Outliers,
    problem::{Fault, Place, Problems},
    rendezvous::{self, Ranking},
    wire::{self, SimpleLb},
};

/// Another one by chance is asked for so many times, before all are looked through for one that is not ejected.
const MAX_DRAWS: usize = 8;

/// How one of several is chosen.
#[derive(Clone, Debug, Default)]
pub(crate) enum Balancing {
    #[default]
    RoundRobin,
    Random,
    LeastRequest,
    /// By the value of this header.
    Header(Box<str>),
    /// By the caller.
    Pod,
}

/// One endpoint: where it is, and what `Balance` is told when its request is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picked {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) ticket: Option<Ticket>,
}

/// Endpoints that one is picked of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Set {
    shares: Few<Share>,
    endpoints: u32,
    /// So often is every slot come by in a round of turns.
    laps: u32,
    /// From one turn to the next: it shares no divisor with the turns of a round.
    step: u32,
}

/// The endpoints of one group. Each of them has as many slots as its weight.
#[derive(Clone, Copy, Debug)]
struct Share {
    group: u32,
    weight: u32,
    /// The slots of this one and all before it, so that the last one has their sum.
    until: u32,
    /// The endpoints' own port.
    port: u16,
}

/// One endpoint of a set.
#[derive(Clone, Copy)]
struct Candidate {
    address: IpAddr,
    port: u16,
    weight: u32,
}

/// What is asked of a set.
pub(crate) struct Ask<'a> {
    pub(crate) set: &'a Set,
    pub(crate) groups: &'a [Group],
    pub(crate) balancing: &'a Balancing,
    pub(crate) outliers: Option<Outliers>,
    /// The Service's port and subset, as a number, and where they are in the table.
    pub(crate) id: u64,
    pub(crate) place: SetPlace,
    pub(crate) key: Option<u64>,
}

impl Balancing {
    pub(crate) fn compile(wire: &wire::LoadBalancer, at: &Place<'_>, problems: &mut Problems) -> Self {
        match (wire.simple, &wire.consistent_hash) {
            (Some(_), Some(_)) => problems.add(at, "", Fault::OneOf("simple or consistentHash")),
            (None | Some(SimpleLb::RoundRobin), None) => {}
            (Some(SimpleLb::Random), None) => return Self::Random,
            (Some(SimpleLb::LeastRequest), None) => return Self::LeastRequest,
            (None, Some(hash)) => match (&hash.http_header_name, hash.use_source_ip) {
                (Some(name), false) => {
                    if !is_header_name(name) {
                        let in_hash = at.field("consistentHash");
                        problems.add(&in_hash.field("httpHeaderName"), name, Fault::RequestHeader);
                    }
                    return Self::Header(name.as_str().into());
                }
                (None, true) => return Self::Pod,
                _ => {
                    let fault = Fault::OneOf("httpHeaderName or useSourceIp");
                    problems.add(&at.field("consistentHash"), "", fault);
                }
            },
        }
        Self::RoundRobin
    }

    /// What the client is known by. `caller` is what the pod is known by.
    pub(crate) fn key(&self, caller: Option<u64>, ambient: &dyn Ambient) -> Option<u64> {
        match self {
            Self::Header(name) => ambient.header(name).map(rendezvous::hash),
            Self::Pod => caller,
            Self::RoundRobin | Self::Random | Self::LeastRequest => None,
        }
    }

    pub(crate) fn needs_key(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Pod)
    }

    /// Its name, as a trace shows it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN",
            Self::Random => "RANDOM",
            Self::LeastRequest => "LEAST_REQUEST",
            Self::Header(_) => "consistentHash of a header",
            Self::Pod => "consistentHash of the pod",
        }
    }
}

impl Set {
    pub(crate) fn new(groups: &[Placed<'_>], port: Port<'_>) -> Self {
        let one = groups.first().map_or(1, |(group, _)| group.weight);
        let is_even = groups.iter().all(|(group, _)| group.weight == one);
        let (mut until, mut endpoints) = (0, 0);
        let share = |(group, index): &Placed<'_>| {
            // At most MAX_SERVICE_ENDPOINTS, each with at most MAX_ENDPOINT_WEIGHT.
            let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
            let weight = if is_even { 1 } else { group.weight };
            endpoints += count;
            until += count.saturating_mul(weight);
            // They have it, or they would not be here.
            let port = group.target_port(port.name, port.number).unwrap_or_default();
            Share { group: *index, weight, until, port }
        };
        let shares = groups.iter().map(share).collect();
        let (laps, step) = if is_even { (1, 1) } else { spreading_step(until) };
        Self { shares, endpoints, laps, step }
    }

    pub(crate) fn len(&self) -> usize {
        self.endpoints as usize
    }

    fn slots(&self) -> u32 {
        self.shares.last().map_or(0, |share| share.until)
    }

    /// The endpoint that has a slot. Each has neighbouring ones, so that turns which are spread evenly come by it evenly.
    fn at(&self, slot: u32, groups: &[Group]) -> Option<Candidate> {
        let index = self.shares.partition_point(|share| share.until <= slot);
        let share = self.shares.get(index)?;
        let before = index.checked_sub(1).and_then(|before| self.shares.get(before)).map_or(0, |share| share.until);
        let group = groups.get(share.group as usize)?;
        let address = group.address(((slot - before) / share.weight.max(1)) as usize)?;
        Some(Candidate { address, port: share.port, weight: share.weight })
    }

    /// The first endpoint that `is_it`, from a place among all on, and then those before it.
    fn find(&self, start: usize, groups: &[Group], is_it: &mut dyn FnMut(&Candidate) -> bool) -> Option<Candidate> {
        for is_second_round in [false, true] {
            let mut place = 0;
            for share in self.shares.iter() {
                let group = groups.get(share.group as usize)?;
                for index in 0..group.len() {
                    let is_its_turn = (place < start) == is_second_round;
                    place += 1;
                    if is_its_turn && let Some(address) = group.address(index) {
                        let candidate = Candidate { address, port: share.port, weight: share.weight };
                        if is_it(&candidate) {
                            return Some(candidate);
                        }
                    }
                }
            }
        }
        None
    }

    /// How many of its endpoints are ejected.
    pub(crate) fn ejected(&self, groups: &[Group], id: u64, balance: &Balance, now: u64) -> u32 {
        let mut ejected = 0;
        for share in self.shares.iter() {
            for address in groups.get(share.group as usize).into_iter().flat_map(Group::addresses) {
                ejected += u32::from(balance.is_out(rendezvous::score_of(id, address, share.port), now));
            }
        }
        ejected
    }

    pub(crate) fn endpoints<'a>(&'a self, groups: &'a [Group]) -> impl Iterator<Item = SocketAddr> + 'a {
        let shares = self.shares.iter().filter_map(|share| Some((groups.get(share.group as usize)?, share.port)));
        shares.flat_map(|(group, port)| group.addresses().map(move |address| SocketAddr::new(address, port)))
    }
}

impl Candidate {
    /// Its number in the set `id`.
    fn id_in(&self, id: u64) -> u64 {
        rendezvous::score_of(id, self.address, self.port)
    }
}

/// How to come by so many slots: in how many laps, and the step from turn to turn. The step is the number next to the golden
/// section of the turns, which spreads what follows each other best, that has no divisor in common with them, so that a round
/// comes by every slot. Where that is no number in the middle (of six turns it would be 1 or 5), a round has two laps.
fn spreading_step(slots: u32) -> (u32, u32) {
    fn divisor(one: u32, other: u32) -> u32 {
        if other == 0 { one } else { divisor(other, one % other) }
    }
    for laps in [1, 2] {
        // At most MAX_SERVICE_ENDPOINTS, each with at most MAX_ENDPOINT_WEIGHT.
        let turns = slots.saturating_mul(laps);
        let golden = (u64::from(turns) * 618 / 1_000) as u32;
        let mut near = (0..=turns / 4).flat_map(|distance| [golden.saturating_sub(distance), golden + distance]);
        if let Some(step) = near.find(|step| *step > turns / 4 && *step < turns && divisor(*step, turns) == 1) {
            return (laps, step);
        }
    }
    (1, 1)
}

impl Ask<'_> {
    /// `None` where the set is empty.
    pub(crate) fn pick(&self, balance: &mut Balance, ambient: &mut dyn Ambient) -> Option<Picked> {
        // The clock is asked for only while something is ejected.
        let now = (self.outliers.is_some() && balance.any_ejected()).then(|| ambient.now());
        let candidate = match (self.balancing, self.key) {
            _ if self.set.endpoints == 1 => self.set.at(0, self.groups),
            (_, Some(key)) => self.ranked(key ^ self.id, balance, now),
            (Balancing::RoundRobin, None) => self.first_well(balance, now, ambient, &|balance, ambient| {
                balance.turn(self.id, self.set.slots() * self.set.laps, self.set.step, ambient) / self.set.laps.max(1)
            }),
            (Balancing::LeastRequest, None) => self.less_busy(balance, now, ambient),
            _ => self.well_by_chance(balance, now, ambient),
        }?;
        let wants_open = matches!(self.balancing, Balancing::LeastRequest);
        // One alone is neither compared with others nor ejected.
        let wants_ticket = self.set.endpoints > 1 && (wants_open || self.outliers.is_some());
        let ticket = wants_ticket.then(|| {
            let endpoint = candidate.id_in(self.id);
            let is_open = wants_open && balance.open(endpoint, ambient);
            Ticket {
                address: candidate.address,
                port: candidate.port,
                endpoint,
                set: self.id,
                place: self.place,
                endpoints: self.set.endpoints,
                is_open,
                outliers: self.outliers,
            }
        });
        Some(Picked { address: candidate.address, port: candidate.port, ticket })
    }

    fn by_chance(&self, ambient: &mut dyn Ambient) -> u32 {
        rendezvous::below(ambient.random(), u64::from(self.set.slots())) as u32
    }

    fn is_well(&self, candidate: &Candidate, balance: &mut Balance, now: Option<u64>) -> bool {
        now.is_none_or(|now| !balance.is_ejected(candidate.id_in(self.id), now))
    }

    fn well_by_chance(&self, balance: &mut Balance, now: Option<u64>, ambient: &mut dyn Ambient) -> Option<Candidate> {
        self.first_well(balance, now, ambient, &|_, ambient| self.by_chance(ambient))
    }

    /// The first that is not ejected of the slots that `draw` gives; after some draws, of all; if all are ejected, one by
    /// chance.
    fn first_well(
        &self,
        balance: &mut Balance,
        now: Option<u64>,
        ambient: &mut dyn Ambient,
        draw: &dyn Fn(&mut Balance, &mut dyn Ambient) -> u32,
    ) -> Option<Candidate> {
        for _ in 0..MAX_DRAWS {
            let candidate = self.set.at(draw(balance, ambient), self.groups)?;
            if self.is_well(&candidate, balance, now) {
                return Some(candidate);
            }
        }
        // From anywhere on, or the first that is well would get the requests of all that are not.
        let start = rendezvous::below(ambient.random(), self.set.endpoints.into()) as usize;
        let well = self.set.find(start, self.groups, &mut |candidate| self.is_well(candidate, balance, now));
        well.or_else(|| self.set.find(start, self.groups, &mut |_| true))
    }

    /// Heavier ones are drawn more often, and open requests are compared for their weight: where nobody is busy, the first
    /// that is drawn is it.
    fn less_busy(&self, balance: &mut Balance, now: Option<u64>, ambient: &mut dyn Ambient) -> Option<Candidate> {
        let one = self.well_by_chance(balance, now, ambient)?;
        let other = self.well_by_chance(balance, now, ambient)?;
        let open = |candidate: &Candidate| u64::from(balance.open_requests(candidate.id_in(self.id)));
        let other_is_better = open(&other) * u64::from(one.weight) < open(&one) * u64::from(other.weight);
        Some(if other_is_better { other } else { one })
    }

    /// The endpoint that a key belongs to. In a group all have one weight, so that only the best of each have to be compared.
    fn ranked(&self, key: u64, balance: &mut Balance, now: Option<u64>) -> Option<Candidate> {
        let mut best = Ranking::new();
        for share in self.set.shares.iter() {
            let group = self.groups.get(share.group as usize)?;
            let of = |address| Candidate { address, port: share.port, weight: share.weight };
            let found = match now {
                None => group.best_for(key, share.port, None),
                Some(_) => {
                    group.best_for(key, share.port, Some(&mut |address| !self.is_well(&of(address), balance, now)))
                }
            };
            if let Some((address, score)) = found {
                best.offer(of(address), score, share.weight);
            }
        }
        match (best.winner(), now) {
            // All are ejected.
            (None, Some(_)) => self.ranked(key, balance, None),
            (winner, _) => winner,
        }
    }
}
