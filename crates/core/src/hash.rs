//! The hash of the maps here: a few instructions, and small.
//!
//! Keys are what a configuration holds, and numbers that are made by chance or by Envoy. No client chooses any of them, so that
//! nothing has to be kept secret of it.

use core::{
    hash::{BuildHasherDefault, Hasher},
    net::IpAddr,
};

use crate::rendezvous::{GOLDEN, mix};

/// A hash map with it.
pub type Map<K, V> = hashbrown::HashMap<K, V, BuildHasherDefault<Mixer>>;

/// See the module.
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
        // With its length, lest `a` and `a\0` be one.
        let rest = bytes.iter().fold(bytes.len() as u64, |rest, byte| rest << 8 | u64::from(*byte));
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

/// That of a Service's namespace and name.
#[inline(always)]
pub(crate) fn of_name(namespace: &str, name: &str) -> u64 {
    let mut mixer = Mixer::default();
    mixer.write(namespace.as_bytes());
    mixer.write(name.as_bytes());
    mixer.finish()
}

/// That of the address of a Service or an endpoint.
pub(crate) fn of_address(address: IpAddr) -> u64 {
    let mut mixer = Mixer::default();
    match address {
        IpAddr::V4(address) => mixer.write(&address.octets()),
        IpAddr::V6(address) => mixer.write(&address.octets()),
    }
    mixer.finish()
}
