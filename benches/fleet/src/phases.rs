//! The parts of a run, one after the other.

use std::{fs, time::Duration};

use anyhow::{Context, Result, ensure};
use byname_test_support::{ServeProcess, tls::TestCa};
use tokio::time::{Instant, interval, sleep};

use crate::{
    beside,
    dialect::Dialect,
    fleet::{Fleet, NAMES, SETTLED, STARTS_PER_SECOND},
    herd, own_streams,
    process::{cpu_time, memory},
    real_sidecar::RealSidecar,
    recorder::{Kind, Recorder, quantile},
    report::{FleetReport, Measured},
    setting::{Cost, FleetPlan, Load, Setting, churn},
    sidecar::Upstream,
    synthetic::{ClusterSize, SyntheticCluster, namespace},
    watch::WatchProcess,
    whole_table,
};

/// Changes a second while nobody is connected, and for how long.
const ALONE: Load = (100, Duration::from_secs(5));

/// A part that can be measured alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// What a change of endpoints costs real sidecars, with and without a server
    Change,
    /// istiod and `byname watch` on a real API
    Beside,
}

/// Runs all parts, or only one.
pub(crate) async fn run(plan: &FleetPlan, only: Option<Part>, report: &mut FleetReport) -> Result<()> {
    if only == Some(Part::Beside) {
        let beside = plan.beside.as_ref().context("the part beside needs istiod: run it as root and with Go")?;
        return beside::measure(beside, report).await;
    }
    let ClusterSize { services, endpoints } = plan.cluster;
    eprintln!("{services} Services with {endpoints} endpoints each, {} sidecars of {NAMES} names each", plan.sidecars);
    let cluster = SyntheticCluster::start(plan.cluster).await?;
    let mut setting = Setting { cluster, directory: tempfile::tempdir()?, plan: *plan, report };
    if only == Some(Part::Change) {
        return whole_table::measure(&mut setting).await;
    }
    let of_change = setting.endpoints().await?;
    own_streams::measure(&mut setting, of_change).await?;
    whole_table::measure(&mut setting).await?;
    if plan.with_tls > 0 {
        setting.tls(plan.with_tls).await?;
    }
    for &(visible, sidecars) in plan.names {
        setting.names(visible, sidecars.min(plan.sidecars)).await?;
    }
    if plan.servers_of_herd > 1 {
        for dialect in [Dialect::Envoy, Dialect::Filter] {
            herd::measure(&mut setting, dialect, plan.servers_of_herd).await?;
        }
    }
    if plan.watches > 0 {
        setting.watches(plan.watches).await?;
    }
    let Setting { report, cluster, directory, .. } = setting;
    drop((cluster, directory));
    match &plan.beside {
        Some(beside) => beside::measure(beside, report).await,
        None => Ok(()),
    }
}

