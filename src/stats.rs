//! Counters and gauges, as Envoy shows them under `wasmcustom.`: one counter for each reason, and what table is served.

use std::cell::OnceCell;

use byname_core::{Config, Reason};

use crate::host::{self, Metric, MetricKind};

thread_local! {
    /// Defined once in a VM: configurations come and go, and every definition takes a new id.
    static STATS: OnceCell<Stats> = const { OnceCell::new() };
}

/// The metrics of this VM. One that the host would not define is not counted.
struct Stats {
    reasons: [Option<Metric>; Reason::ALL.len()],
    host_errors: Option<Metric>,
    configurations_refused: Option<Metric>,
    table_version: Option<Metric>,
    services: Option<Metric>,
    endpoints: Option<Metric>,
    addresses_dropped: Option<Metric>,
}

impl Stats {
    fn define() -> Self {
        let counter = |name: &str| host::define_metric(MetricKind::Counter, name).ok();
        let gauge = |name: &str| host::define_metric(MetricKind::Gauge, name).ok();
        Self {
            reasons: Reason::ALL.map(|reason| counter(&format!("byname.reason.{reason}"))),
            host_errors: counter("byname.host_errors"),
            configurations_refused: counter("byname.configurations_refused"),
            table_version: gauge("byname.table.version"),
            services: gauge("byname.table.services"),
            endpoints: gauge("byname.table.endpoints"),
            addresses_dropped: gauge("byname.table.addresses_dropped"),
        }
    }
}

/// Counts once where the metric was defined. A count that the host does not take is lost, and nothing else.
fn count(metric: impl FnOnce(&Stats) -> Option<Metric>) {
    STATS.with(|stats| {
        if let Some(metric) = metric(stats.get_or_init(Stats::define)) {
            let _ = host::increment(metric);
        }
    });
}

/// One request was decided for this reason.
pub(crate) fn count_reason(reason: Reason) {
    count(|stats| stats.reasons.get(reason.index()).copied().flatten());
}

/// The host did not do what a request needed.
pub(crate) fn count_host_error() {
    count(|stats| stats.host_errors);
}

/// A configuration was refused.
pub(crate) fn count_refused_configuration() {
    count(|stats| stats.configurations_refused);
}

/// What is served from now on.
pub(crate) fn show(config: &Config) {
    let table = &config.table;
    // `usize` is 32 bits wide here.
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    STATS.with(|stats| {
        let stats = stats.get_or_init(Stats::define);
        let values = [
            (stats.table_version, table.version()),
            (stats.services, wide(table.services())),
            (stats.endpoints, wide(table.endpoints())),
            (stats.addresses_dropped, wide(table.addresses_dropped())),
        ];
        for (metric, value) in values {
            if let Some(metric) = metric {
                let _ = host::record(metric, value);
            }
        }
    });
}
