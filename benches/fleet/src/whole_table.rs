//! What a change of endpoints costs a sidecar that asks a server, and one that takes the whole table at every change.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use byname_test_support::ServeProcess;
use tokio::time::{Instant, interval, sleep};

use crate::{
    fleet::{NAMES, SETTLED},
    process::{cpu_time, idle_cores, memory},
    real_sidecar::{RealSidecar, used},
    recorder::{Kind, next_change},
    report::Measured,
    setting::Setting,
    watch::WatchProcess,
};

/// Between two changes: a server holds no change back at this pace, and a whole table is pushed once a second.
const PAUSE: Duration = Duration::from_millis(40);
const PAUSE_OF_TABLE: Duration = Duration::from_secs(1);
/// What a sidecar has received from the server.
const FROM_SERVER: &str = "cluster.byname-server.upstream_cx_rx_bytes_total";
/// How often it has taken a table.
const TABLES: &str = "extension_config_discovery.http_filter.byname-endpoint.config_reload";

/// What one sidecar takes.
#[derive(Clone, Copy)]
struct Taken {
    memory: f64,
    cpu: f64,
    bytes: f64,
}

/// Changes of endpoints that a sidecar has acknowledged. A worker's filter acknowledges what it has taken; Envoy does before its workers
/// have it.
struct Acks {
    /// Within the 4 ms of a bucket of the server's histogram.
    soon: f64,
    all: f64,
}

impl Acks {
    async fn of(server: &ServeProcess, kind: Kind) -> Result<Self> {
        let of_kind = if kind == Kind::Endpoints { "endpoints" } else { "service_endpoints" };
        let soon = server.metric(&format!("ack_seconds_bucket{{le=\"0.004\",type=\"{of_kind}\"}}")).await?;
        let all = server.metric(&format!("ack_seconds_count{{type=\"{of_kind}\"}}")).await?;
        ensure!(all > 0.0, "the server counts no ACK of {of_kind}");
        Ok(Self { soon, all })
    }
}

/// Measures sidecars one after the other. Each change is of a Service that they use.
pub(crate) async fn measure(setting: &mut Setting<'_>) -> Result<()> {
    let services = setting.plan.cluster.services;
    let [changes, changes_of_table] = setting.plan.changes_of_sidecar;
    let server = setting.server(&[]).await?;
    let (mut all, mut acknowledged) = (Vec::new(), Vec::new());
    let asking = [
        ("serve.yaml", "Envoy asks byname serve", Kind::Endpoints),
        ("stream.yaml", "the filter asks byname serve", Kind::ServiceEndpoints),
    ];
    for (bootstrap, how, kind) in asking {
        let sidecar = RealSidecar::of_server(bootstrap, &server, services).await?;
        let before = sidecar.envoy.stat(FROM_SERVER).await?;
        let acks_before = Acks::of(&server, kind).await?;
        let (memory, cpu) = taken(setting, &sidecar, (changes, PAUSE)).await?;
        let bytes = sidecar.envoy.stat(FROM_SERVER).await? - before;
        ensure!(bytes > 0, "{how}: no change came:\n{}", server.log());
        let acks = Acks::of(&server, kind).await?;
        let soon = (acks.soon - acks_before.soon) / (acks.all - acks_before.all).max(1.0);
        acknowledged.push((how, Measured::Percent(100.0 * soon)));
        let changes = changes as f64;
        all.push((how, Taken { memory, cpu: cpu / changes, bytes: bytes as f64 / changes }));
    }
    drop(server);

    let directory = setting.directory.path().join("whole-table");
    fs::create_dir(&directory)?;
    let watch = WatchProcess::for_envoy(&setting.cluster.kubeconfig(setting.directory.path()), &directory)?;
    watch.wait_for_table().await;
    let sidecar = RealSidecar::of_table(&directory, services).await?;
    let before = sidecar.envoy.stat(TABLES).await?;
    let (memory, cpu) = taken(setting, &sidecar, (changes_of_table, PAUSE_OF_TABLE)).await?;
    let pushes = sidecar.envoy.stat(TABLES).await? - before;
    ensure!(pushes > 0, "the table was not pushed");
    let bytes = fs::metadata(directory.join("byname.yaml"))?.len() as f64;
    let whole = Taken { memory, cpu: cpu / pushes as f64, bytes };
    all.push(("byname watch pushes the whole table", whole));

    setting
        .report
        .begin(format!("a real sidecar, when one of the {NAMES} Services that it uses changes its endpoints"));
    for (how, taken) in &all {
        let time = Measured::Time(Duration::from_secs_f64(taken.cpu));
        setting.report.add(format!("{how}: CPU for a change"), "", &[time]);
        setting.report.add(format!("{how}: bytes for a change"), "", &[Measured::Bytes(taken.bytes)]);
        setting.report.add(format!("{how}: memory"), "", &[Measured::Bytes(taken.memory)]);
    }
    for (how, soon) in acknowledged {
        setting.report.add(format!("{how}: changes acknowledged within 4 ms of their sending"), "99 %", &[soon]);
    }
    let ratio = |part: fn(&Taken) -> f64| {
        let other = all.iter().map(|(_, taken)| part(taken)).take(2);
        other.map(|other| Measured::Ratio(part(&whole) / other.max(f64::MIN_POSITIVE))).collect::<Vec<_>>()
    };
    for (what, part) in [("CPU", (|taken| taken.cpu) as fn(&Taken) -> f64), ("memory", |taken| taken.memory)] {
        setting.report.add(format!("{what} of the whole table, to the first and to the second"), "", &ratio(part));
    }
    Ok(())
}

/// The memory of a sidecar, and the seconds of CPU that changes cost it.
async fn taken(
    setting: &mut Setting<'_>,
    sidecar: &RealSidecar,
    (changes, pause): (usize, Duration),
) -> Result<(f64, f64)> {
    let id = sidecar.envoy.id();
    sleep(SETTLED).await;
    let idle = idle_cores(id, setting.plan.idle).await?;
    let (before, start) = (cpu_time(id)?, Instant::now());
    let mut ticks = interval(pause);
    for service in used(setting.plan.cluster.services).cycle().take(changes) {
        ticks.tick().await;
        setting.cluster.change(service, next_change());
    }
    sleep(SETTLED).await;
    let cpu = (cpu_time(id)? - before).as_secs_f64() - idle * start.elapsed().as_secs_f64();
    Ok((memory(id, "VmRSS")? as f64, cpu.max(0.0)))
}
