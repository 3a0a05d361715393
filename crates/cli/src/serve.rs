//! Serves every sidecar from one control plane: delta xDS for the filter's names, and for clusters and endpoints on demand.

mod class;
mod control_plane;
mod discovery;
mod grpc;
mod metrics;
mod monitor;
mod resources;
mod streams;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use byname_xds::{Limits, ServerEvent};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use self::{
    control_plane::ControlPlane,
    metrics::Metrics,
    monitor::{Monitor, Question, Topic},
    resources::{Resources, Types},
    streams::Listener,
};
use crate::{
    cluster_feed::{ClusterFeed, Reading, SourceOptions},
    compile::CompileOptions,
    daemon::{Debouncer, Stop, http, log, run_until_stopped, until},
    envoy::{EcdsFilter, PushedResources},
};

/// The input, the options and the addresses of a server.
pub struct Job {
    /// Source of the cluster.
    pub source: SourceOptions,
    /// How Services are compiled.
    pub options: CompileOptions,
    /// The name of the filter's resource, and the module.
    pub filter: EcdsFilter,
    /// The file with the CA certificates that Envoy trusts.
    pub ca_file: PathBuf,
    /// Address that serves sidecars.
    pub listen: SocketAddr,
    /// Address that serves metrics and health; `None` for no server.
    pub monitor: Option<SocketAddr>,
    /// Time before a list that lacks many objects is listed again; zero to believe it at once.
    pub brake: Duration,
}

/// Runs `job` until SIGTERM or SIGINT.
///
/// # Errors
/// If the options, the source or an address is not usable at the start. Later failures are logged, counted and retried.
pub fn run(job: Job) -> anyhow::Result<()> {
    // Until clients prove who they are, only this machine may ask.
    if !job.listen.ip().is_loopback() {
        bail!(
            "--listen {}: is reachable from other machines, and byname cannot tell clients apart yet; listen on 127.0.0.1 or [::1], \
             beside the sidecars that it serves",
            job.listen
        );
    }
    resources::check(&job.options.base)?;
    run_until_stopped(2, serve(job))
}

async fn serve(job: Job) -> anyhow::Result<()> {
    let Job { source, mut options, filter, ca_file, listen, monitor, brake } = job;
    // One bad Service must not block updates of the others.
    options.skip_invalid = true;
    let mut stop = Stop::new().context("cannot install signal handlers")?;
    let (metrics, lever) = (Arc::new(Metrics::new()), Arc::default());
    let (questions, mut asked) = mpsc::channel(1);
    if let Some(address) = monitor {
        let monitor = Monitor { metrics: Arc::clone(&metrics), lever: Arc::clone(&lever), questions };
        let address = http::start(address, Arc::new(monitor)).await?;
        log::note(&format!("metrics and health on http://{address}"));
    }
    let mut listener = Listener::bind(listen).await?;
    log::warn(&format!(
        "serving sidecars on {} in plaintext, to whoever reaches this address (--insecure)",
        listener.address
    ));
    let make = |all: &mut _| {
        let types = Types::add_to(all, &filter.name);
        (types, Resources::new(types, options, PushedResources::new(filter, ca_file)))
    };
    let limits = Limits::default();
    let leave_within = limits.shutdown;
    let mut plane = ControlPlane::new(make, limits, Arc::clone(&metrics));
    let mut feed = ClusterFeed::open(source, brake, lever, Arc::clone(&metrics.feed)).await?;
    log::note(&format!("started: watching {}", feed.called()));
    // What is sent is collected by the protocol; here only as much as an update takes time.
    let mut debouncer = Debouncer::new(Duration::ZERO);
    let mut is_stale = false;
    loop {
        let due = debouncer.due().and_then(|due| feed.due(due, plane.resources.is_complete()));
        tokio::select! {
            () = stop.asked() => break,
            change = feed.changed() => change.tell(&mut debouncer),
            () = until(due) => {
                let begun = Instant::now();
                let again = update(&mut feed, &mut plane, &metrics);
                debouncer.done(begun.elapsed());
                if let Some(after) = again {
                    debouncer.again(after);
                }
            }
            Some(event) = listener.events.recv() => plane.take(event),
            () = until(plane.next_wake()) => plane.woken(),
            Some(question) = asked.recv() => answer(&plane, question),
        }
        match (is_stale, feed.is_failing()) {
            (false, true) => plane.handle(ServerEvent::WatchesFailed),
            // What they missed is served.
            (true, false) if debouncer.due().is_none() => plane.handle(ServerEvent::WatchesRecovered),
            _ => continue,
        }
        is_stale = !is_stale;
        metrics.is_stale.set(is_stale.into());
    }
    feed.announce();
    log::note("stopping: sidecars go to another server, or keep what they have");
    listener.leave();
    plane.handle(ServerEvent::ShuttingDown);
    // A second signal does not wait.
    drop(
        timeout(leave_within, async {
            while plane.has_streams() {
                tokio::select! {
                    () = stop.asked() => break,
                    Some(event) = listener.events.recv() => plane.take(event),
                    () = until(plane.next_wake()) => plane.woken(),
                }
            }
        })
        .await,
    );
    log::note("stopped by a signal");
    Ok(())
}

/// Brings what is served up to date, unless the brake holds. Returns the time to wait before a retry, if one is needed.
fn update(feed: &mut ClusterFeed, plane: &mut ControlPlane, metrics: &Metrics) -> Option<Duration> {
    let reading = match feed.read() {
        Reading::Held => return None,
        Reading::Disturbed => return Some(Duration::ZERO),
        Reading::Failed(problems) => {
            plane.failed(problems.messages().collect());
            return None;
        }
        Reading::Complete(reading) => reading,
    };
    let begun = Instant::now();
    let is_first = !plane.resources.is_complete();
    let update = plane.resources.update(&reading);
    metrics.update_seconds.observe(begun.elapsed().as_secs_f64());
    let (services, clusters, left_out) = plane.resources.counts();
    for (gauge, count) in [(&metrics.services, services), (&metrics.clusters, clusters), (&metrics.left_out, left_out)]
    {
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    if update.problems.is_empty() {
        metrics.last_update.set_now();
    } else {
        metrics.update_failures.inc();
    }
    plane.failed(update.problems);
    plane.changed(update.changed);
    if is_first && plane.resources.is_complete() {
        log::note(&format!("ready: {services} Services, {clusters} clusters"));
        plane.handle(ServerEvent::Synced);
    }
    None
}

fn answer(plane: &ControlPlane, Question { about, answer }: Question) {
    let text = match about {
        Topic::Streams => plane.describe_streams(),
        Topic::Resources(node) => plane.describe_resources(&node),
    };
    // Who asked may have left.
    drop(answer.send(text));
}
