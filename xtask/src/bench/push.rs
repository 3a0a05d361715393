//! How long a push takes until every connection sees it, and how long answers take meanwhile: Envoys with two workers, what
//! they discover in a file that is exchanged, and a steady load.

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
use client::{CONNECTIONS, Clients};
pub(super) use report::{json, print};
use tables::{PushedChange, Tables};

/// Before a push and after it is live.
const CALM: Duration = Duration::from_millis(300);
/// How often it is looked whether a push is live: cheaply, and when it was is noted by who saw it.
const POLL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// Where what is pushed is written.
const WRITTEN: &str = "target/bench/pushed";

/// One push.
pub(super) struct Push {
    contestant: Contestant,
    services: usize,
    change: PushedChange,
    /// Of the file.
    bytes: usize,
    /// Until the last connection saw it.
    live: Duration,
    /// The longest that an answer took meanwhile, and for [`CALM`] before.
    worst: Duration,
    worst_before: Duration,
    /// The longest that the clients' own thread was late meanwhile.
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
        // Long before the moment from which it counts.
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

/// What Envoy looks at.
struct File(PathBuf);

impl File {
    /// Writes what is to come, beside it.
    fn prepare(&self, text: &str) -> Result<()> {
        Ok(fs::write(self.0.with_extension("next"), text)?)
    }

    /// Exchanges it in one step, which is what Envoy looks for.
    fn exchange(&self) -> Result<()> {
        Ok(fs::rename(self.0.with_extension("next"), &self.0)?)
    }
}

/// One push: how long until it is live, the longest answers meanwhile and before, and how late the clients were.
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
    // What was under way when the table was pushed may have waited for it.
    Ok((live - pushed, log.longest(pushed, live), log.longest(calm, pushed), log.latest(pushed, live)))
}

/// The kernel deals connections out to the workers; were all with one, the other's table would be nobody's.
async fn ensure_workers_share(envoy: &Envoy) -> Result<()> {
    let stats = envoy.stats(".worker_").await?;
    let busy = stats.iter().filter(|(name, active)| {
        name.contains(&format!("_{}.", envoy.port(15001))) && name.ends_with("downstream_cx_active") && **active > 0
    });
    let busy = busy.count();
    ensure!(busy == 2, "{busy} of 2 workers have the {CONNECTIONS} connections: run it once more");
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The longest answers while byname got all endpoints of so many Services anew.
pub(super) fn worst_stall(pushes: &[Push], services: usize) -> Option<[f64; 3]> {
    let is_one = |push: &&Push| {
        (push.contestant, push.services, push.change) == (Contestant::Endpoint, services, PushedChange::All)
    };
    let worst: Vec<f64> = pushes.iter().filter(is_one).map(|push| milliseconds(push.worst)).collect();
    (!worst.is_empty()).then(|| quartiles(worst))
}
