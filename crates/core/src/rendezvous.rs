//! Rendezvous hashing: of several, the one that a key belongs to.
//!
//! Each one gets a number by chance out of the key and itself, and the highest wins. So when one leaves, the keys that were
//! its own spread over the others and no other key moves; and there is nothing to build, to keep, or to push anew. The price
//! is that all are looked at; `crates/core/benches` has it beside a Maglev table. With weights the number is `-w / ln(u)`,
//! by which each one wins in proportion to its weight (Schindelhauer and Schomaker, *Weighted Distributed Hash Tables*).
//!
//! The hash is the same in every worker and every pod, and stays so.

use core::net::IpAddr;

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

/// The number that an endpoint gets for a key.
pub(crate) fn score(key: u64, address: IpAddr, port: u16) -> u64 {
    let address = match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            mix((bits >> 64) as u64) ^ bits as u64
        }
    };
    mix(key ^ mix(address ^ (u64::from(port) << 48)))
}

/// The best of those that were offered so far.
#[derive(Default)]
pub(crate) struct Ranking {
    offered: usize,
    /// Its place, what it came to, and its weight.
    best: Option<(usize, u64, u32)>,
}

impl Ranking {
    /// Offers the next one.
    pub(crate) fn offer(&mut self, score: u64, weight: u32) {
        let index = self.offered;
        self.offered += 1;
        let wins = match self.best {
            None => true,
            Some((_, best, of)) if of == weight => score > best,
            // -w / ln(u) compared without a division: the logarithms are negative.
            Some((_, best, of)) => {
                u128::from(minus_log2(best)) * u128::from(weight) > u128::from(minus_log2(score)) * u128::from(of)
            }
        };
        if wins {
            self.best = Some((index, score, weight));
        }
    }

    /// Passes over the next one.
    pub(crate) fn pass(&mut self) {
        self.offered += 1;
    }

    /// The place of the best one.
    pub(crate) fn winner(&self) -> Option<usize> {
        self.best.map(|(index, ..)| index)
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
