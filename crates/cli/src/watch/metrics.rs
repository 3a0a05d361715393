//! Prometheus metrics of `byname watch`.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    cluster_feed::FeedMetrics,
    daemon::metrics::{LastSuccess, seconds, text},
};

/// All metrics.
pub(super) struct Metrics {
    registry: Registry,
    pub(super) feed: Arc<FeedMetrics>,
    pub(super) compiles: Counter,
    pub(super) compile_failures: Counter,
    pub(super) compile_seconds: Histogram,
    pub(super) writes: Counter,
    pub(super) write_failures: Counter,
    pub(super) table_version: Gauge<u64, AtomicU64>,
    pub(super) services: Gauge,
    pub(super) endpoints: Gauge,
    pub(super) left_out: Gauge,
    /// When the file was last up to date. The last known good file stays in use afterwards.
    pub(super) last_success: LastSuccess,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("byname_watch"),
            feed: Arc::default(),
            compiles: Counter::default(),
            compile_failures: Counter::default(),
            compile_seconds: seconds(),
            writes: Counter::default(),
            write_failures: Counter::default(),
            table_version: Gauge::default(),
            services: Gauge::default(),
            endpoints: Gauge::default(),
            left_out: Gauge::default(),
            last_success: LastSuccess::default(),
        };
        let all = &mut metrics.registry;
        metrics.feed.register(all);
        all.register("compiles", "Compilations of a table", metrics.compiles.clone());
        all.register("compile_failures", "Failed compilations of a table", metrics.compile_failures.clone());
        all.register("compile_seconds", "Duration of compilations", metrics.compile_seconds.clone());
        all.register("writes", "Writes of the file", metrics.writes.clone());
        all.register("write_failures", "Failed writes of the file", metrics.write_failures.clone());
        all.register("table_version", "Version of the table in the file", metrics.table_version.clone());
        all.register("services", "Services in the file", metrics.services.clone());
        all.register("endpoints", "Ready endpoints in the file", metrics.endpoints.clone());
        all.register(
            "left_out",
            "Entries left out of the table because the filter would refuse them",
            metrics.left_out.clone(),
        );
        metrics.last_success.register(
            all,
            "last_success_timestamp_seconds",
            "Time of the last compilation whose table is in the file",
        );
        metrics
    }

    /// The metrics in OpenMetrics text format.
    pub(super) fn text(&self) -> String {
        text(&self.registry)
    }
}
