//! Counts callers that are refused and connections that are closed, and logs a line a second of them at most: anybody may be refused, and
//! as often as they like.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{authentication::DenialReason, metrics::Metrics};
use crate::daemon::log;

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Doorman {
    pub(super) metrics: Arc<Metrics>,
    /// When the last line was logged, and how many callers were turned away without one since.
    told: Mutex<Option<(Instant, u64)>>,
}

impl Doorman {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, told: Mutex::default() }
    }

    /// Counts a caller that is refused.
    pub(super) fn deny(&self, peer: SocketAddr, reason: DenialReason, text: &str) {
        self.metrics.callers_refused.get_or_create(&[("reason", reason.word())]).inc();
        self.tell(&format!("refused {peer}: {text}"));
    }

    /// Counts a connection that is closed because it has no stream.
    pub(super) fn close(&self, peer: SocketAddr, reason: &'static str, text: &str) {
        self.metrics.connections_closed.get_or_create(&[("reason", reason)]).inc();
        self.tell(&format!("closed the connection of {peer}: {text}"));
    }

    fn tell(&self, line: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *told {
            Some((at, untold)) if at.elapsed() < INTERVAL => *untold += 1,
            _ => {
                let untold = told.replace((Instant::now(), 0)).map_or(0, |(_, untold)| untold);
                let more = if untold > 0 {
                    format!(" ({untold} more were refused or closed since the last such line)")
                } else {
                    String::new()
                };
                log::warn(&format!("{line}{more}"));
            }
        }
    }
}
