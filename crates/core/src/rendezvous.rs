//! Rendezvous hashing: of several, the one that a key belongs to.
//!
//! Each one gets a number by chance out of the key and itself, and the highest wins. So when one leaves, the keys that were
//! its own spread over the others and no other key moves; and there is nothing to build, to keep, or to push anew. The price
//! is that all are looked at; `crates/core/benches` has it beside a Maglev table. With weights the number is `-w / ln(u)`,
//! by which each one wins in proportion to its weight (Schindelhauer and Schomaker, *Weighted Distributed Hash Tables*).
//!
//! The hash is the same in every worker and every pod, and stays so.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The odd number next to the golden section of 2^64, whose multiples lie furthest apart.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads the bits of a number over all of it: the finalizer of SplitMix64.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number from 0 to below `count`, out of a random one.
pub(crate) fn below(random: u64, count: u64) -> u64 {
    ((u128::from(random) * u128::from(count)) >> 64) as u64
}

/// A hash of some bytes (FNV-1a, mixed).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(hash)
}

/// An endpoint as a number.
pub(crate) fn v4_bits(address: Ipv4Addr, port: u16) -> u64 {
    u64::from(address.to_bits()) | u64::from(port) << 32
}

/// An endpoint as a number.
pub(crate) fn v6_bits(address: Ipv6Addr, port: u16) -> u64 {
    let bits = address.to_bits();
    mix((bits >> 64) as u64 ^ u64::from(port)) ^ bits as u64
}

/// The number that one of several gets for a key, itself being `bits`. A key is a hash.
pub(crate) fn score(key: u64, bits: u64) -> u64 {
    mix(key.wrapping_add(bits.wrapping_mul(GOLDEN)))
}

/// That of an endpoint.
pub(crate) fn score_of(key: u64, address: IpAddr, port: u16) -> u64 {
    score(
        key,
        match address {
            IpAddr::V4(v4) => v4_bits(v4, port),
            IpAddr::V6(v6) => v6_bits(v6, port),
        },
    )
}

/// The best of those that were offered so far.
pub(crate) struct Ranking<T> {
    /// With its score and its weight.
    best: Option<(T, u64, u32)>,
}

impl<T> Ranking<T> {
    pub(crate) fn new() -> Self {
        Self { best: None }
    }

    /// Offers one.
    pub(crate) fn offer(&mut self, what: T, score: u64, weight: u32) {
        let wins = match &self.best {
            None => true,
            Some((_, best, of)) if *of == weight => score > *best,
            // -w / ln(u) compared without a division: the logarithms are negative.
            Some((_, best, of)) => {
                u128::from(minus_log2(*best)) * u128::from(weight) > u128::from(minus_log2(score)) * u128::from(*of)
            }
        };
        if wins {
            self.best = Some((what, score, weight));
        }
    }

    /// The best one.
    pub(crate) fn winner(self) -> Option<T> {
        self.best.map(|(what, ..)| what)
    }
}

/// `-log2((number + 1) / 2^64)`, in 2^-32: exact enough to tell weights apart by a thousandth, and the same on every machine.
fn minus_log2(number: u64) -> u64 {
    const FRACTION_BITS: u32 = 32;
    let number = number.max(1);
    let whole = number.leading_zeros();
    // From 1 to below 2, in 2^-63; each squaring gives a bit of its logarithm.
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
