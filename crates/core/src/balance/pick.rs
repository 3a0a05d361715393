//! The choice of one endpoint of a set.
//!
//! | policy | the endpoint | time grows with the set |
//! |---|---|---|
//! | `ROUND_ROBIN` | the next in turn; with weights a cycle has as many turns as their sum, evenly spread | no |
//! | `RANDOM` | a random one, in proportion to weight | no |
//! | `LEAST_REQUEST` | of two different random ones, the one with fewer open requests for its weight (power of two choices) | no |
//! | `consistentHash`, `sessionAffinity` | the one that the affinity key belongs to (`rendezvous`) | yes |
//!
//! An ejected endpoint is skipped, in favour of the next in turn, another random endpoint or the next in rank. If every
//! endpoint is ejected, the choice is made as if none were. No choice allocates, except the first one of a Service port.

use core::net::IpAddr;

use super::{
    env::{Env, random_below},
    rendezvous::{Ranking, best_of_group, score_address},
    state::{Balance, SetLocation, Ticket},
};
use crate::{
    collections::hash_bytes,
    policy::{LoadBalancer, OutlierDetection},
    table::{EndpointGroup, EndpointSet, SetEndpoint},
};

/// The number of draws before a set is searched for an endpoint that is not ejected.
const MAX_DRAWS: usize = 8;

/// The chosen endpoint, and the ticket for its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Picked {
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    pub(crate) ticket: Option<Ticket>,
}

/// A choice to be made.
pub(crate) struct PickRequest<'a> {
    pub(crate) set: &'a EndpointSet,
    pub(crate) groups: &'a [EndpointGroup],
    pub(crate) load_balancer: &'a LoadBalancer,
    pub(crate) outlier_detection: Option<OutlierDetection>,
    /// The hash of the set: of the Service's port and the subset.
    pub(crate) set_hash: u64,
    pub(crate) location: SetLocation,
    /// The affinity key.
    pub(crate) key: Option<u64>,
}

/// The affinity key of a request, where the load balancer wants one and the request has it. `caller` identifies the pod.
pub(crate) fn affinity_key(load_balancer: &LoadBalancer, caller: Option<u64>, env: &dyn Env) -> Option<u64> {
    match load_balancer {
        LoadBalancer::Header(name) => env.header(name).map(hash_bytes),
        LoadBalancer::Pod => caller,
        LoadBalancer::RoundRobin | LoadBalancer::Random | LoadBalancer::LeastRequest => None,
    }
}

