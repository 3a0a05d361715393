//! A failed request to the API, and what kind of failure it is.

use std::{error::Error, iter, time::Duration};

use hyper::StatusCode;
use kube::core::Status;

/// The longest wait that an API server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// Reason of a 504 for a resourceVersion that the server has not reached.
const TOO_NEW: &str = "Too large resource version";

/// What a failure means for the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The server is away, silent or in trouble. It can be back at any moment.
    Unavailable,
    /// The server refuses this client (401, 403, 404). Somebody has to correct it.
    Denied,
    /// The resourceVersion or the list's token is no longer, or not yet, there: list anew.
    Expired,
}

/// A failed request, list or watch.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// The error, as text for people.
    pub(crate) text: String,
    /// Equal for failures that are one to people, though their texts name different kinds.
    pub(crate) key: String,
    /// The status of the answer, if there is one.
    pub(crate) code: Option<StatusCode>,
    /// The wait that the server asks for.
    pub(crate) retry_after: Option<Duration>,
    /// How long the server had been silent before it was noticed.
    pub(crate) silence: Duration,
}

impl Failure {
    /// The server cannot be reached, or its answer cannot be read.
    pub(crate) fn unavailable(text: String) -> Self {
        let (cause, key) = (Cause::Unavailable, text.clone());
        Self { cause, text, key, code: None, retry_after: None, silence: Duration::ZERO }
    }

    /// The server accepted the connection and says nothing.
    pub(crate) fn silent(silence: Duration) -> Self {
        let text = format!("the API does not answer within {} s", silence.as_secs());
        Self { silence, ..Self::unavailable(text) }
    }

    /// Whether permissions are missing.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.code == Some(StatusCode::FORBIDDEN)
    }

    /// The error: its first cause, and then what led to it in brackets.
    pub(crate) fn of_error(error: &(dyn Error + 'static)) -> Self {
        let mut outer: Vec<String> = Vec::new();
        let mut root = String::new();
        for cause in iter::successors(Some(error), |error| (*error).source()) {
            let why = cause.to_string();
            outer.push(std::mem::replace(&mut root, why));
        }
        // Many errors repeat their cause.
        let mut told = String::new();
        for text in outer.iter().map(|text| text.trim_end_matches(&root).trim_end_matches([' ', ':'])) {
            if !text.is_empty() && !told.contains(text) {
                let separator = if told.is_empty() { "" } else { ": " };
                told = format!("{told}{separator}{text}");
            }
        }
        Self::unavailable(if told.is_empty() { root } else { format!("{root} ({told})") })
    }

    /// The server's refusal.
    pub(crate) fn of_status(status: &Status, retry_after: Option<Duration>) -> Self {
        let Status { code, reason, message, details, .. } = status;
        let code = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let cause = match code {
            StatusCode::GONE => Cause::Expired,
            StatusCode::GATEWAY_TIMEOUT if message.contains(TOO_NEW) => Cause::Expired,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Cause::Denied,
            _ => Cause::Unavailable,
        };
        let advice = match code {
            StatusCode::UNAUTHORIZED => "; check the token or the client certificate",
            _ => "",
        };
        let asked = details.as_ref().map(|details| Duration::from_secs(details.retry_after_seconds.into()));
        let retry_after = retry_after.or(asked.filter(|asked| !asked.is_zero()));
        // Some servers write the reason into both fields.
        let why = if message == reason || message.is_empty() { String::new() } else { format!(": {message}") };
        let text = format!("the API answers {} {reason}{why}{advice}", code.as_u16());
        // The message of a 403 names the kind.
        let key = if code == StatusCode::FORBIDDEN { reason.clone() } else { text.clone() };
        let retry_after = retry_after.map(|asked| asked.min(LONGEST_ASKED));
        Self { cause, text, key, code: Some(code), retry_after, silence: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: u16, message: &str) -> Failure {
        let status = Status { code, message: message.to_owned(), reason: "Reason".to_owned(), ..Status::default() };
        Failure::of_status(&status, None)
    }

    #[test]
    fn a_status_says_what_to_do_next() {
        for (code, message, cause) in [
            (410, "too old resource version", Cause::Expired),
            (504, "Too large resource version: 7, current: 5", Cause::Expired),
            (504, "the request timed out", Cause::Unavailable),
            (401, "", Cause::Denied),
            (403, "", Cause::Denied),
            (404, "", Cause::Denied),
            (429, "", Cause::Unavailable),
            (500, "", Cause::Unavailable),
            (0, "", Cause::Unavailable),
        ] {
            assert_eq!(failure(code, message).cause, cause, "{code} {message}");
        }
    }

    #[test]
    fn refusals_of_different_kinds_are_one_cause() {
        assert_eq!(failure(403, "services is forbidden").key, failure(403, "pods is forbidden").key);
        assert_ne!(failure(500, "one").key, failure(500, "another").key);
    }
}
