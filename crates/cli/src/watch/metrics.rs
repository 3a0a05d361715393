//! Prometheus metrics of `byname watch`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use crate::cluster_feed::FeedMetrics;

/// All metrics.
pub(super) struct Metrics {
    registry: Registry,
    ready: AtomicBool,
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
    last_success: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("byname_watch"),
            ready: AtomicBool::new(false),
            feed: Arc::default(),
            compiles: Counter::default(),
            compile_failures: Counter::default(),
            compile_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            writes: Counter::default(),
            write_failures: Counter::default(),
            table_version: Gauge::default(),
            services: Gauge::default(),
            endpoints: Gauge::default(),
            left_out: Gauge::default(),
            last_success: Gauge::default(),
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
        all.register(
            "last_success_timestamp_seconds",
            "Time of the last compilation whose table is in the file",
            metrics.last_success.clone(),
        );
        metrics
    }

    /// Records that the file is up to date.
    pub(super) fn succeeded(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.last_success.set(since.unwrap_or_default().as_secs_f64());
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Whether the file was ever up to date. The last known good file stays in use afterwards.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// The metrics in OpenMetrics text format.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
