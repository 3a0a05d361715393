//! A set of endpoints with weights, laid out so that a choice takes no loop over them.
//!
//! Every endpoint owns as many consecutive slots as its weight, so that a number below [`EndpointSet::slots`] chooses an
//! endpoint in proportion to its weight. A set is made when a Service enters a table, and `balance` chooses from it.

use core::net::{IpAddr, SocketAddr};

use super::endpoint_group::{EndpointGroup, IndexedGroup, PortKey};
use crate::collections::OneOrMany;

/// Endpoints that serve one port.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointSet {
    pub(crate) shares: OneOrMany<GroupShare>,
    endpoints: u32,
    /// Passes over all slots per round-robin cycle.
    laps: u32,
    /// The distance between two turns. It shares no divisor with the number of turns in a cycle.
    step: u32,
}

/// The endpoints of one group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupShare {
    pub(crate) group: u32,
    /// The weight of each endpoint.
    pub(crate) weight: u32,
    /// The slots of this group and of all groups before it.
    until: u32,
    /// The endpoints' own port; 0 where it is the one that a request asks for.
    pub(crate) port: u16,
}

/// One endpoint of a set.
#[derive(Clone, Copy)]
pub(crate) struct SetEndpoint {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) weight: u32,
    /// The first of its slots.
    pub(crate) slot: u32,
}

impl EndpointSet {
    pub(super) fn new(groups: &[IndexedGroup<'_>], port: PortKey<'_>) -> Self {
        let first = groups.first().map_or(1, |(group, _)| group.weight);
        let is_even = groups.iter().all(|(group, _)| group.weight == first);
        let (mut until, mut endpoints) = (0, 0);
        let share = |(group, index): &IndexedGroup<'_>| {
            // At most MAX_SERVICE_ENDPOINTS, each with at most MAX_ENDPOINT_WEIGHT.
            let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
            let weight = if is_even { 1 } else { group.weight };
            endpoints += count;
            until += count.saturating_mul(weight);
            let port = port.of(group);
            debug_assert!(port.is_some(), "groups without the port were left out");
            GroupShare { group: *index, weight, until, port: port.unwrap_or_default() }
        };
        let shares = groups.iter().map(share).collect();
        let (laps, step) = if is_even { (1, 1) } else { spreading_step(until) };
        Self { shares, endpoints, laps, step }
    }

    /// The number of endpoints.
    pub(crate) fn len(&self) -> u32 {
        self.endpoints
    }

    /// The sum of all weights.
    pub(crate) fn slots(&self) -> u32 {
        self.shares.last().map_or(0, |share| share.until)
    }

    /// The turns of a round-robin cycle, and the distance between two turns.
    pub(crate) fn turns(&self) -> (u32, u32) {
        (self.slots() * self.laps, self.step)
    }

    /// The slot that a turn stands for.
    pub(crate) fn slot_of_turn(&self, turn: u32) -> u32 {
        turn / self.laps.max(1)
    }

    /// The endpoint that owns `slot`.
    pub(crate) fn at(&self, slot: u32, groups: &[EndpointGroup]) -> Option<SetEndpoint> {
        let index = self.shares.partition_point(|share| share.until <= slot);
        let share = self.shares.get(index)?;
        let before = index.checked_sub(1).and_then(|before| self.shares.get(before)).map_or(0, |share| share.until);
        let group = groups.get(share.group as usize)?;
        let endpoint = (slot - before) / share.weight.max(1);
        let address = group.address(endpoint as usize)?;
        Some(SetEndpoint { address, port: share.port, weight: share.weight, slot: before + endpoint * share.weight })
    }

    /// The first endpoint that satisfies `is_match`, searched from the endpoint at index `start` on and around.
    pub(crate) fn find(
        &self,
        start: u32,
        groups: &[EndpointGroup],
        is_match: &mut dyn FnMut(&SetEndpoint) -> bool,
    ) -> Option<SetEndpoint> {
        for is_second_pass in [false, true] {
            let (mut index, mut slot) = (0, 0);
            for share in self.shares.iter() {
                let group = groups.get(share.group as usize)?;
                for address in group.addresses() {
                    let is_in_this_pass = (index < start) == is_second_pass;
                    let endpoint = SetEndpoint { address, port: share.port, weight: share.weight, slot };
                    if is_in_this_pass && is_match(&endpoint) {
                        return Some(endpoint);
                    }
                    index += 1;
                    slot += share.weight;
                }
            }
        }
        None
    }

    /// Address and port of every endpoint.
    pub(crate) fn addresses<'a>(&'a self, groups: &'a [EndpointGroup]) -> impl Iterator<Item = SocketAddr> + 'a {
        let shares = self.shares.iter().filter_map(|share| Some((groups.get(share.group as usize)?, share.port)));
        shares.flat_map(|(group, port)| group.addresses().map(move |address| SocketAddr::new(address, port)))
    }
}

/// The laps and the step of a round-robin cycle over `slots` slots.
///
/// The step is the number nearest to the golden section of the turns that shares no divisor with them: a cycle then reaches
/// every slot, and consecutive turns are spread best. Where no such number is near (of six turns it would be 1 or 5), a cycle
/// takes two laps.
fn spreading_step(slots: u32) -> (u32, u32) {
    fn greatest_common_divisor(one: u32, other: u32) -> u32 {
        if other == 0 { one } else { greatest_common_divisor(other, one % other) }
    }
    for laps in [1, 2] {
        // At most MAX_SERVICE_ENDPOINTS, each with at most MAX_ENDPOINT_WEIGHT.
        let turns = slots.saturating_mul(laps);
        let golden = (u64::from(turns) * 618 / 1_000) as u32;
        let mut near = (0..=turns / 4).flat_map(|distance| [golden.saturating_sub(distance), golden + distance]);
        let is_spreading = |step: u32| step > turns / 4 && step < turns && greatest_common_divisor(step, turns) == 1;
        if let Some(step) = near.find(|step| is_spreading(*step)) {
            return (laps, step);
        }
    }
    (1, 1)
}
