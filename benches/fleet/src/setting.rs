//! The synthetic cluster that servers and sidecars share in a run, and the figures that several parts have.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;
use byname_test_support::ServeProcess;
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::{
    beside::BesidePlan,
    dialect::Dialect,
    fleet::{Fleet, NAMES, SETTLED},
    process::{cpu_time, idle_cores, memory},
    recorder::{Recorder, quantile},
    report::{FleetReport, Measured},
    synthetic::{ClusterSize, SyntheticCluster},
};

/// Changes of endpoints a second, and for how long.
pub(crate) type Load = (u32, Duration);

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct FleetPlan {
    /// The longest time that a run may take.
    pub(crate) limit: Duration,
    pub(crate) cluster: ClusterSize,
    pub(crate) sidecars: usize,
    /// How long a process is looked at while nothing changes.
    pub(crate) idle: Duration,
    /// Changes of endpoints for Envoy's streams.
    pub(crate) churns: &'static [Load],
    /// Changes of the Service that every sidecar uses.
    pub(crate) popular_changes: usize,
    /// Changes of endpoints for the filter's own streams.
    pub(crate) churn_of_filter: Load,
    /// Changes of endpoints for a real sidecar, and of the whole table of another.
    pub(crate) changes_of_sidecar: [usize; 2],
    /// Numbers of visible names, each with as many sidecars at most.
    pub(crate) names: &'static [(usize, usize)],
    /// Seconds of one new Service and one removed.
    pub(crate) names_seconds: usize,
    /// Servers of which one is killed, or none.
    pub(crate) servers_of_herd: usize,
    /// Sidecars with TLS and a certificate.
    pub(crate) with_tls: usize,
    /// Processes of `byname watch` on the same cluster.
    pub(crate) watches: usize,
    /// istiod and `byname watch` on a real API, if there may be one.
    pub(crate) beside: Option<BesidePlan>,
}

/// The cluster, and where files of a run go.
pub(crate) struct Setting<'r> {
    pub(crate) cluster: SyntheticCluster,
    pub(crate) directory: TempDir,
    pub(crate) plan: FleetPlan,
    pub(crate) report: &'r mut FleetReport,
}

/// What a server uses besides what it sends.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// Seconds of CPU for a change that nobody is told of.
    pub(crate) of_change: f64,
    /// Cores while nothing changes.
    pub(crate) idle: f64,
}

