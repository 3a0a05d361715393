//! Decides when to compile: soon after a change, but once for a burst of changes.

use std::time::Duration;

use tokio::time::Instant;

/// Maximum delay of a change under constant changes, in multiples of the quiet time.
const PATIENCE: u32 = 5;
/// Time for what a watch has missed to arrive behind its headers.
const SETTLE: Duration = Duration::from_millis(250);

/// Pending changes.
#[derive(Debug)]
pub(crate) struct Debouncer {
    quiet: Duration,
    /// Time of the first and the last pending change.
    pending: Option<(Instant, Instant)>,
    not_before: Instant,
}

impl Debouncer {
    /// A debouncer that waits until nothing has changed for `quiet`.
    pub(crate) fn new(quiet: Duration) -> Self {
        Self { quiet, pending: None, not_before: Instant::now() }
    }

    /// Records a change.
    pub(crate) fn changed(&mut self) {
        let now = Instant::now();
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, now));
    }

    /// Records that the source is current again after it was held up. What it missed is on its way.
    pub(crate) fn resumed(&mut self) {
        let now = Instant::now();
        self.pending = Some((now, now));
        self.not_before = self.not_before.max(now + SETTLE);
    }

    /// When the first pending change came.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.pending.map(|(first, _)| first)
    }

    /// The time to compile, if a change is pending.
    pub(crate) fn due(&self) -> Option<Instant> {
        let (first, last) = self.pending?;
        Some((last + self.quiet).min(first + self.quiet * PATIENCE).max(self.not_before))
    }

    /// Records that compiling finished and took `took`. The next one waits at least as long, so a large cluster under constant
    /// changes takes at most half of a core.
    pub(crate) fn done(&mut self, took: Duration) {
        self.pending = None;
        self.not_before = Instant::now() + took;
    }

    /// Schedules a retry no sooner than `after`.
    pub(crate) fn again(&mut self, after: Duration) {
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
    fn waits_for_what_was_missed() {
        let mut debouncer = Debouncer::new(QUIET);
        let long_ago = Instant::now();
        debouncer.pending = Some((long_ago, long_ago));
        let resumed = Instant::now();
        debouncer.resumed();
        assert!(debouncer.due().expect("something changed") >= resumed + SETTLE);
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
