//! Random choices from a seed, so that a failure can be had again.

use byname_core::next_random;

/// Random numbers from a seed, which every failure should print.
pub struct SeededRandom(pub u64);

impl SeededRandom {
    /// A number from 0 to `bound - 1`.
    pub fn below(&mut self, bound: u64) -> u64 {
        next_random(&mut self.0) % bound
    }

    /// True once in `times` on average.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `all`.
    ///
    /// # Panics
    /// If `all` is empty.
    #[expect(clippy::indexing_slicing, reason = "the index is below the length")]
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}
