//! What `byname watch` says of itself over HTTP.

use std::sync::Arc;

use hyper::Uri;

use super::metrics::Metrics;
use crate::{cluster_feed::BrakeLever, daemon::http::Monitored};

/// The metrics and the brake of a watch.
pub(super) struct Monitor {
    pub(super) metrics: Arc<Metrics>,
    pub(super) lever: Arc<BrakeLever>,
}

impl Monitored for Monitor {
    fn metrics(&self) -> String {
        self.metrics.text()
    }

    fn why_not_ready(&self) -> Option<&'static str> {
        (!self.metrics.last_success.was_ever()).then_some("no table written yet")
    }

    fn release_brake(&self) -> bool {
        self.lever.pull()
    }

    async fn debug(&self, _: &Uri) -> Option<String> {
        None
    }

    fn paths(&self) -> &'static str {
        "/metrics, /healthz or /readyz"
    }
}