impl Setting<'_> {
    pub(crate) async fn server(&self, arguments: &[String]) -> Result<ServeProcess> {
        ServeProcess::start(&self.cluster.kubeconfig(self.directory.path()), arguments).await
    }

    /// Connects all sidecars to a server.
    pub(crate) async fn connect(&mut self, dialect: Dialect, server: &ServeProcess) -> Result<Fleet> {
        let (id, sidecars) = (server.id(), self.plan.sidecars);
        let (who, of) = match dialect.streams_of_sidecar() {
            1 => (format!("{sidecars} sidecars"), "each"),
            streams => (format!("{} of {sidecars} sidecars", streams * sidecars), "each stream"),
        };
        self.report.begin(format!("{}{who} connect, with {NAMES} names each", dialect.heading()));
        let (cpu, resident) = (cpu_time(id)?, memory(id, "VmRSS")?);
        let fleet = Fleet::start(dialect, sidecars, &[server], self.plan.cluster.services).await?;
        sleep(SETTLED).await;
        let per_stream = |number: f64| number / fleet.streams as f64;
        let cpu = (cpu_time(id)? - cpu).as_secs_f64();
        self.report.add(format!("CPU for {of}"), "", &[Measured::Time(Duration::from_secs_f64(per_stream(cpu)))]);
        let bytes = Measured::Bytes(per_stream(fleet.recorder.bytes() as f64));
        self.report.add(format!("bytes for {of}"), "", &[bytes]);
        let memory_of_streams = memory(id, "VmRSS")?.saturating_sub(resident) as f64;
        self.report.add(format!("memory for {of}"), "20 kB", &[Measured::Bytes(per_stream(memory_of_streams))]);
        let refused = Measured::Count(fleet.recorder.refusals() as f64);
        self.report.add("streams that were refused at first", "", &[refused]);
        Ok(fleet)
    }

    /// Measures the cores that a server uses while nothing changes.
    pub(crate) async fn idle(&mut self, server: &ServeProcess) -> Result<f64> {
        let idle = idle_cores(server.id(), self.plan.idle).await?;
        self.report.add("CPU of the server while nothing changes", "", &[Measured::Cores(idle)]);
        Ok(idle)
    }

    /// Measures a server whose sidecars receive changes of endpoints, and the process of a real sidecar, if there is one.
    pub(crate) async fn churn(
        &mut self,
        fleet: &Fleet,
        server: &ServeProcess,
        real: Option<u32>,
        load: Load,
        cost: Cost,
    ) -> Result<()> {
        let of_harness = std::process::id();
        let kind = fleet.dialect.endpoints();
        let (first, sent) = (fleet.recorder.changes(), fleet.recorder.count(kind));
        let cpu_times = || {
            let of_sidecar = real.map_or(Ok(Duration::ZERO), cpu_time)?;
            anyhow::Ok([cpu_time(server.id())?, cpu_time(of_harness)?, of_sidecar])
        };
        let (before, start) = (cpu_times()?, Instant::now());
        let last_changes = churn(&mut self.cluster, &fleet.recorder, load).await;
        // Rates are those of the time in which something changes. What arrives later still counts.
        let seconds = start.elapsed().as_secs_f64();
        sleep(SETTLED).await;
        let (after, with_rest) = (cpu_times()?, start.elapsed().as_secs_f64());
        let changes = fleet.recorder.changes() - first;
        let used: Vec<f64> = after.iter().zip(before).map(|(after, before)| (*after - before).as_secs_f64()).collect();
        let [of_server, of_harness, of_sidecar] = used[..] else { return Ok(()) };
        let sent = fleet.recorder.count(kind) - sent;
        let latencies = fleet.recorder.latencies(first);
        self.report.begin(format!("{}{} changes of endpoints a second", fleet.dialect.heading(), load.0));
        self.report.add("CPU of the server", "1 core", &[Measured::Cores(of_server / seconds)]);
        self.report.add("messages a second", "", &[Measured::Count(sent.messages as f64 / seconds)]);
        let for_sends = of_server - cost.of_change * changes as f64 - cost.idle * with_rest;
        let for_sends = for_sends.max(0.0) / sent.messages as f64;
        let for_sends = Measured::Time(Duration::from_secs_f64(for_sends));
        self.report.add("CPU for a message and its ACK", "20 µs", &[for_sends]);
        self.report.add("bytes of a message", "100 kB", &[Measured::Bytes(sent.bytes as f64 / sent.messages as f64)]);
        let both =
            |sorted: &[Duration]| [0.5, 0.99].map(|part| Measured::Time(quantile(sorted, part).unwrap_or_default()));
        self.report.add("from a change to a receipt, p50 and p99", "", &both(&latencies.each));
        let target = "100 ms, 500 ms";
        self.report.add("from a change to its last receipt, p50 and p99", target, &both(&latencies.last));
        let missing = Measured::Count(fleet.missing_receipts(&last_changes) as f64);
        self.report.add("missing receipts of the last change of each Service", "0", &[missing]);
        if real.is_some() {
            self.report.add("CPU of a real sidecar", "", &[Measured::Cores(of_sidecar / seconds)]);
        }
        self.report.add("CPU of the simulated sidecars and the API", "", &[Measured::Cores(of_harness / seconds)]);
        Ok(())
    }
}

/// Changes endpoints of random Services. Returns the last change of each.
pub(crate) async fn churn(
    cluster: &mut SyntheticCluster,
    recorder: &Recorder,
    (rate, time): Load,
) -> HashMap<usize, usize> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (start, mut last_changes) = (Instant::now(), HashMap::new());
    while start.elapsed() < time {
        ticks.tick().await;
        let service = cluster.any();
        let number = recorder.begin_change();
        cluster.change(service, number);
        last_changes.insert(service, number);
    }
    last_changes
}
