//! The hash of every map and of every endpoint's identity: a few instructions, and the same on every machine.
//!
//! It has no secret. Keys come from the configuration or from Envoy, and clients choose none but the names that a server is asked for. Of these
//! there are 20,000 at most, so somebody who computes names with the same hash makes lookups of such names slow, and no others.

use core::{
    hash::{BuildHasherDefault, Hasher},
    net::IpAddr,
};

/// The odd number nearest to 2^64 divided by the golden ratio: its multiples spread furthest apart.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads the bits of a number over all 64: the finalizer of SplitMix64.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Hashes bytes (FNV-1a, then [`mix`]).
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    mix(hash)
}

/// Hashes a long text, eight bytes at a time.
#[must_use]
pub fn hash_words(bytes: &[u8]) -> u64 {
    let mut hasher = Mixer::default();
    hasher.write(bytes);
    mix(hasher.finish())
}

/// Combines a hash with one more number.
pub(crate) fn combine(hash: u64, number: u64) -> u64 {
    mix(hash.wrapping_add(number.wrapping_mul(GOLDEN)))
}

/// A hash map with the hash of this module.
pub type HashMap<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<Mixer>>;

/// The hasher of [`HashMap`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Mixer(u64);

impl Mixer {
    #[inline(always)]
    fn add(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(GOLDEN);
    }
}

impl Hasher for Mixer {
    #[inline(always)]
    fn write(&mut self, mut bytes: &[u8]) {
        while let Some((word, rest)) = bytes.split_first_chunk() {
            self.add(u64::from_le_bytes(*word));
            bytes = rest;
        }
        // The length is hashed too, so that `a` and `a\0` differ.
        let mut rest = bytes.len() as u64;
        for byte in bytes {
            rest = rest << 8 | u64::from(*byte);
        }
        self.add(rest);
    }

    fn write_u8(&mut self, number: u8) {
        self.add(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.add(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.add(number);
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

/// Hashes a Service's namespace and name.
#[inline(always)]
pub(crate) fn hash_name(namespace: &[u8], name: &[u8]) -> u64 {
    let mut mixer = Mixer::default();
    mixer.write(namespace);
    mixer.write(name);
    mixer.finish()
}

/// Hashes the address of a Service or an endpoint.
pub(crate) fn hash_address(address: IpAddr) -> u64 {
    let mut mixer = Mixer::default();
    match address {
        IpAddr::V4(address) => mixer.write(&address.octets()),
        IpAddr::V6(address) => mixer.write(&address.octets()),
    }
    mixer.finish()
}
