//! When to compile: soon after a change, and not for each one of a storm.

use std::time::Duration;

use tokio::time::Instant;

/// A storm of changes holds up the first of them no longer than this many times the quiet that is waited for.
const PATIENCE: u32 = 5;

/// Changes that were seen and not yet acted upon.
#[derive(Debug)]
pub(super) struct Debouncer {
    quiet: Duration,
    /// The first and the last change.
    pending: Option<(Instant, Instant)>,
    not_before: Instant,
}

impl Debouncer {
    /// One that waits until nothing has changed for `quiet`.
    pub(super) fn new(quiet: Duration) -> Self {
        Self { quiet, pending: None, not_before: Instant::now() }
    }

    /// Something changed.
    pub(super) fn changed(&mut self) {
        let now = Instant::now();
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, now));
    }

    /// When to act, if there is anything to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.pending?;
        Some((last + self.quiet).min(first + self.quiet * PATIENCE).max(self.not_before))
    }

    /// It was acted upon, which took so long. As long it rests: a large cluster that changes all the time takes half of one
    /// core at most.
    pub(super) fn done(&mut self, took: Duration) {
        self.pending = None;
        self.not_before = Instant::now() + took;
    }

    /// It has to be done once more.
    pub(super) fn again(&mut self, after: Duration) {
        self.changed();
        self.not_before = Instant::now() + after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(100);

    #[test]
    fn waits_for_quiet_but_not_for_ever() {
        let mut debouncer = Debouncer::new(QUIET);
        assert_eq!(debouncer.due(), None);
        let first = Instant::now();
        debouncer.pending = Some((first, first));
        assert_eq!(debouncer.due(), Some(first + QUIET));
        debouncer.pending = Some((first, first + 3 * QUIET));
        assert_eq!(debouncer.due(), Some(first + 4 * QUIET));
        debouncer.pending = Some((first, first + 30 * QUIET));
        assert_eq!(debouncer.due(), Some(first + 5 * QUIET));
    }

    #[test]
    fn rests_as_long_as_it_worked() {
        let mut debouncer = Debouncer::new(QUIET);
        debouncer.changed();
        let done = Instant::now();
        debouncer.done(9 * QUIET);
        assert_eq!(debouncer.due(), None);
        debouncer.changed();
        assert!(debouncer.due().expect("something changed") >= done + 9 * QUIET);
    }
}
