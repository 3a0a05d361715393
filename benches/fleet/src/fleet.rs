//! Many sidecars, each a task.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use byname_test_support::SeededRandom;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    recorder::{Kind, Recorder},
    server::ServeProcess,
    sidecar::{Dialect, Sidecar, Upstream},
    synthetic::cluster_name,
};

/// Names that a pod uses.
pub(crate) const NAMES: usize = 30;
/// New streams that a server takes in a second. A fleet does not start all at once.
pub(crate) const STARTS_PER_SECOND: usize = 190;
/// Longer than the last change of a part takes to arrive.
pub(crate) const SETTLED: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// Sidecars that run until the value is dropped.
pub(crate) struct Fleet {
    _tasks: JoinSet<()>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) size: usize,
}

impl Fleet {
    /// Starts sidecars, spread over the servers, and waits until each has its filter, clusters and endpoints. Each uses the first
    /// Service, the popular one, and random others of the first `services`.
    pub(crate) async fn start(size: usize, servers: &[&ServeProcess], services: usize) -> Result<Self> {
        let addresses = servers.iter().map(|server| server.address).collect();
        let upstream = Upstream { addresses, tls: None, dialect: Dialect::Byname };
        Self::start_at(size, upstream, services, STARTS_PER_SECOND * servers.len()).await
    }

    /// The same for any control plane, and so many new sidecars a second.
    pub(crate) async fn start_at(size: usize, upstream: Upstream, services: usize, rate: usize) -> Result<Self> {
        let upstream = Arc::new(upstream);
        let (recorder, mut tasks) = (Arc::new(Recorder::default()), JoinSet::new());
        let begun = Instant::now();
        for id in 0..size {
            let mut random = SeededRandom(1 + id as u64);
            let mut names = vec![0];
            while names.len() < NAMES.min(services) {
                let service = random.below(services as u64) as usize;
                if !names.contains(&service) {
                    names.push(service);
                }
            }
            let clusters = names.into_iter().map(cluster_name).collect();
            tasks.spawn(Sidecar::new(id, Arc::clone(&upstream), clusters, Arc::clone(&recorder)).run());
            let due = begun + Duration::from_secs(1) * u32::try_from(id)? / u32::try_from(rate)?;
            tokio::time::sleep_until(due).await;
        }
        let fleet = Self { _tasks: tasks, recorder, size };
        fleet
            .wait_until("each sidecar has its endpoints", || {
                fleet.recorder.count(Kind::Endpoints).resources >= (size * NAMES.min(services)) as u64
            })
            .await?;
        Ok(fleet)
    }

    /// Waits until `is_so`.
    pub(crate) async fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) -> Result<Duration> {
        let start = Instant::now();
        while !is_so() {
            ensure!(start.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
            sleep(POLL).await;
        }
        Ok(start.elapsed())
    }
}
