//! The wait before a retry.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// Exponential backoff with jitter, so that sidecars do not all reconnect at once to an API server that comes back.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next retry.
    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // The keys of hash maps are the standard library's only source of random numbers.
        let chance = RandomState::new().build_hasher().finish() % 1024;
        whole / 2 + whole.mul_f64(chance as f64 / 2048.0)
    }

    /// Restarts at the shortest wait, after a success.
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
