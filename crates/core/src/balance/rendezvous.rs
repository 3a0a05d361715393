//! Rendezvous hashing: maps a key to one of several candidates.
//!
//! Every candidate gets a score from the key and its own hash, and the highest score wins. When a candidate leaves, its keys
//! spread over the others and no other key moves; nothing has to be built, kept or pushed for it. The cost is a score for every
//! candidate (docs/endpoints.md compares the figures with a Maglev table). With weights the score is `-w / ln(u)`, by which a
//! candidate wins in proportion to its weight (Schindelhauer and Schomaker, *Weighted Distributed Hash Tables*).
//!
//! Scores are the same in every worker and every pod, and in every version of byname.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) use crate::collections::combine as score;
use crate::{
    collections::mix,
    table::{Addresses, EndpointGroup},
};

/// The score of an endpoint for a key.
pub(crate) fn score_address(key: u64, address: IpAddr, port: u16) -> u64 {
    match address {
        IpAddr::V4(v4) => score(key, v4_bits(v4, port)),
        IpAddr::V6(v6) => score(key, v6_bits(v6, port)),
    }
}

fn v4_bits(address: Ipv4Addr, port: u16) -> u64 {
    u64::from(address.to_bits()) | u64::from(port) << 32
}

fn v6_bits(address: Ipv6Addr, port: u16) -> u64 {
    let bits = address.to_bits();
    mix((bits >> 64) as u64 ^ u64::from(port)) ^ bits as u64
}

/// The endpoint of a group that scores best for a key at `port`, and its score. Endpoints for which `is_skipped` is true are left
/// out.
pub(super) fn best_of_group(
    group: &EndpointGroup,
    key: u64,
    port: u16,
    mut is_skipped: Option<&mut dyn FnMut(IpAddr) -> bool>,
) -> Option<(IpAddr, u64)> {
    let mut best = None;
    let mut best_score = 0;
    let mut offer = |index: usize, score: u64| {
        if (score > best_score || best.is_none())
            && is_skipped.as_mut().is_none_or(|skip| group.address(index).is_some_and(|address| !skip(address)))
        {
            (best, best_score) = (Some(index), score);
        }
    };
    match &group.addresses {
        Addresses::V4(addresses) => {
            for (index, address) in addresses.iter().enumerate() {
                offer(index, score(key, v4_bits(*address, port)));
            }
        }
        Addresses::V6(addresses) => {
            for (index, address) in addresses.iter().enumerate() {
                offer(index, score(key, v6_bits(*address, port)));
            }
        }
    }
    Some((group.address(best?)?, best_score))
}

/// The best candidate offered so far.
pub(super) struct Ranking<T> {
    /// The candidate, its score and its weight.
    best: Option<(T, u64, u32)>,
}

impl<T> Ranking<T> {
    pub(super) fn new() -> Self {
        Self { best: None }
    }

    pub(super) fn offer(&mut self, candidate: T, score: u64, weight: u32) {
        let wins = match &self.best {
            None => true,
            Some((_, best, of)) if *of == weight => score > *best,
            // Compares -w / ln(u) without a division: the logarithms are negative.
            Some((_, best, of)) => {
                u128::from(minus_log2(*best)) * u128::from(weight) > u128::from(minus_log2(score)) * u128::from(*of)
            }
        };
        if wins {
            self.best = Some((candidate, score, weight));
        }
    }

    pub(super) fn winner(self) -> Option<T> {
        self.best.map(|(candidate, ..)| candidate)
    }
}

/// `-log2((number + 1) / 2^64)` in units of 2^-32: exact enough to tell weights apart by a thousandth, and the same on every
/// machine.
fn minus_log2(number: u64) -> u64 {
    const FRACTION_BITS: u32 = 32;
    let number = number.max(1);
    let whole = number.leading_zeros();
    // In [1, 2), in units of 2^-63; each squaring yields one bit of the logarithm.
    let mut mantissa = number << whole;
    let mut log = 0_u64;
    for _ in 0..FRACTION_BITS {
        let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
        let carries = square >> 64 != 0;
        log = (log << 1) | u64::from(carries);
        mantissa = (if carries { square >> 1 } else { square }) as u64;
    }
    // log2 = 63 - whole + log, and 64 of it are 1.
    ((u64::from(whole) + 1) << FRACTION_BITS) - log
}
