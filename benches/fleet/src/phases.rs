//! The parts of a run, one after the other.

use std::{fs, time::Duration};

use anyhow::Result;
use byname_test_support::{Connection, Envoy, RequestForm, TestUpstream, tls::TestCa};
use tempfile::TempDir;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    beside::{self, BesidePlan},
    fleet::{Fleet, NAMES, SETTLED, STARTS_PER_SECOND},
    recorder::{Kind, Recorder, quantile},
    report::{FleetReport, Measured},
    server::{ServeProcess, cpu_time, memory},
    sidecar::{Dialect, Upstream},
    synthetic::{ClusterSize, SyntheticCluster, host, namespace},
    watch::WatchProcess,
};

/// Changes a second while nobody is connected, and for how long.
const ALONE: (u32, Duration) = (100, Duration::from_secs(5));
/// Changes a second of the sidecars with TLS, and for how long.
const WITH_TLS: (u32, Duration) = (10, Duration::from_secs(5));
/// Time in which nothing changes: what connections cost by themselves.
const IDLE: Duration = Duration::from_secs(10);
/// Seconds of one new Service and one removed.
const NAMES_SECONDS: usize = 10;
/// How soon the loss of a server is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct FleetPlan {
    pub(crate) cluster: ClusterSize,
    pub(crate) sidecars: usize,
    /// Changes of endpoints a second, each for so long.
    pub(crate) churns: &'static [(u32, Duration)],
    /// Changes of the Service that every sidecar uses.
    pub(crate) popular_changes: usize,
    /// Numbers of visible names, each with as many sidecars at most.
    pub(crate) names: &'static [(usize, usize)],
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
struct Setting {
    cluster: SyntheticCluster,
    directory: TempDir,
    plan: FleetPlan,
    report: FleetReport,
}

pub(crate) async fn run(plan: &FleetPlan) -> Result<FleetReport> {
    let ClusterSize { services, endpoints } = plan.cluster;
    eprintln!("{services} Services with {endpoints} endpoints each, {} sidecars of {NAMES} names each", plan.sidecars);
    let cluster = SyntheticCluster::start(plan.cluster).await?;
    let mut setting = Setting { cluster, directory: tempfile::tempdir()?, plan: *plan, report: FleetReport::default() };
    setting.endpoints().await?;
    if plan.with_tls > 0 {
        setting.tls(plan.with_tls).await?;
    }
    for &(visible, sidecars) in plan.names {
        setting.names(visible, sidecars.min(plan.sidecars)).await?;
    }
    if plan.servers_of_herd > 1 {
        setting.herd(plan.servers_of_herd).await?;
    }
    if plan.watches > 0 {
        setting.watches(plan.watches).await?;
    }
    let Setting { mut report, cluster, directory, .. } = setting;
    drop((cluster, directory));
    if let Some(beside) = &plan.beside {
        beside::measure(beside, &mut report).await?;
    }
    Ok(report)
}

impl Setting {
    async fn server(&self, arguments: &[String]) -> Result<ServeProcess> {
        ServeProcess::start(&self.cluster.kubeconfig(self.directory.path()), arguments).await
    }

    /// Streams that open, and endpoints that change.
    async fn endpoints(&mut self) -> Result<()> {
        let (sidecars, services) = (self.plan.sidecars, self.plan.cluster.services);
        let ClusterSize { endpoints, .. } = self.plan.cluster;
        self.report.begin(format!("a server with {services} Services × {endpoints} endpoints starts"));
        let start = Instant::now();
        let server = self.server(&[]).await?;
        let id = server.id();
        self.report.add("time until it is ready", "", &[Measured::Time(start.elapsed())]);
        sleep(SETTLED).await;
        self.report.add("memory without streams", "", &[Measured::Bytes(memory(id, "VmRSS")? as f64)]);

        let before = cpu_time(id)?;
        let recorder = Recorder::default();
        let changes = churn(&mut self.cluster, &recorder, ALONE).await;
        let alone = (cpu_time(id)? - before).as_secs_f64() / changes as f64;
        let what = "CPU for a change of endpoints that nobody is told of";
        self.report.add(what, "", &[Measured::Time(Duration::from_secs_f64(alone))]);

        self.report.begin(format!("{sidecars} sidecars connect, with {NAMES} names each"));
        let (cpu, resident) = (cpu_time(id)?, memory(id, "VmRSS")?);
        let fleet = Fleet::start(sidecars, &[&server], services).await?;
        sleep(SETTLED).await;
        let per_stream = |number: f64| number / sidecars as f64;
        let cpu = (cpu_time(id)? - cpu).as_secs_f64();
        self.report.add("CPU for each", "", &[Measured::Time(Duration::from_secs_f64(per_stream(cpu)))]);
        let bytes: u64 = Kind::ALL.iter().map(|kind| fleet.recorder.count(*kind).bytes).sum();
        self.report.add("bytes for each", "", &[Measured::Bytes(per_stream(bytes as f64))]);
        let memory_of_streams = memory(id, "VmRSS")?.saturating_sub(resident) as f64;
        self.report.add("memory for each", "20 kB", &[Measured::Bytes(per_stream(memory_of_streams))]);
        let refused = Measured::Count(fleet.recorder.refusals() as f64);
        self.report.add("streams that were refused at first", "", &[refused]);

        let real = RealSidecar::start(&server, services).await?;
        sleep(SETTLED).await;
        let (before, start) = (cpu_time(id)?, Instant::now());
        sleep(IDLE).await;
        let idle = (cpu_time(id)? - before).as_secs_f64() / start.elapsed().as_secs_f64();
        self.report.add("CPU of the server while nothing changes", "", &[Measured::Cores(idle)]);
        for &(rate, time) in self.plan.churns {
            self.churn(&fleet, &server, &real, (rate, time), (alone, idle)).await?;
        }
        self.popular(&fleet, &server).await?;
        self.report.add(
            "memory of the server, highest until here",
            "1 GB",
            &[Measured::Bytes(memory(id, "VmHWM")? as f64)],
        );
        Ok(())
    }

