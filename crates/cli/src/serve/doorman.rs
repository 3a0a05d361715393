//! Counts callers that are refused and connections that are closed, and logs a line a second of them at most: anybody may be refused, and
//! as often as they like.

use std::{net::SocketAddr, sync::Arc};

use super::{authentication::DenialReason, metrics::Metrics};
use crate::daemon::log::LimitedWarnings;

pub(super) struct Doorman {
    pub(super) metrics: Arc<Metrics>,
    warnings: LimitedWarnings,
}

impl Doorman {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, warnings: LimitedWarnings::new("were refused or closed") }
    }

    /// Counts a caller that is refused.
    pub(super) fn deny(&self, peer: SocketAddr, reason: DenialReason, text: &str) {
        self.metrics.callers_refused.get_or_create(&[("reason", reason.word())]).inc();
        self.warnings.warn(&format!("refused {peer}: {text}"));
    }

    /// Counts a connection that is closed because it has no stream.
    pub(super) fn close(&self, peer: SocketAddr, reason: &'static str, text: &str) {
        self.metrics.connections_closed.get_or_create(&[("reason", reason)]).inc();
        self.warnings.warn(&format!("closed the connection of {peer}: {text}"));
    }

    /// Warns of a stream that is closed because of what its client sends.
    pub(super) fn close_stream(&self, peer: SocketAddr, node: &str, text: &str) {
        self.warnings.warn(&format!("stream of node {node:?} at {peer}: closed: {text}"));
    }
}
