//! What the metrics of all these commands share.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::SystemTime,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// The metrics of a registry in OpenMetrics text format.
pub(crate) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, registry);
    text
}

/// A histogram of durations from a millisecond to 16 seconds.
pub(crate) fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 8))
}

/// When what a command keeps current last was.
#[derive(Default)]
pub(crate) struct LastSuccess {
    was_ever: AtomicBool,
    timestamp: Gauge<f64, AtomicU64>,
}

impl LastSuccess {
    /// Adds the time to a registry.
    pub(crate) fn register(&self, all: &mut Registry, name: &str, help: &str) {
        all.register(name, help, self.timestamp.clone());
    }

    /// Records that it is current now.
    pub(crate) fn set_now(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.timestamp.set(since.unwrap_or_default().as_secs_f64());
        self.was_ever.store(true, Ordering::Relaxed);
    }

    /// Whether it ever was.
    pub(crate) fn was_ever(&self) -> bool {
        self.was_ever.load(Ordering::Relaxed)
    }
}