    async fn churn(
        &mut self,
        fleet: &Fleet,
        server: &ServeProcess,
        real: &RealSidecar,
        (rate, time): (u32, Duration),
        (alone, idle): (f64, f64),
    ) -> Result<()> {
        let of_harness = std::process::id();
        let (first, sent) = (fleet.recorder.changes(), fleet.recorder.count(Kind::Endpoints));
        let cpu_times = || anyhow::Ok([cpu_time(server.id())?, cpu_time(of_harness)?, cpu_time(real.envoy.id())?]);
        let (before, start) = (cpu_times()?, Instant::now());
        let changes = churn(&mut self.cluster, &fleet.recorder, (rate, time)).await;
        sleep(SETTLED).await;
        let (after, seconds) = (cpu_times()?, start.elapsed().as_secs_f64());
        let used: Vec<f64> = after.iter().zip(before).map(|(after, before)| (*after - before).as_secs_f64()).collect();
        let [of_server, of_harness, of_sidecar] = used[..] else { return Ok(()) };
        let sent = fleet.recorder.count(Kind::Endpoints) - sent;
        let latencies = fleet.recorder.latencies(first);
        self.report.begin(format!("{rate} changes of endpoints a second"));
        self.report.add("CPU of the server", "1 core", &[Measured::Cores(of_server / seconds)]);
        self.report.add("messages a second", "", &[Measured::Count(sent.messages as f64 / seconds)]);
        let for_sends = of_server - alone * changes as f64 - idle * seconds;
        let for_sends = for_sends.max(0.0) / sent.messages as f64;
        let for_sends = Measured::Time(Duration::from_secs_f64(for_sends));
        self.report.add("CPU for a message and its ACK", "20 µs", &[for_sends]);
        self.report.add("bytes of a message", "100 kB", &[Measured::Bytes(sent.bytes as f64 / sent.messages as f64)]);
        let both =
            |sorted: &[Duration]| [0.5, 0.99].map(|part| Measured::Time(quantile(sorted, part).unwrap_or_default()));
        self.report.add("from a change to a receipt, p50 and p99", "", &both(&latencies.each));
        let target = "100 ms, 500 ms";
        self.report.add("from a change to its last receipt, p50 and p99", target, &both(&latencies.last));
        self.report.add("CPU of a real sidecar", "", &[Measured::Cores(of_sidecar / seconds)]);
        self.report.add("CPU of the simulated sidecars and the API", "", &[Measured::Cores(of_harness / seconds)]);
        Ok(())
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
        let upstream = Upstream { addresses: vec![server.address], tls, dialect: Dialect::Byname };
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
        churn(&mut self.cluster, &fleet.recorder, WITH_TLS).await;
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
            fleet.wait_until("all have the change", || fleet.recorder.receipts(number) >= fleet.size).await?;
            sleep(Duration::from_millis(500)).await;
        }
        let cpu = (cpu_time(server.id())? - before) / u32::try_from(self.plan.popular_changes)?;
        let latencies = fleet.recorder.latencies(first).last;
        let times = [0.5, 1.0].map(|part| Measured::Time(quantile(&latencies, part).unwrap_or_default()));
        self.report.begin(format!("a Service that all {} use changes", fleet.size));
        self.report.add("to its last receipt, p50 and longest", "", &times);
        self.report.add("CPU of the server for each change", "", &[Measured::Time(cpu)]);
        Ok(())
    }

    /// Each second a Service appears and another one goes.
    async fn names(&mut self, visible: usize, sidecars: usize) -> Result<()> {
        let namespaces: std::collections::BTreeSet<String> = (0..visible).map(namespace).collect();
        let arguments: Vec<String> = namespaces.into_iter().flat_map(|name| ["--visible".to_owned(), name]).collect();
        let server = self.server(&arguments).await?;
        let fleet = Fleet::start(sidecars, &[&server], visible).await?;
        let real = RealSidecar::start(&server, visible).await?;
        sleep(SETTLED).await;
        let sent = fleet.recorder.count(Kind::Filter);
        let cpu_times = || anyhow::Ok([cpu_time(server.id())?, cpu_time(real.envoy.id())?]);
        let (before, start) = (cpu_times()?, Instant::now());
        let mut ticks = interval(Duration::from_secs(1));
        for number in 0..NAMES_SECONDS {
            ticks.tick().await;
            self.cluster.create(number);
            if number > 0 {
                self.cluster.remove(number - 1);
            }
        }
        sleep(SETTLED).await;
        self.cluster.remove(NAMES_SECONDS - 1);
        let (after, seconds) = (cpu_times()?, start.elapsed().as_secs_f64());
        let used: Vec<f64> = after.iter().zip(before).map(|(after, before)| (*after - before).as_secs_f64()).collect();
        let [of_server, of_sidecar] = used[..] else { return Ok(()) };
        let sent = fleet.recorder.count(Kind::Filter) - sent;
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

    /// One of several servers is killed under churn.
    async fn herd(&mut self, count: usize) -> Result<()> {
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(self.server(&[]).await?);
        }
        let all: Vec<&ServeProcess> = servers.iter().collect();
        let fleet = Fleet::start(self.plan.sidecars, &all, self.plan.cluster.services).await?;
        let Some((lost, others)) = servers.split_first_mut() else { return Ok(()) };
        let received = || Kind::ALL.iter().map(|kind| fleet.recorder.count(*kind).bytes).sum::<u64>();
        let refusals = fleet.recorder.refusals();
        let orphans = lost.metric("streams").await?;
        lost.kill()?;
        let (start, bytes) = (Instant::now(), received());
        let mut settled = None;
        while settled.is_none() && start.elapsed() < Duration::from_secs(60) {
            let number = fleet.recorder.begin_change();
            let service = self.cluster.any();
            self.cluster.change(service, number);
            sleep(POLL / 5).await;
            if number % 5 == 0 {
                let mut open = 0.0;
                for server in &*others {
                    open += server.metric("streams").await?;
                }
                settled = (open as usize >= fleet.size).then(|| start.elapsed());
            }
        }
        self.report.begin(format!("one of {count} servers with {} sidecars is killed under churn", fleet.size));
        self.report.add(
            format!("until its {orphans} streams are open again"),
            "15 s",
            &[Measured::Time(settled.unwrap_or(Duration::from_secs(60)))],
        );
        let attempts = (fleet.recorder.refusals() - refusals) as f64 / orphans;
        self.report.add("refused attempts, for each of these streams", "", &[Measured::Count(attempts - 1.0)]);
        let bytes = (received() - bytes) as f64 / orphans;
        self.report.add("bytes for each of these streams, churn included", "", &[Measured::Bytes(bytes)]);
        let mut highest = 0;
        for server in &*others {
            highest = highest.max(memory(server.id(), "VmHWM")?);
        }
        self.report.add("memory of each other server, highest", "", &[Measured::Bytes(highest as f64)]);
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

/// Changes endpoints of random Services at a rate, for a time. Returns the number of changes.
async fn churn(cluster: &mut SyntheticCluster, recorder: &Recorder, (rate, time): (u32, Duration)) -> usize {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (start, mut changes) = (Instant::now(), 0);
    while start.elapsed() < time {
        ticks.tick().await;
        let service = cluster.any();
        cluster.change(service, recorder.begin_change());
        changes += 1;
    }
    changes
}

/// A real Envoy that uses as many names as a simulated sidecar.
struct RealSidecar {
    envoy: Envoy,
    _passthrough: TestUpstream,
}

impl RealSidecar {
    async fn start(server: &ServeProcess, services: usize) -> Result<Self> {
        let passthrough = TestUpstream::start("passthrough").await?;
        let envoy = Envoy::builder("serve.yaml").port(18000, server.address.port()).upstream(18080, &passthrough);
        let envoy = envoy.start().await?;
        let mut requests = JoinSet::new();
        for number in 0..NAMES {
            let (port, authority) = (envoy.port(15001), host(number * (services / NAMES)));
            requests.spawn(async move {
                // Nobody answers there, but Envoy has the cluster then.
                drop(Connection::open(port, RequestForm::Host).await?.get(&authority, &[]).await);
                anyhow::Ok(())
            });
        }
        while let Some(request) = requests.join_next().await {
            request??;
        }
        Ok(Self { envoy, _passthrough: passthrough })
    }
}
