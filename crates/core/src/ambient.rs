//! What a choice needs of the world.

use alloc::{string::String, vec::Vec};

use crate::rendezvous::{GOLDEN, mix};

/// What a choice needs of the world, and asks for only where the policy does.
pub trait Ambient {
    /// A clock in nanoseconds.
    fn now(&self) -> u64;
    /// A number by chance, each as likely as any other.
    fn random(&mut self) -> u64;
    /// The value of a request header.
    fn header(&self, name: &str) -> Option<&[u8]>;
}

/// The next number of a sequence that is as good as chance, and the same for the same start (SplitMix64).
pub fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(GOLDEN);
    mix(*state)
}

/// A world for explanations and tests: a clock that goes when it is set, chance that is the same each time, and these
/// headers.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    /// What the clock shows.
    pub now: u64,
    /// Where chance begins.
    pub seed: u64,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

impl Ambient for Scripted {
    fn now(&self) -> u64 {
        self.now
    }

    fn random(&mut self) -> u64 {
        next_random(&mut self.seed)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_bytes())
    }
}
