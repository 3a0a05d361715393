//! The environment of a choice: a clock, random numbers and the request's headers.

use alloc::{string::String, vec::Vec};

use crate::collections::{GOLDEN, mix};

/// The environment of a choice. A choice asks only for what its policy needs.
pub trait Env {
    /// The time in nanoseconds.
    fn now(&self) -> u64;
    /// A uniformly distributed random number.
    fn random(&mut self) -> u64;
    /// The value of a request header.
    fn header(&self, name: &str) -> Option<&[u8]>;
}

/// The next number of a pseudorandom sequence (SplitMix64), which is the same for the same start.
pub fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(GOLDEN);
    mix(*state)
}

/// A number below `count`, made from a uniformly distributed one.
pub(super) fn random_below(random: u64, count: u64) -> u64 {
    ((u128::from(random) * u128::from(count)) >> 64) as u64
}

/// An environment for explanations and tests: a clock that stands still until it is set, the same random numbers each time, and
/// the headers given.
#[derive(Clone, Debug, Default)]
pub struct FakeEnv {
    /// The time that the clock shows, in nanoseconds.
    pub now: u64,
    /// The state of the random numbers.
    pub seed: u64,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

impl Env for FakeEnv {
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
