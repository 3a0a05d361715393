//! Many sidecars, each a task.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use byname_test_support::{SeededRandom, ServeProcess};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    dialect::Dialect,
    recorder::Recorder,
    sidecar::{Sidecar, Upstream},
};

/// Names that a pod uses.
pub(crate) const NAMES: usize = 30;
/// New sidecars in a second for each server, which takes 200. A fleet does not start all at once.
pub(crate) const STARTS_PER_SECOND: usize = 190;
/// Longer than the last change of a part takes to arrive.
pub(crate) const SETTLED: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// Sidecars that run until the value is dropped.
pub(crate) struct Fleet {
    _tasks: JoinSet<()>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) dialect: Dialect,
    /// The streams of all sidecars.
    pub(crate) streams: usize,
    /// The streams that use each Service.
    subscribers: HashMap<usize, usize>,
}

impl Fleet {
    /// Starts so many sidecars, spread over the servers, and waits until each has all that it asks for. Each uses the first Service,
    /// the popular one, and random others of the first `services`.
    pub(crate) async fn start(
        dialect: Dialect,
        sidecars: usize,
        servers: &[&ServeProcess],
        services: usize,
    ) -> Result<Self> {
        let addresses = servers.iter().map(|server| server.address).collect();
        let upstream = Upstream { addresses, tls: None, dialect };
        // Streams of filters count half.
        let rate = STARTS_PER_SECOND * dialect.streams_of_sidecar() * servers.len();
        Self::start_at(sidecars, upstream, services, rate).await
    }

    /// The same for any control plane, and so many new streams a second.
    pub(crate) async fn start_at(sidecars: usize, upstream: Upstream, services: usize, rate: usize) -> Result<Self> {
        let (dialect, upstream) = (upstream.dialect, Arc::new(upstream));
        let (recorder, mut tasks) = (Arc::new(Recorder::default()), JoinSet::new());
        let (begun, streams) = (Instant::now(), sidecars * dialect.streams_of_sidecar());
        let mut subscribers = HashMap::new();
        for stream in 0..streams {
            let id = stream / dialect.streams_of_sidecar();
            let mut random = SeededRandom(1 + id as u64);
            let mut used = vec![0];
            while used.len() < NAMES.min(services) {
                let service = random.below(services as u64) as usize;
                if !used.contains(&service) {
                    used.push(service);
                }
            }
            for service in &used {
                *subscribers.entry(*service).or_default() += 1;
            }
            let names = dialect.names(id, &used);
            tasks.spawn(Sidecar::new(id, Arc::clone(&upstream), names, Arc::clone(&recorder)).run(stream));
            let due = begun + Duration::from_secs(1) * u32::try_from(stream)? / u32::try_from(rate)?;
            tokio::time::sleep_until(due).await;
        }
        let fleet = Self { _tasks: tasks, recorder, dialect, streams, subscribers };
        fleet
            .wait_until("each sidecar has its endpoints", || {
                fleet.recorder.count(dialect.endpoints()).resources >= (streams * NAMES.min(services)) as u64
            })
            .await?;
        Ok(fleet)
    }

    /// How many streams have not received the last change of a Service that they use.
    pub(crate) fn missing_receipts(&self, last_changes: &HashMap<usize, usize>) -> usize {
        let missing = |(service, number): (&usize, &usize)| {
            let subscribers = self.subscribers.get(service).copied().unwrap_or_default();
            subscribers.saturating_sub(self.recorder.receipts(*number))
        };
        last_changes.iter().map(missing).sum()
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
