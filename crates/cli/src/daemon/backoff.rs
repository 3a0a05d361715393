//! The wait before a retry.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(200);
/// Longest wait after a failure that can pass at any moment, such as a refused connection.
pub(crate) const SHORT: Duration = Duration::from_secs(4);
/// Longest wait after a failure that somebody has to correct, such as a missing permission.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Exponential backoff with jitter, so that sidecars do not all reconnect at once to an API server that comes back.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait before the next retry, at most `longest`.
    pub(crate) fn next(&mut self, longest: Duration) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.failures = self.failures.saturating_add(1);
        whole / 2 + (whole / 2).mul_f64(random())
    }

    /// Restarts at the shortest wait, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random number from 0 to 1.
pub(crate) fn random() -> f64 {
    // The keys of hash maps are the standard library's only source of random numbers.
    let chance = RandomState::new().build_hasher().finish() % 1024;
    chance as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_up_to_a_bound_and_begins_anew() {
        for longest in [SHORT, LONG] {
            let mut backoff = Backoff::default();
            for failure in 0..100 {
                let whole = FIRST.saturating_mul(1 << failure.min(10)).min(longest);
                let wait = backoff.next(longest);
                assert!(wait >= whole / 2 && wait <= whole, "{failure}: {wait:?}");
            }
            backoff.reset();
            assert!(backoff.next(longest) <= FIRST);
        }
    }
}
