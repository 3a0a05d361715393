//! How long to wait before something that failed is tried again.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// Twice as long each time, and never the same for two: an API server that comes back is not met by all sidecars at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // Keys of hash maps are what the standard library has of chance.
        let chance = RandomState::new().build_hasher().finish() % 1024;
        whole / 2 + whole.mul_f64(chance as f64 / 2048.0)
    }

    /// It works.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_up_to_a_bound_and_begins_anew() {
        let mut backoff = Backoff::default();
        for failure in 0..100 {
            let whole = FIRST.saturating_mul(1 << failure.min(10)).min(LONGEST);
            let wait = backoff.next();
            assert!(wait >= whole / 2 && wait <= whole, "{failure}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
