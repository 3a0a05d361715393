//! Lines of log that requests cause: few enough that no client can fill a disk.

use std::cell::Cell;

use byname_core::limits::MAX_LOG_BURST_LINES;

use crate::host;

const LINE_EVERY_NANOSECONDS: u64 = 1_000_000_000;

thread_local! {
    /// One for a VM, so that a request cannot spend another configuration's lines over and over.
    static BUDGET: Budget = const { Budget { used: Cell::new(0), since: Cell::new(0), unwritten: Cell::new(0) } };
}

/// A bucket of lines, into which one comes back every second.
struct Budget {
    used: Cell<u64>,
    /// When a line last came back, in nanoseconds.
    since: Cell<u64>,
    unwritten: Cell<u64>,
}

impl Budget {
    /// Whether a line may be written now; then with how many were not, since the last one.
    fn take(&self, now: u64) -> Option<u64> {
        if now < self.since.get() {
            // The clock was set back: what it said before is no measure any more.
            self.since.set(now);
        }
        let back = now.saturating_sub(self.since.get()) / LINE_EVERY_NANOSECONDS;
        if back > 0 {
            self.used.set(self.used.get().saturating_sub(back));
            self.since.set(now);
        }
        if self.used.get() >= MAX_LOG_BURST_LINES {
            self.unwritten.set(self.unwritten.get().saturating_add(1));
            return None;
        }
        self.used.set(self.used.get() + 1);
        Some(self.unwritten.take())
    }
}

/// Writes the line that `words` gives, unless there were too many.
pub(crate) fn write(level: log::Level, words: impl FnOnce() -> String) {
    // Without a clock no line comes back.
    let now = host::now().unwrap_or_default();
    match BUDGET.with(|budget| budget.take(now)) {
        Some(0) => log::log!(level, "{}", words()),
        Some(unwritten) => log::log!(level, "{} ({unwritten} similar lines were suppressed)", words()),
        None => {}
    }
}
