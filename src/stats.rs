//! Counters and gauges, which Envoy shows under `wasmcustom.`: a counter for each reason, and gauges of the table in
//! use.

use std::cell::{Cell, OnceCell, RefCell};

use byname_core::{Config, Events, HashMap, Reason, Resolution, Service, trace::Difference};

use crate::host::{self, Metric, MetricKind};

thread_local! {
    /// Defined once per VM, because every definition takes a new id and configurations change.
    static STATS: OnceCell<Metrics> = const { OnceCell::new() };
}

const STREAM_METRICS: usize = 8;
/// The metrics of a stream that only grow, which come first.
const STREAM_COUNTERS: usize = 5;
/// The place of the metric that is a time.
const STREAM_LOST: usize = 7;

/// Requests that waited for the server, that were decided without its answer, streams that were opened, messages that were refused,
/// streams that failed; whether a stream is open, the keys that are subscribed, and when a stream was lost, in seconds since 1970.
pub(crate) type StreamCounts = [u32; STREAM_METRICS];

/// The gauges of the configuration in use: 1 at a gateway that passes every request on; 1 where requests may be observed; fields of a newer
/// version of byname; the table; Services that were left out of the first configuration.
const CONFIGURATION_GAUGES: [&str; 8] = [
    "byname.passive",
    "byname.observing",
    "byname.fields_left_out",
    "byname.table.version",
    "byname.table.services",
    "byname.table.endpoints",
    "byname.table.addresses_dropped",
    "byname.table.left_out",
];

/// The metrics of this VM. A metric that the host cannot define stays `None`.
struct Metrics {
    reasons: [Option<Metric>; Reason::ALL.len()],
    host_errors: Option<Metric>,
    configurations_refused: Option<Metric>,
    /// Of the stream to a server, in the order of [`StreamCounts`].
    stream: [Option<Metric>; STREAM_METRICS],
    endpoint_ejections: Option<Metric>,
    endpoint_returns: Option<Metric>,
    /// Of requests that are observed, by reason and difference. Each is defined at its first request.
    observed: RefCell<Vec<(usize, Option<Metric>)>>,
    /// Of the configuration in use, in the order of [`CONFIGURATION_GAUGES`].
    configuration: [Option<Metric>; CONFIGURATION_GAUGES.len()],
    /// Requests to Services beyond the limit on counters per Service.
    other_services: Option<Metric>,
    /// Counters by `namespace/name`.
    services_asked_for: RefCell<HashMap<Box<str>, Option<Metric>>>,
}

impl Metrics {
    #[cold]
    #[inline(never)]
    fn define() -> Self {
        let counter = |name: &str| host::define_metric(MetricKind::Counter, name).ok();
        let gauge = |name: &str| host::define_metric(MetricKind::Gauge, name).ok();
        Self {
            reasons: Reason::ALL.map(|reason| counter(&format!("byname.reason.{reason}"))),
            host_errors: counter("byname.host_errors"),
            configurations_refused: counter("byname.configurations_refused"),
            stream: [
                counter("byname.stream.waits"),
                counter("byname.stream.timeouts"),
                counter("byname.stream.opened"),
                counter("byname.stream.rejections"),
                counter("byname.stream.failures"),
                gauge("byname.stream.open"),
                gauge("byname.stream.keys"),
                gauge("byname.stream.lost_timestamp_seconds"),
            ],
            endpoint_ejections: counter("byname.endpoint_ejections"),
            endpoint_returns: counter("byname.endpoint_returns"),
            observed: RefCell::default(),
            configuration: CONFIGURATION_GAUGES.map(gauge),
            other_services: counter("byname.service_requests_other"),
            services_asked_for: RefCell::default(),
        }
    }

    /// The counter of observed requests with this difference and reason, defined on the first of them.
    fn of_observed(&self, difference: Difference, reason: Reason) -> Option<Metric> {
        // Always succeeds, because no code below counts a request while it holds the list.
        let mut known = self.observed.try_borrow_mut().ok()?;
        let key = difference as usize * Reason::ALL.len() + reason.index();
        if let Some((_, metric)) = known.iter().find(|(other, _)| *other == key) {
            return *metric;
        }
        let metric = host::define_metric(MetricKind::Counter, &difference.counter(reason)).ok();
        known.push((key, metric));
        metric
    }

