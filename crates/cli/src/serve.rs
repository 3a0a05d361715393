//! Serves every sidecar from one control plane: delta xDS for the filter's names, and for clusters and endpoints on demand.

mod addresses;
mod authentication;
mod class;
mod control_plane;
mod discovery;
mod doorman;
mod exports;
mod fair_queue;
mod grpc;
mod identity;
mod inbox;
mod keys;
mod listener_ports;
mod metrics;
mod monitor;
mod proof;
mod rejected;
mod resources;
mod served_service;
mod stream_tasks;
mod streams;
mod tls;
mod tokens;
mod types;
mod view;
mod waiting_room;
mod xfcc;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use byname_xds::{Limits, ServerEvent};
use tokio::{sync::mpsc, time::Instant};

use self::{
    authentication::Trust,
    control_plane::ControlPlane,
    metrics::Metrics,
    monitor::{Monitor, Question, Topic},
    resources::Resources,
    streams::Listener,
    tls::Tls,
    tokens::Tokens,
    types::Types,
};
pub use self::{exports::DefaultExport, tls::TlsFiles};
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
    /// What sees Services that nobody has annotated.
    pub default_export: DefaultExport,
    /// Who is served, and where.
    pub doors: Doors,
    /// Address that serves metrics and health; `None` for no server.
    pub monitor: Option<SocketAddr>,
    /// Time before a list that lacks many objects is listed again; zero to believe it at once.
    pub brake: Duration,
}

/// Who is served, and where.
#[derive(Clone, Debug)]
pub enum Doors {
    /// Every process of this machine, in plaintext.
    Insecure {
        /// An address of loopback.
        listen: SocketAddr,
    },
    /// Clients that prove who they are.
    Secure {
        /// Clients that connect to the server by themselves.
        direct: Option<DirectDoor>,
        /// Clients of a mesh, which its sidecars verify.
        mesh: Option<MeshDoor>,
    },
}

/// Clients that prove by a certificate or a token who they are.
#[derive(Clone, Debug)]
pub struct DirectDoor {
    /// The address.
    pub listen: SocketAddr,
    /// The certificates.
    pub tls: TlsFiles,
    /// The trust domain of client certificates, if these count.
    pub trust_domain: Option<String>,
    /// The audience of service account tokens, if these count.
    pub token_audience: Option<String>,
}

/// Clients that the sidecar beside this server has verified.
#[derive(Clone, Debug)]
pub struct MeshDoor {
    /// The address.
    pub listen: SocketAddr,
    /// The trust domain of the mesh.
    pub trust_domain: String,
}

/// Runs `job` until SIGTERM or SIGINT.
///
/// # Errors
/// If the options, the source or an address is not usable at the start. Later failures are logged, counted and retried.
pub fn run(job: Job) -> anyhow::Result<()> {
    if let Doors::Insecure { listen } = &job.doors
        && !listen.ip().is_loopback()
    {
        bail!(
            "--insecure: --listen {listen} is reachable from other machines, and clients do not say who they are; listen on 127.0.0.1 or \
             [::1], or pass --identity in place of --insecure"
        );
    }
    resources::check(&job.options.base)?;
    run_until_stopped(2, serve(job))
}

