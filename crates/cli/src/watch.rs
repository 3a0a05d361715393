//! Keeps a table current: watches a cluster through its API or files, and replaces the file that Envoy watches on every
//! change.

mod changes;
mod metrics;
mod monitor;
mod output_file;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::Instant;

pub use self::output_file::{Made, Make, OutputFileFormat};
use self::{metrics::Metrics, monitor::Monitor, output_file::OutputFile};
use crate::{
    cluster_feed::{ClusterFeed, Reading, SourceOptions},
    daemon::{Debouncer, Stop, http, log, run_until_stopped, until},
};

/// The input, the compiler and the output of a watch.
pub struct Job {
    /// Source of the cluster.
    pub source: SourceOptions,
    /// Compiles the cluster.
    pub make: Make,
    /// Format of the output.
    pub format: OutputFileFormat,
    /// The file to keep current.
    pub output: PathBuf,
    /// Address that serves metrics and health; `None` for no server.
    pub listen: Option<SocketAddr>,
    /// Time without changes before a table is compiled.
    pub quiet: Duration,
    /// Time before a list that lacks many objects is listed again; zero to believe it at once.
    pub brake: Duration,
}

/// Runs `job` until SIGTERM or SIGINT.
///
/// # Errors
/// If the source, the output or the address is not usable at the start. Later failures are logged, counted and retried.
pub fn run(job: Job) -> anyhow::Result<()> {
    // Compiling blocks this thread; the worker thread serves health and metrics meanwhile.
    run_until_stopped(1, follow(job))
}

async fn follow(job: Job) -> anyhow::Result<()> {
    let Job { source, make, format, output: file, listen, quiet, brake } = job;
    let mut stop = Stop::new().context("cannot install signal handlers")?;
    let (metrics, lever) = (Arc::new(Metrics::new()), Arc::default());
    refuse_circle(&source, &file)?;
    let shown = file.display().to_string();
    let mut target = OutputFile::new(file, make, format, Arc::clone(&metrics))?;
    if let Some(address) = listen {
        let monitor = Monitor { metrics: Arc::clone(&metrics), lever: Arc::clone(&lever) };
        let address = http::start(address, Arc::new(monitor)).await?;
        log::note(&format!("listening on http://{address}"));
    }
    let mut feed = ClusterFeed::open(source, brake, lever, Arc::clone(&metrics.feed)).await?;
    log::note(&format!("started: watching {}, writing {shown}", feed.called()));
    let mut debouncer = Debouncer::new(quiet);
    loop {
        let due = debouncer.due().and_then(|due| feed.due(due, target.has_table()));
        tokio::select! {
            () = stop.asked() => break,
            change = feed.changed() => change.tell(&mut debouncer),
            () = until(due) => {
                let begun = Instant::now();
                let again = update(&mut feed, &mut target);
                debouncer.done(begun.elapsed());
                if let Some(after) = again {
                    debouncer.again(after);
                }
            }
        }
    }
    feed.announce();
    log::note("stopped by a signal");
    Ok(())
}

/// Brings `target` up to date, unless the brake holds. Returns the time to wait before a retry, if one is needed.
fn update(feed: &mut ClusterFeed, target: &mut OutputFile) -> Option<Duration> {
    match feed.read() {
        Reading::Held => None,
        Reading::Disturbed => Some(Duration::ZERO),
        Reading::Failed(problems) => {
            target.fail(problems.messages().collect());
            None
        }
        Reading::Complete(reading) => target.update(&reading.cluster, &reading.unreadable),
    }
}

/// Refuses an output inside a watched directory, because it would be read as input.
fn refuse_circle(source: &SourceOptions, file: &Path) -> anyhow::Result<()> {
    let SourceOptions::Files { paths, .. } = source else { return Ok(()) };
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(directory), Some(name)) = (directory.canonicalize(), file.file_name()) else { return Ok(()) };
    let whole = directory.join(name);
    for path in paths {
        if path.canonicalize().is_ok_and(|path| whole.starts_with(path)) {
            bail!("{}: is inside {}, which is watched; use an output file elsewhere", file.display(), path.display());
        }
    }
    Ok(())
}
