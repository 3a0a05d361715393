//! What `byname serve` says of itself over HTTP.

use std::sync::Arc;

use hyper::Uri;
use tokio::sync::{mpsc, oneshot};

use super::metrics::Metrics;
use crate::{cluster_feed::BrakeLever, daemon::http::Monitored};

/// A question to the control plane.
pub(super) struct Question {
    pub(super) about: Topic,
    pub(super) answer: oneshot::Sender<String>,
}

pub(super) enum Topic {
    Streams,
    /// What the Envoy with this node id subscribes to.
    Resources(String),
}

/// The metrics, the brake, and a way to ask the control plane.
pub(super) struct Monitor {
    pub(super) metrics: Arc<Metrics>,
    pub(super) lever: Arc<BrakeLever>,
    pub(super) questions: mpsc::Sender<Question>,
}

impl Monitored for Monitor {
    fn metrics(&self) -> String {
        self.metrics.text()
    }

    fn why_not_ready(&self) -> Option<&'static str> {
        (!self.metrics.last_update.was_ever()).then_some("the cluster is not read yet")
    }

    fn release_brake(&self) -> bool {
        self.lever.pull()
    }

    async fn debug(&self, uri: &Uri) -> Option<String> {
        let about = match (uri.path(), uri.query().and_then(|query| query.strip_prefix("node="))) {
            ("/debug/streams", _) => Topic::Streams,
            ("/debug/resources", Some(node)) => Topic::Resources(node.to_owned()),
            ("/debug/resources", None) => return Some("add ?node=ID; /debug/streams lists the ids\n".to_owned()),
            _ => return None,
        };
        let (answer, answered) = oneshot::channel();
        self.questions.send(Question { about, answer }).await.ok()?;
        answered.await.ok()
    }

    fn paths(&self) -> &'static str {
        "/metrics, /healthz, /readyz, /debug/streams or /debug/resources?node=ID"
    }
}