impl PickRequest<'_> {
    /// Returns `None` where the set is empty.
    pub(crate) fn pick(&self, balance: &mut Balance, env: &mut dyn Env) -> Option<Picked> {
        // The clock is read only while something is ejected.
        let now = (self.outlier_detection.is_some() && balance.any_ejected()).then(|| env.now());
        let endpoint = match (self.load_balancer, self.key) {
            _ if self.set.len() == 1 => self.set.at(0, self.groups),
            (_, Some(key)) => {
                let (address, port) = self.pick_ranked(key ^ self.set_hash, balance, now)?;
                return Some(self.picked(address, port, balance, env));
            }
            (LoadBalancer::RoundRobin, None) => self.pick_in_turn(balance, now, env),
            (LoadBalancer::LeastRequest, None) => self.pick_less_busy(balance, now, env),
            _ => self.pick_random(balance, now, env, None),
        }?;
        Some(self.picked(endpoint.address, endpoint.port, balance, env))
    }

    fn picked(&self, address: IpAddr, port: u16, balance: &mut Balance, env: &mut dyn Env) -> Picked {
        Picked { address, port, ticket: self.ticket(address, port, balance, env) }
    }

    /// The ticket for a request to an endpoint, where its end matters. A single endpoint is neither compared nor ejected.
    fn ticket(&self, address: IpAddr, port: u16, balance: &mut Balance, env: &mut dyn Env) -> Option<Ticket> {
        let counts_open = matches!(self.load_balancer, LoadBalancer::LeastRequest);
        let is_needed = self.set.len() > 1 && (counts_open || self.outlier_detection.is_some());
        is_needed.then(|| {
            let hash = score_address(self.set_hash, address, port);
            Ticket {
                address,
                port,
                endpoint: hash,
                set: self.set_hash,
                location: self.location,
                endpoints: self.set.len(),
                is_open: counts_open && balance.open(hash, env),
                outlier_detection: self.outlier_detection,
            }
        })
    }

    fn is_healthy(&self, endpoint: &SetEndpoint, balance: &mut Balance, now: Option<u64>) -> bool {
        self.is_healthy_at(endpoint.address, endpoint.port, balance, now)
    }

    fn is_healthy_at(&self, address: IpAddr, port: u16, balance: &mut Balance, now: Option<u64>) -> bool {
        now.is_none_or(|now| !balance.end_ejection(score_address(self.set_hash, address, port), now))
    }

    fn pick_in_turn(&self, balance: &mut Balance, now: Option<u64>, env: &mut dyn Env) -> Option<SetEndpoint> {
        let (turns, step) = self.set.turns();
        let draw = |balance: &mut Balance, env: &mut dyn Env| {
            self.set.slot_of_turn(balance.turn(self.set_hash, turns, step, env))
        };
        self.pick_healthy(balance, now, env, &draw, None)
    }

    /// A random endpoint, in proportion to weight; never `except`.
    fn pick_random(
        &self,
        balance: &mut Balance,
        now: Option<u64>,
        env: &mut dyn Env,
        except: Option<&SetEndpoint>,
    ) -> Option<SetEndpoint> {
        let draw = |_: &mut Balance, env: &mut dyn Env| match except {
            None => random_below(env.random(), u64::from(self.set.slots())) as u32,
            // A number below the other endpoints' slots, moved past the slots of `except`.
            Some(except) => {
                let slot = random_below(env.random(), u64::from(self.set.slots() - except.weight)) as u32;
                if slot < except.slot { slot } else { slot + except.weight }
            }
        };
        self.pick_healthy(balance, now, env, &draw, except)
    }

    /// Draws slots until one belongs to an endpoint that is not ejected. After [`MAX_DRAWS`], searches the set from a random
    /// endpoint on. If every endpoint is ejected, returns any endpoint. Never returns `except`, which `draw` must not yield.
    fn pick_healthy(
        &self,
        balance: &mut Balance,
        now: Option<u64>,
        env: &mut dyn Env,
        draw: &dyn Fn(&mut Balance, &mut dyn Env) -> u32,
        except: Option<&SetEndpoint>,
    ) -> Option<SetEndpoint> {
        for _ in 0..MAX_DRAWS {
            let endpoint = self.set.at(draw(balance, env), self.groups)?;
            if self.is_healthy(&endpoint, balance, now) {
                return Some(endpoint);
            }
        }
        // From a random endpoint on: else the first healthy one would get the requests of all ejected ones.
        let start = random_below(env.random(), self.set.len().into()) as u32;
        let is_other = |endpoint: &SetEndpoint| except.is_none_or(|except| except.slot != endpoint.slot);
        let mut is_match = |endpoint: &SetEndpoint| is_other(endpoint) && self.is_healthy(endpoint, balance, now);
        let healthy = self.set.find(start, self.groups, &mut is_match);
        healthy.or_else(|| self.set.find(start, self.groups, &mut |endpoint| is_other(endpoint)))
    }

    /// Of two different endpoints, the one with fewer open requests for its weight. Heavier endpoints are drawn more often; where
    /// both are idle, the first drawn is chosen.
    fn pick_less_busy(&self, balance: &mut Balance, now: Option<u64>, env: &mut dyn Env) -> Option<SetEndpoint> {
        let one = self.pick_random(balance, now, env, None)?;
        let Some(other) = self.pick_random(balance, now, env, Some(&one)) else { return Some(one) };
        // `other` is ejected only if no endpoint but `one` is healthy.
        if self.is_healthy(&one, balance, now) && !self.is_healthy(&other, balance, now) {
            return Some(one);
        }
        let open = |endpoint: &SetEndpoint| {
            u64::from(balance.open_requests(score_address(self.set_hash, endpoint.address, endpoint.port)))
        };
        let is_other_better = open(&other) * u64::from(one.weight) < open(&one) * u64::from(other.weight);
        Some(if is_other_better { other } else { one })
    }

    /// The endpoint that a key belongs to. The endpoints of a group share one weight, so only the best of each group are compared.
    fn pick_ranked(&self, key: u64, balance: &mut Balance, now: Option<u64>) -> Option<(IpAddr, u16)> {
        let mut best = Ranking::new();
        for share in self.set.shares.iter() {
            let group = self.groups.get(share.group as usize)?;
            let mut is_ejected = |address| !self.is_healthy_at(address, share.port, balance, now);
            let is_skipped: Option<&mut dyn FnMut(IpAddr) -> bool> = match now {
                None => None,
                Some(_) => Some(&mut is_ejected),
            };
            if let Some((address, score)) = best_of_group(group, key, share.port, is_skipped) {
                best.offer((address, share.port), score, share.weight);
            }
        }
        match (best.winner(), now) {
            // Every endpoint is ejected.
            (None, Some(_)) => self.pick_ranked(key, balance, None),
            (winner, _) => winner,
        }
    }
}
