//! Log lines on the standard error, each with its time.

use std::io::Write;

use anstyle::Style;
use jiff::Timestamp;

use crate::output::{ASIDE, WARNING, plain};

/// Logs a warning.
pub(crate) fn warn(text: &str) {
    say("warning", WARNING, text);
}

/// Logs a note.
pub(crate) fn note(text: &str) {
    say("note", ASIDE, text);
}

fn say(level: &str, style: Style, text: &str) {
    let (now, text) = (time(Timestamp::now()), plain(text));
    // A closed standard error leaves no place to report this failure.
    drop(writeln!(anstream::AutoStream::auto(std::io::stderr().lock()), "{now} {style}{level}{style:#}: {text}"));
}

/// The time as RFC 3339 has it, in UTC and with milliseconds.
fn time(now: Timestamp) -> String {
    format!("{now:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_milliseconds_and_is_in_utc() {
        let time_of = |milliseconds| Timestamp::from_millisecond(milliseconds).map(time).ok();
        assert_eq!(time_of(1_764_376_225_120).as_deref(), Some("2025-11-29T00:30:25.120Z"));
        assert_eq!(time_of(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
    }
}
