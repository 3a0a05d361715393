//! What has become of the filter's streams to a server.

use std::time::SystemTime;

use super::counters::Counters;
use crate::output::{age, count};

/// What has become of the streams of an Envoy's filter to a server, one for each worker, since Envoy started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// Streams that are open. A worker whose module crashed stays counted.
    pub open: u64,
    /// Streams that were opened.
    pub opened: u64,
    /// Services and addresses that the filter subscribes to, counted in each worker.
    pub keys: u64,
    /// Requests that waited for the server.
    pub waits: u64,
    /// Requests that were decided without the server's answer.
    pub timeouts: u64,
    /// Since when a worker has no stream that the server answers, in seconds since 1970; 0 if it has one, or opened none yet.
    pub lost_at: u64,
}

impl StreamState {
    /// Reads the filter's statistics.
    #[must_use]
    pub fn of(counters: &Counters) -> Self {
        let own = |name: &str| counters.get(name).unwrap_or_default();
        Self {
            open: own("stream.open"),
            opened: own("stream.opened"),
            keys: own("stream.keys"),
            waits: own("stream.waits"),
            timeouts: own("stream.timeouts"),
            lost_at: own("stream.lost_timestamp_seconds"),
        }
    }

    /// How long the filter has had no answer from the server, in words; `None` if it has one, or has not asked yet.
    #[must_use]
    pub fn silence(&self, now: SystemTime) -> Option<String> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        (self.lost_at > 0).then(|| age(now.saturating_sub(self.lost_at)))
    }

    /// Counts in words.
    #[must_use]
    pub fn counts(&self) -> String {
        let names = count(self.keys as usize, "Service or address", "Services and addresses");
        let waits = count(self.waits as usize, "request", "requests");
        format!("{names}; {waits} waited for the server, {} had no answer", self.timeouts)
    }
}
