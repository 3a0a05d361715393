//! Prometheus metrics of `byname serve`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    cluster_feed::FeedMetrics,
    daemon::metrics::{LastSuccess, seconds, text},
};

/// The type of resources, or the reason.
pub(super) type Label = [(&'static str, &'static str); 1];
/// The type of resources and the reason.
pub(super) type TwoLabels = [(&'static str, &'static str); 2];
type ByLabel<T> = Family<Label, T>;

/// All metrics.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) feed: Arc<FeedMetrics>,
    pub(super) streams: Gauge,
    pub(super) streams_opened: Counter,
    pub(super) streams_closed: ByLabel<Counter>,
    pub(super) connections_closed: ByLabel<Counter>,
    pub(super) callers_refused: ByLabel<Counter>,
    pub(super) names: Gauge,
    pub(super) subscriptions: ByLabel<Gauge>,
    pub(super) messages: ByLabel<Counter>,
    pub(super) resources: ByLabel<Counter>,
    pub(super) removals: ByLabel<Counter>,
    pub(super) bytes: ByLabel<Counter>,
    pub(super) rejections: Family<TwoLabels, Counter>,
    pub(super) ack_seconds: Family<Label, Histogram, fn() -> Histogram>,
    pub(super) change_ack_seconds: Family<Label, Histogram, fn() -> Histogram>,
    pub(super) update_seconds: Histogram,
    pub(super) update_failures: Counter,
    pub(super) services: Gauge,
    pub(super) clusters: Gauge,
    pub(super) left_out: Gauge,
    pub(super) is_stale: Gauge,
    /// Whether what is served is not what the cluster has, as far as the server can know.
    is_behind: AtomicBool,
    /// When what is served was last current.
    current: LastSuccess,
    /// When all that is served was last up to date.
    pub(super) last_update: LastSuccess,
}

/// The labels of a resource type.
pub(super) fn of_type(name: &'static str) -> Label {
    [("type", name)]
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("byname_serve"),
            feed: Arc::default(),
            streams: Gauge::default(),
            streams_opened: Counter::default(),
            streams_closed: Family::default(),
            connections_closed: Family::default(),
            callers_refused: Family::default(),
            names: Gauge::default(),
            subscriptions: Family::default(),
            messages: Family::default(),
            resources: Family::default(),
            removals: Family::default(),
            bytes: Family::default(),
            rejections: Family::default(),
            ack_seconds: Family::new_with_constructor(seconds),
            change_ack_seconds: Family::new_with_constructor(seconds),
            update_seconds: seconds(),
            update_failures: Counter::default(),
            services: Gauge::default(),
            clusters: Gauge::default(),
            left_out: Gauge::default(),
            is_stale: Gauge::default(),
            is_behind: AtomicBool::new(true),
            current: LastSuccess::default(),
            last_update: LastSuccess::default(),
        };
        let all = &mut metrics.registry;
        metrics.feed.register(all);
        all.register("streams", "Open streams", metrics.streams.clone());
        all.register("streams_opened", "Streams that clients opened", metrics.streams_opened.clone());
        all.register("streams_closed", "Streams that the server closed, by reason", metrics.streams_closed.clone());
        all.register(
            "connections_closed",
            "Connections without a stream that the server closed, by reason",
            metrics.connections_closed.clone(),
        );
        all.register(
            "callers_refused",
            "Clients refused because of their identity, by reason",
            metrics.callers_refused.clone(),
        );
        all.register("names", "Names that at least one stream subscribes to", metrics.names.clone());
        all.register(
            "subscriptions",
            "Names that streams subscribe to, each stream counted",
            metrics.subscriptions.clone(),
        );
        all.register("messages", "Messages sent", metrics.messages.clone());
        all.register("resources", "Resources sent", metrics.resources.clone());
        all.register("removals", "Removals sent", metrics.removals.clone());
        all.register("sent_bytes", "Bytes of resources sent", metrics.bytes.clone());
        all.register("rejections", "Messages that clients refused (NACK)", metrics.rejections.clone());
        all.register("ack_seconds", "Time from a message to its ACK or NACK", metrics.ack_seconds.clone());
        all.register(
            "change_ack_seconds",
            "Time from the arrival of a change of the cluster to each ACK of a message that passes it on",
            metrics.change_ack_seconds.clone(),
        );
        all.register(
            "update_seconds",
            "Duration of updates after a change of the cluster",
            metrics.update_seconds.clone(),
        );
        all.register("update_failures", "Updates that kept the last known good names", metrics.update_failures.clone());
        all.register("services", "Services served", metrics.services.clone());
        all.register("clusters", "Clusters that clients can ask for", metrics.clusters.clone());
        all.register("left_out", "Services left out because the filter would refuse them", metrics.left_out.clone());
        all.register(
            "stale",
            "Whether watches fail, files cannot be read or the brake holds, so that what is served may be old",
            metrics.is_stale.clone(),
        );
        metrics.current.register(
            all,
            "current_timestamp_seconds",
            "Time when the served state was last current: now, unless watches or updates fail or the brake holds",
        );
        metrics.last_update.register(all, "last_update_timestamp_seconds", "Time of the last update without an error");
        metrics
    }

    /// Takes note of whether what is served is behind the cluster, as far as the server can know.
    pub(super) fn note_behind(&self, is_behind: bool) {
        self.is_behind.store(is_behind, Ordering::Relaxed);
        // Nobody may have asked before it falls behind.
        if !is_behind {
            self.current.set_now();
        }
    }

    /// The metrics in OpenMetrics text format.
    pub(super) fn text(&self) -> String {
        if !self.is_behind.load(Ordering::Relaxed) {
            self.current.set_now();
        }
        text(&self.registry)
    }
}
