//! Prometheus metrics of where the cluster comes from.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::kubernetes::ClusterState;

/// A metric with a label for the kind of object.
type ByKind<T> = Family<[(&'static str, &'static str); 1], T>;

/// The metrics of a cluster's source.
#[derive(Debug, Default)]
pub(crate) struct FeedMetrics {
    objects: ByKind<Gauge>,
    unreadable: Gauge,
    pub(super) watch_errors: ByKind<Counter>,
    pub(super) watch_restarts: ByKind<Counter>,
    pub(super) watches_failing: Gauge,
    pub(super) brake_held: ByKind<Gauge>,
    pub(super) read_failures: Counter,
}

/// The labels for `kind`.
pub(super) fn of_kind(kind: &'static str) -> [(&'static str, &'static str); 1] {
    [("kind", kind)]
}

impl FeedMetrics {
    /// Adds the metrics to a registry.
    pub(crate) fn register(&self, all: &mut Registry) {
        all.register("objects", "Objects known", self.objects.clone());
        all.register("unreadable_objects", "Objects of the API that cannot be read", self.unreadable.clone());
        all.register("errors", "Failed lists and watches", self.watch_errors.clone());
        all.register("restarts", "Lists that were restarted", self.watch_restarts.clone());
        all.register("failing", "Watches whose last attempt failed", self.watches_failing.clone());
        all.register("brake_held", "Vanished objects that the brake keeps in use", self.brake_held.clone());
        all.register("read_failures", "Failed reads of files", self.read_failures.clone());
    }

    pub(super) fn count(&self, cluster: &ClusterState, unreadable: usize) {
        let counts = [
            ("Service", cluster.services.len()),
            ("EndpointSlice", cluster.slices.len()),
            ("Pod", cluster.pods.len()),
            ("Node", cluster.nodes.len()),
            ("Namespace", cluster.namespaces.len()),
        ];
        for (kind, count) in counts {
            self.objects.get_or_create(&of_kind(kind)).set(number(count));
        }
        self.unreadable.set(number(unreadable));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