async fn serve(job: Job) -> anyhow::Result<()> {
    let Job { source, mut options, filter, ca_file, default_export, doors, monitor, brake } = job;
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
    let make = |all: &mut _| {
        let types = Types::add_to(all, &filter.name);
        (types, Resources::new(types, options, PushedResources::new(filter, ca_file), default_export))
    };
    let limits = Limits::default();
    let leave_within = limits.shutdown;
    let mut plane = ControlPlane::new(make, limits, Arc::clone(&metrics));
    let mut feed = ClusterFeed::open(source, brake, lever, Arc::clone(&metrics.feed)).await?;
    let mut listener = Listener::new(Arc::clone(&metrics));
    open(&listener, doors, &feed).await?;
    log::note(&format!("started: watching {}", feed.called()));
    // What is sent is collected by the protocol; here only as much as an update takes time.
    let mut debouncer = Debouncer::new(Duration::ZERO);
    let mut is_stale = false;
    // When it ends, once it has been asked to.
    let mut ends_at = None;
    while ends_at.is_none() || plane.has_streams() {
        let due = debouncer.due().and_then(|due| feed.due(due, plane.resources.is_complete()));
        tokio::select! {
            () = stop.asked() => {
                // A second signal does not wait.
                if ends_at.is_some() {
                    break;
                }
                ends_at = Some(Instant::now() + leave_within);
                feed.announce();
                log::note("stopping: sidecars go to another server, or keep what they have");
                listener.leave();
                plane.handle(ServerEvent::ShuttingDown);
            }
            () = until(ends_at) => break,
            change = feed.changed() => change.tell(&mut debouncer),
            () = until(due) => {
                let begun = Instant::now();
                let since = debouncer.since().unwrap_or(begun);
                let again = update(&mut feed, &mut plane, &metrics, since);
                debouncer.done(begun.elapsed());
                if let Some(after) = again {
                    debouncer.again(after);
                }
            }
            Some(event) = listener.next() => plane.take(event),
            () = until(plane.next_wake()) => plane.woken(),
            Some(question) = asked.recv() => answer(&plane, question),
        }
        // Another server may know more, whatever keeps this one from taking what the cluster has.
        let is_kept_back = feed.is_failing() || feed.is_held() || plane.resources.is_kept();
        let is_turning = match (is_stale, is_kept_back) {
            (false, true) => {
                plane.handle(ServerEvent::WatchesFailed);
                true
            }
            // What was missed is served.
            (true, false) if debouncer.due().is_none() => {
                plane.handle(ServerEvent::WatchesRecovered);
                true
            }
            _ => false,
        };
        if is_turning {
            is_stale = !is_stale;
            metrics.is_stale.set(is_stale.into());
        }
        metrics.note_behind(is_stale || plane.is_in_trouble() || !plane.resources.is_complete());
    }
    log::note("stopped by a signal");
    Ok(())
}

/// Opens the listeners.
async fn open(listener: &Listener, doors: Doors, feed: &ClusterFeed) -> anyhow::Result<()> {
    let (direct, mesh) = match doors {
        Doors::Insecure { listen } => {
            let address = listener.listen(listen, Trust::Anyone, None).await?;
            log::warn(&format!(
                "serving sidecars on {address} in plaintext to every process of this machine, which may claim any namespace (--insecure)"
            ));
            return Ok(());
        }
        Doors::Secure { direct, mesh } => (direct, mesh),
    };
    if let Some(DirectDoor { listen, tls, trust_domain, token_audience }) = direct {
        let tokens = match token_audience {
            Some(audience) => {
                let reviewer = feed.token_reviewer().context(
                    "--identity token: the Kubernetes API verifies tokens, and --from-dir takes its place; use --identity certificate, or \
                     remove --from-dir",
                )?;
                Some(Arc::new(Tokens::new(audience, reviewer)))
            }
            None => None,
        };
        let tls = Arc::new(Tls::read(tls)?);
        let trust = Trust::Proofs { trust_domain: trust_domain.map(Arc::from), tokens };
        let address = listener.listen(listen, trust, Some(Arc::clone(&tls))).await?;
        tokio::spawn(async move { tls.watch_files().await });
        log::note(&format!("serving sidecars on {address} over TLS"));
    }
    if let Some(MeshDoor { listen, trust_domain }) = mesh {
        let trust = Trust::Sidecar { trust_domain: trust_domain.into() };
        let address = listener.listen(listen, trust, None).await?;
        log::note(&format!("serving sidecars of the mesh on {address}, only through the sidecar of this pod"));
    }
    Ok(())
}

/// Brings what is served up to date, unless the brake holds. The first change arrived at `since`. Returns the time to wait before a retry, if one is needed.
fn update(feed: &mut ClusterFeed, plane: &mut ControlPlane, metrics: &Metrics, since: Instant) -> Option<Duration> {
    let is_failing = feed.is_failing();
    let reading = match feed.read() {
        Reading::Held => return None,
        Reading::Disturbed => return Some(Duration::ZERO),
        Reading::Failed(problems) => {
            plane.resources.keep();
            plane.failed(problems.messages().collect());
            return None;
        }
        Reading::Complete(reading) => reading,
    };
    let begun = Instant::now();
    let is_first = !plane.resources.is_complete();
    let update = plane.resources.update(&reading);
    metrics.update_seconds.observe(begun.elapsed().as_secs_f64());
    // What is left out is counted whenever something is sent.
    let (services, clusters, _) = plane.resources.counts();
    for (gauge, count) in [(&metrics.services, services), (&metrics.clusters, clusters)] {
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    if update.problems.is_empty() {
        // Before the server is ready, so that whoever waits for that sees it.
        if !is_failing {
            metrics.note_behind(false);
        }
        metrics.last_update.set_now();
    } else {
        metrics.update_failures.inc();
    }
    plane.failed(update.problems);
    plane.changed(update.changed, since.into_std());
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