impl Setting<'_> {
    /// Streams that open, and endpoints that change. Returns the CPU for a change that nobody is told of.
    async fn endpoints(&mut self) -> Result<f64> {
        let ClusterSize { services, endpoints } = self.plan.cluster;
        self.report.begin(format!("a server with {services} Services × {endpoints} endpoints starts"));
        let start = Instant::now();
        let server = self.server(&[]).await?;
        let id = server.id();
        self.report.add("time until it is ready", "", &[Measured::Time(start.elapsed())]);
        sleep(SETTLED).await;
        self.report.add("memory without streams", "", &[Measured::Bytes(memory(id, "VmRSS")? as f64)]);

        let before = cpu_time(id)?;
        let recorder = Recorder::default();
        churn(&mut self.cluster, &recorder, ALONE).await;
        let alone = (cpu_time(id)? - before).as_secs_f64() / recorder.changes() as f64;
        let what = "CPU for a change of endpoints that nobody is told of";
        self.report.add(what, "", &[Measured::Time(Duration::from_secs_f64(alone))]);

        let fleet = self.connect(Dialect::Envoy, &server).await?;
        let real = RealSidecar::of_server("serve.yaml", &server, services).await?;
        sleep(SETTLED).await;
        let cost = Cost { of_change: alone, idle: self.idle(&server).await? };
        for &load in self.plan.churns {
            self.churn(&fleet, &server, Some(real.envoy.id()), load, cost).await?;
        }
        self.popular(&fleet, &server).await?;
        self.report.add(
            "memory of the server, highest until here",
            "1 GB",
            &[Measured::Bytes(memory(id, "VmHWM")? as f64)],
        );
        Ok(alone)
    }

    /// Sidecars with TLS of their own, and certificates that say who they are.
    async fn tls(&mut self, sidecars: usize) -> Result<()> {
        let ca = TestCa::new();
        let file = |name: &str| self.directory.path().join(name).display().to_string();
        let (certificate, key, authority) = (file("tls.crt"), file("tls.key"), file("ca.crt"));
        let own = ca.issue(&["localhost"], &[]);
        for (file, text) in [(&certificate, &own.certificate), (&key, &own.key), (&authority, &ca.pem())] {
            fs::write(file, text)?;
        }
        let arguments = ["--identity", "certificate", "--tls-cert-file", &certificate, "--tls-private-key-file", &key];
        let arguments = [&arguments[..], &["--client-ca-file", &authority]].concat();
        let server = self.server(&arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()).await?;
        let shown = ca.issue(&[], &[&format!("spiffe://cluster.local/ns/{}/sa/default", namespace(0))]);
        let tls = Some(ca.client(Some(&shown)));
        let id = server.id();
        sleep(SETTLED).await;
        let (cpu, resident) = (cpu_time(id)?, memory(id, "VmRSS")?);
        let upstream = Upstream { addresses: vec![server.address], tls, dialect: Dialect::Envoy };
        // They share an identity, which has half of all new streams.
        let fleet = Fleet::start_at(sidecars, upstream, self.plan.cluster.services, STARTS_PER_SECOND / 2).await?;
        sleep(SETTLED).await;
        let each = |number: f64| number / sidecars as f64;
        let cpu = Measured::Time(Duration::from_secs_f64(each((cpu_time(id)? - cpu).as_secs_f64())));
        let resident = Measured::Bytes(each(memory(id, "VmRSS")?.saturating_sub(resident) as f64));
        self.report.begin(format!("{sidecars} sidecars with TLS and certificates connect, with {NAMES} names each"));
        self.report.add("CPU for each", "", &[cpu]);
        self.report.add("memory for each", "20 kB", &[resident]);
        let first = fleet.recorder.changes();
        if let Some(&load) = self.plan.churns.first() {
            churn(&mut self.cluster, &fleet.recorder, load).await;
        }
        sleep(SETTLED).await;
        let last = fleet.recorder.latencies(first).last;
        let times = [0.5, 0.99].map(|part| Measured::Time(quantile(&last, part).unwrap_or_default()));
        self.report.add("from a change to its last receipt, p50 and p99", "100 ms, 500 ms", &times);
        Ok(())
    }

    /// The Service that all sidecars use changes.
    async fn popular(&mut self, fleet: &Fleet, server: &ServeProcess) -> Result<()> {
        let (first, before) = (fleet.recorder.changes(), cpu_time(server.id())?);
        for _ in 0..self.plan.popular_changes {
            let number = fleet.recorder.begin_change();
            self.cluster.change(0, number);
            fleet.wait_until("all have the change", || fleet.recorder.receipts(number) >= fleet.streams).await?;
            sleep(Duration::from_millis(500)).await;
        }
        let cpu = (cpu_time(server.id())? - before) / u32::try_from(self.plan.popular_changes)?;
        let latencies = fleet.recorder.latencies(first).last;
        let times = [0.5, 1.0].map(|part| Measured::Time(quantile(&latencies, part).unwrap_or_default()));
        self.report.begin(format!("a Service that all {} use changes", fleet.streams));
        self.report.add("to its last receipt, p50 and longest", "", &times);
        self.report.add("CPU of the server for each change", "", &[Measured::Time(cpu)]);
        Ok(())
    }

    /// Each second a Service appears and another one goes.
    async fn names(&mut self, visible: usize, sidecars: usize) -> Result<()> {
        let namespaces: std::collections::BTreeSet<String> = (0..visible).map(namespace).collect();
        let arguments: Vec<String> = namespaces.into_iter().flat_map(|name| ["--visible".to_owned(), name]).collect();
        let server = self.server(&arguments).await?;
        let fleet = Fleet::start(Dialect::Envoy, sidecars, &[&server], visible).await?;
        let real = RealSidecar::of_server("serve.yaml", &server, visible).await?;
        sleep(SETTLED).await;
        let sent = fleet.recorder.count(Kind::Filter);
        let cpu_times = || anyhow::Ok([cpu_time(server.id())?, cpu_time(real.envoy.id())?]);
        let (before, start) = (cpu_times()?, Instant::now());
        let mut ticks = interval(Duration::from_secs(1));
        for number in 0..self.plan.names_seconds {
            ticks.tick().await;
            self.cluster.create(number);
            if number > 0 {
                self.cluster.remove(number - 1);
            }
        }
        ticks.tick().await;
        let seconds = start.elapsed().as_secs_f64();
        sleep(SETTLED).await;
        let after = cpu_times()?;
        self.cluster.remove(self.plan.names_seconds - 1);
        let used: Vec<f64> = after.iter().zip(before).map(|(after, before)| (*after - before).as_secs_f64()).collect();
        let [of_server, of_sidecar] = used[..] else { return Ok(()) };
        let sent = fleet.recorder.count(Kind::Filter) - sent;
        ensure!(sent.messages > 0, "no change of {visible} names came in {seconds:.0} s:\n{}", server.log());
        self.report.begin(format!("{visible} visible names, one new and one gone each second, {sidecars} sidecars"));
        let each = sent.messages as f64 / sidecars as f64;
        self.report.add("CPU of the server", "", &[Measured::Cores(of_server / seconds)]);
        self.report.add("bytes of a push", "", &[Measured::Bytes(sent.bytes as f64 / sent.messages as f64)]);
        self.report.add("pushes a second to each sidecar", "", &[Measured::Count(each / seconds)]);
        let for_push = Measured::Time(Duration::from_secs_f64(of_server / sent.messages as f64));
        self.report.add("CPU of the server for a push", "", &[for_push]);
        self.report.add("CPU of a real sidecar", "", &[Measured::Cores(of_sidecar / seconds)]);
        let target = if visible <= 1_000 { "110 MB" } else { "" };
        self.report.add(
            "memory of a real sidecar",
            target,
            &[Measured::Bytes(memory(real.envoy.id(), "VmRSS")? as f64)],
        );
        self.report.add("memory of the server, highest", "", &[Measured::Bytes(memory(server.id(), "VmHWM")? as f64)]);
        Ok(())
    }

    /// What `byname watch` takes beside each sidecar, on the same cluster.
    async fn watches(&mut self, count: usize) -> Result<()> {
        let kubeconfig = self.cluster.kubeconfig(self.directory.path());
        let mut watches = Vec::new();
        for number in 0..count {
            watches.push(WatchProcess::start(&kubeconfig, &self.directory.path().join(format!("{number}.json")))?);
        }
        for watch in &watches {
            watch.wait_for_table().await;
        }
        sleep(SETTLED).await;
        let used = || watches.iter().map(|watch| cpu_time(watch.id())).sum::<Result<Duration>>();
        let (before, start) = (used()?, Instant::now());
        churn(&mut self.cluster, &Recorder::default(), (1, Duration::from_secs(10))).await;
        let cores = (used()? - before).as_secs_f64() / start.elapsed().as_secs_f64() / count as f64;
        self.report.begin(format!("byname watch on the same cluster, {count} at once, one change a second"));
        self.report.add("CPU of each", "", &[Measured::Cores(cores)]);
        if let Some(watch) = watches.first() {
            let resident = memory(watch.id(), "VmRSS")? as f64;
            self.report.add("memory of each", "", &[Measured::Bytes(resident)]);
        }
        Ok(())
    }
}
