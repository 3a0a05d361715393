//! One answer: ok, a warning or a failure, with the way out.

use serde::Serialize;

use crate::output::{ERROR, GOOD, NAME, WARNING, plain};

/// How an answer is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// It may surprise.
    Warn,
    /// It does not work.
    Fail,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How it is meant.
    pub level: Level,
    /// What was asked, in a word.
    pub topic: &'static str,
    /// The answer, and the way out.
    pub text: String,
}

impl Verdict {
    /// An answer with nothing to do.
    #[must_use]
    pub fn ok(topic: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, topic, text: text.into() }
    }

    /// An answer that may surprise.
    #[must_use]
    pub fn warn(topic: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Warn, topic, text: text.into() }
    }

    /// An answer that has to be changed.
    #[must_use]
    pub fn fail(topic: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Fail, topic, text: text.into() }
    }
}

/// The answers as text for people, one line each.
#[must_use]
pub fn text(verdicts: &[Verdict]) -> String {
    let line = |Verdict { level, topic, text }: &Verdict| {
        let (style, word) = match level {
            Level::Ok => (GOOD, "ok"),
            Level::Warn => (WARNING, "warn"),
            Level::Fail => (ERROR, "fail"),
        };
        format!("{style}{word:<4}{style:#}  {NAME}{topic:<11}{NAME:#}  {}\n", plain(text))
    };
    verdicts.iter().map(line).collect()
}
