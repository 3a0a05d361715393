//! Log lines that requests cause, limited so that no client can fill a disk.

use std::cell::Cell;

use byname_core::limits::MAX_LOG_BURST_LINES;

use crate::host;

const LINE_EVERY_NANOSECONDS: u64 = 1_000_000_000;

thread_local! {
    /// One budget per VM, so that requests cannot spend a budget of every configuration.
    static BUDGET: Budget = const { Budget { used: Cell::new(0), since: Cell::new(0), unwritten: Cell::new(0) } };
}

/// A token bucket for log lines that gains one line per second.
struct Budget {
    used: Cell<u64>,
    /// When the bucket last gained a line, in nanoseconds.
    since: Cell<u64>,
    unwritten: Cell<u64>,
}

impl Budget {
    /// Takes a line, and returns the number of lines suppressed since the last; `None` if the bucket is empty.
    fn take(&self, now: u64) -> Option<u64> {
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

/// Writes the line that `words` returns, unless the bucket is empty.
pub(crate) fn write(level: log::Level, words: impl FnOnce() -> String) {
    // Without a clock, the bucket gains no lines.
    let now = host::now().unwrap_or_default();
    if let Some(unwritten) = BUDGET.with(|budget| budget.take(now)) {
        put(level, words(), unwritten);
    }
}

#[inline(never)]
fn put(level: log::Level, mut line: String, unwritten: u64) {
    if unwritten > 0 {
        line = format!("{line} ({unwritten} similar lines were suppressed)");
    }
    log::log!(level, "{line}");
}
