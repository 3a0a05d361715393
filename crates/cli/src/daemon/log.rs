//! Log lines on the standard error, each with its time.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anstyle::Style;
use jiff::Timestamp;

use crate::output::{ASIDE, WARNING, plain};

/// Time between two lines of [`LimitedWarnings`].
const INTERVAL: Duration = Duration::from_secs(1);

/// Logs a warning.
pub(crate) fn warn(text: &str) {
    say("warning", WARNING, text);
}

/// Logs a note.
pub(crate) fn note(text: &str) {
    say("note", ASIDE, text);
}

/// Warnings that anybody can cause, as often as they like: one line a second at most, with the number of those that are left out.
pub(crate) struct LimitedWarnings {
    /// What the lines are about, as `were refused`.
    what: &'static str,
    /// When the last line was logged, and how many were left out since.
    last: Mutex<Option<(Instant, u64)>>,
}

impl LimitedWarnings {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, last: Mutex::new(None) }
    }

    pub(crate) fn warn(&self, text: &str) {
        if let Some(line) = self.line(Instant::now(), text) {
            warn(&line);
        }
    }

    /// The line to log now, if one may be.
    fn line(&self, now: Instant, text: &str) -> Option<String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, left_out)) = &mut *last
            && now.saturating_duration_since(*at) < INTERVAL
        {
            *left_out += 1;
            return None;
        }
        let left_out = last.replace((now, 0)).map_or(0, |(_, left_out)| left_out);
        Some(match left_out {
            0 => text.to_owned(),
            _ => format!("{text} ({left_out} more {} since the last such line)", self.what),
        })
    }
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
    fn limited_warnings_are_one_a_second() {
        let (warnings, start) = (LimitedWarnings::new("were closed"), Instant::now());
        let line = |milliseconds, text| warnings.line(start + Duration::from_millis(milliseconds), text);
        assert_eq!(line(0, "a").as_deref(), Some("a"));
        assert_eq!([line(1, "b"), line(999, "c")], [None, None]);
        assert_eq!(line(1_000, "d").as_deref(), Some("d (2 more were closed since the last such line)"));
        assert_eq!(line(5_000, "e").as_deref(), Some("e"));
    }

    #[test]
    fn a_time_has_milliseconds_and_is_in_utc() {
        let time_of = |milliseconds| Timestamp::from_millisecond(milliseconds).map(time).ok();
        assert_eq!(time_of(1_764_376_225_120).as_deref(), Some("2025-11-29T00:30:25.120Z"));
        assert_eq!(time_of(0).as_deref(), Some("1970-01-01T00:00:00.000Z"));
    }
}
