//! A progress line on standard error.

use std::io::IsTerminal;

/// The current part of the run.
pub(super) struct Progress {
    part: String,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(part: impl Into<String>) -> Self {
        Self { part: part.into(), terminal: std::io::stderr().is_terminal() }
    }

    pub(super) fn say(&self, what: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{}, {what} ", self.part);
        } else {
            eprintln!("{}, {what}", self.part);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
