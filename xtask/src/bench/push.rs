//! The time from a push until every connection sees it, and response times meanwhile: Envoys with two workers, a
//! discovered file that is replaced, and a steady load.

mod client;
mod report;
mod tables;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use byname_test_support::Envoy;
use tokio::time::sleep;

use super::{
    contestant::{Contestant, Discovered},
    native,
    numbers::quartiles,
    progress::Progress,
    world::World,
};
pub(super) use client::{CONNECTIONS, Clients, PACE};
pub(super) use report::{json, print};
pub(super) use tables::{PROBE, TARGETS};
use tables::{PushedChange, Tables};

/// The quiet time before a push and after it is live.
const CALM: Duration = Duration::from_millis(300);
/// The interval of checks for a live push. Checks are cheap, and the clients record the exact time.
const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// The directory of pushed files.
const WRITTEN: &str = "target/bench/pushed";

/// One push.
pub(super) struct Push {
    contestant: Contestant,
    services: usize,
    change: PushedChange,
    /// The size of the file.
    bytes: usize,
    /// The time until the last connection saw the push.
    live: Duration,
    /// The longest response time meanwhile, and in the [`CALM`] before.
    worst: Duration,
    worst_before: Duration,
    /// The longest delay of the clients' own thread meanwhile.
    late: Duration,
}

/// Pushes `rounds` tables of each kind to an Envoy of its own.
pub(super) async fn run(
    root: &Path,
    contestant: Contestant,
    services: usize,
    rounds: usize,
    progress: &Progress,
) -> Result<Vec<Push>> {
    let mut clients = Clients::new()?;
    let upstream = clients.start_upstream().await?;
    progress.say(&format!("{} with {services} Services", contestant.name()));
    let tables = Tables::new(root, contestant, services, upstream)?;
    let directory = root.join(WRITTEN);
    fs::create_dir_all(&directory)?;
    let file = File(directory.join(format!("{}.{}", contestant.name(), tables.format())));
    file.prepare(&tables.text(0))?;
    file.exchange()?;
    let discovered = match contestant {
        Contestant::Native => {
            let routes = tables::routes(World { services });
            Discovered::Clusters(&file.0, native::write_routes(&directory.join("routes.json"), routes)?)
        }
        _ => Discovered::Filter(&file.0),
    };
    let envoy = contestant.discovering(root, upstream, discovered)?.start().await?;
    clients.ask(envoy.port(15001))?;
    sleep(CALM).await;
    clients.check().await?;
    ensure_workers_share(&envoy).await?;
    let mut pushes = Vec::new();
    for version in 1..=rounds * tables.changes() {
        let change = tables.change(version);
        progress.say(&format!("{}, {} of {services} Services, push {version}", contestant.name(), change.name()));
        // Prepared long before the measured moment.
        let text = tables.text(version);
        file.prepare(&text)?;
        let (live, worst, worst_before, late) = once(&envoy, &mut clients, &file, Tables::target(version)).await?;
        let bytes = text.len();
        if !matches!(contestant, Contestant::Native | Contestant::Lua) {
            let served = envoy.stat("wasmcustom.byname.table.version").await?;
            ensure!(served == version as u64, "the gauge says version {served}, and {version} was pushed");
        }
        pushes.push(Push { contestant, services, change, bytes, live, worst, worst_before, late });
    }
    Ok(pushes)
}

/// The file that Envoy watches.
struct File(PathBuf);

impl File {
    /// Writes the next content beside the file.
    fn prepare(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.0.with_extension("next"), text)?)
    }

    /// Replaces the file in one step, which Envoy sees.
    fn exchange(&self) -> Result<()> {
        Ok(fs::rename(self.0.with_extension("next"), &self.0)?)
    }
}

/// Pushes once. Returns the time until it is live, the longest response times meanwhile and before, and the clients'
/// delay.
async fn once(
    envoy: &Envoy,
    clients: &mut Clients,
    file: &File,
    target: usize,
) -> Result<(Duration, Duration, Duration, Duration)> {
    clients.log().clear();
    let calm = Instant::now();
    sleep(CALM).await;
    let pushed = Instant::now();
    file.exchange()?;
    let live = loop {
        sleep(POLL).await;
        clients.check().await?;
        if let Some(live) = clients.log().live(target) {
            break live;
        }
        if pushed.elapsed() > PATIENCE {
            bail!("a push is not live after {} s:\n{}", PATIENCE.as_secs(), envoy.log());
        }
    };
    sleep(CALM).await;
    let log = clients.log();
    ensure!(!log.is_old_after(live, target), "an old table answered after the new one was live everywhere");
    // Requests in flight at the push may have waited for it.
    Ok((live - pushed, log.longest(pushed, live), log.longest(calm, pushed), log.latest(pushed, live)))
}

/// Checks that both workers have connections. The kernel distributes them, and a worker without any would not be
/// measured.
pub(super) async fn ensure_workers_share(envoy: &Envoy) -> Result<()> {
    let stats = envoy.stats(".worker_").await?;
    let busy = stats.iter().filter(|(name, active)| {
        name.contains(&format!("_{}.", envoy.port(15001))) && name.ends_with("downstream_cx_active") && **active > 0
    });
    let busy = busy.count();
    ensure!(busy == 2, "{busy} of 2 workers have the {CONNECTIONS} connections: run it once more");
    Ok(())
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The longest response times while byname received new endpoints for this many Services.
pub(super) fn worst_stall(pushes: &[Push], services: usize) -> Option<[f64; 3]> {
    let is_one = |push: &&Push| {
        (push.contestant, push.services, push.change) == (Contestant::Endpoint, services, PushedChange::All)
    };
    let worst: Vec<f64> = pushes.iter().filter(is_one).map(|push| milliseconds(push.worst)).collect();
    (!worst.is_empty()).then(|| quartiles(worst))
}