    /// The counter of `service`, defined on the first request. A Service that is deleted keeps its counter, so there are
    /// never more than `most`.
    fn of(&self, service: &Service, most: usize) -> Option<Metric> {
        // Always succeeds, because no code below counts a request while it holds the map.
        let Ok(mut known) = self.services_asked_for.try_borrow_mut() else { return None };
        if let Some(metric) = known.get(service.key()) {
            return *metric;
        }
        if known.len() >= most {
            return self.other_services;
        }
        let name = format!("byname.service_requests.{}.{}", service.namespace(), service.name());
        let metric = host::define_metric(MetricKind::Counter, &name).ok();
        known.insert(service.key().into(), metric);
        metric
    }
}

/// Counts one request by its resolution.
pub(crate) fn count(config: &Config, resolution: &Resolution<'_>) {
    increment(|stats| stats.reasons.get(resolution.reason().index()).copied().flatten());
    if config.counted_services() > 0 {
        count_service(config, resolution);
    }
}

/// Counts one request that is observed.
pub(crate) fn count_observed(difference: Difference, reason: Reason) {
    increment(|stats| stats.of_observed(difference, reason));
}

#[inline(never)]
fn count_service(config: &Config, resolution: &Resolution<'_>) {
    if let Resolution::Route(route) = resolution
        && let Some(service) = route.destination.service()
    {
        increment(|stats| stats.of(service, config.counted_services()));
    }
}

/// Increments the metric if it is defined. If the host refuses, only this count is lost.
fn increment(metric: impl FnOnce(&Metrics) -> Option<Metric>) {
    increment_by(1, metric);
}

fn increment_by(by: u32, metric: impl FnOnce(&Metrics) -> Option<Metric>) {
    if by == 0 {
        return;
    }
    STATS.with(|stats| {
        if let Some(metric) = metric(stats.get_or_init(Metrics::define)) {
            let _ = host::increment(metric, by);
        }
    });
}

/// Counts a host call that failed during a request.
pub(crate) fn count_host_error() {
    increment(|stats| stats.host_errors);
}

/// Shows what has become of a plugin's stream to a server. `shown` is what was shown of it before. Envoy adds up plugins and VMs.
#[inline(never)]
pub(crate) fn show_stream(shown: &Cell<StreamCounts>, counts: StreamCounts) {
    let before = shown.replace(counts);
    STATS.with(|stats| {
        let stats = stats.get_or_init(Metrics::define);
        for (place, ((metric, now), before)) in stats.stream.iter().zip(counts).zip(before).enumerate() {
            let change = i64::from(now) - i64::from(before);
            // A counter that begins anew has counted nothing yet.
            if let Some(metric) = metric
                && (change > 0 || change < 0 && place >= STREAM_COUNTERS)
            {
                let _ = match place {
                    // Not the sum of all workers: that of the last one.
                    STREAM_LOST => host::record(*metric, now.into()),
                    _ => host::add(*metric, change),
                };
            }
        }
    });
}

/// Counts a refused configuration.
pub(crate) fn count_refused_configuration() {
    increment(|stats| stats.configurations_refused);
}

/// Counts endpoints that were ejected, and ejections that ended.
pub(crate) fn count_events(events: Events) {
    if events.ejected != 0 || events.returned != 0 {
        count_some_events(events);
    }
}

#[cold]
#[inline(never)]
fn count_some_events(events: Events) {
    increment_by(events.ejected, |stats| stats.endpoint_ejections);
    increment_by(events.returned, |stats| stats.endpoint_returns);
}

/// Sets the gauges for the configuration in use.
pub(crate) fn show(config: &Config) {
    let table = &config.table;
    // `usize` is 32 bits wide here.
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    STATS.with(|stats| {
        let stats = stats.get_or_init(Metrics::define);
        let values = [
            u64::from(config.is_passive()),
            u64::from(config.may_observe()),
            wide(config.left_out().count),
            table.version(),
            wide(table.services()),
            wide(table.endpoints()),
            wide(table.addresses_dropped()),
            wide(config.services_left_out().count),
        ];
        for (metric, value) in stats.configuration.into_iter().zip(values) {
            if let Some(metric) = metric {
                let _ = host::record(metric, value);
            }
        }
    });
}
