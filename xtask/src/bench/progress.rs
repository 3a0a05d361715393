//! One line on stderr that tells how far it is.

use std::io::IsTerminal;

/// What is being done, with what is before it.
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
