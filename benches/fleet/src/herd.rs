//! The loss of one of several servers: its streams go to the others.

use std::time::Duration;

use anyhow::Result;
use byname_test_support::ServeProcess;
use tokio::time::{Instant, sleep};

use crate::{dialect::Dialect, fleet::Fleet, process::memory, report::Measured, setting::Setting};

/// How soon the loss of a server is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Kills one of so many servers under churn.
pub(crate) async fn measure(setting: &mut Setting<'_>, dialect: Dialect, count: usize) -> Result<()> {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(setting.server(&[]).await?);
    }
    let all: Vec<&ServeProcess> = servers.iter().collect();
    let (sidecars, services) = (setting.plan.sidecars, setting.plan.cluster.services);
    let fleet = Fleet::start(dialect, sidecars, &all, services).await?;
    let Some((lost, others)) = servers.split_first_mut() else { return Ok(()) };
    let (refusals, received) = (fleet.recorder.refusals(), fleet.recorder.bytes());
    let orphans = lost.metric("streams").await?;
    lost.kill()?;
    let start = Instant::now();
    let mut settled = None;
    while settled.is_none() && start.elapsed() < Duration::from_secs(60) {
        let number = fleet.recorder.begin_change();
        let service = setting.cluster.any();
        setting.cluster.change(service, number);
        sleep(POLL / 5).await;
        if number % 5 == 0 {
            let mut open = 0.0;
            for server in &*others {
                open += server.metric("streams").await?;
            }
            settled = (open as usize >= fleet.streams).then(|| start.elapsed());
        }
    }
    let (report, heading) = (&mut setting.report, dialect.heading());
    report.begin(format!("{heading}one of {count} servers with {sidecars} sidecars is killed under churn"));
    let settled = Measured::Time(settled.unwrap_or(Duration::from_secs(60)));
    report.add(format!("until its {orphans} streams are open again"), "15 s", &[settled]);
    let refused = (fleet.recorder.refusals() - refusals) as f64 / orphans;
    report.add("refused attempts, for each of these streams", "", &[Measured::Count(refused)]);
    let bytes = (fleet.recorder.bytes() - received) as f64 / orphans;
    report.add("bytes for each of these streams, churn included", "", &[Measured::Bytes(bytes)]);
    let mut highest = 0;
    for server in &*others {
        highest = highest.max(memory(server.id(), "VmHWM")?);
    }
    report.add("memory of each other server, highest", "", &[Measured::Bytes(highest as f64)]);
    Ok(())
}
