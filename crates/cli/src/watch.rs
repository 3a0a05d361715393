//! Keeps a table current: watches a cluster through its API or files, and replaces the file that Envoy watches on every
//! change.

mod announcer;
mod api;
mod api_options;
mod backoff;
mod brake;
mod changes;
mod client;
mod debouncer;
mod failure;
mod feed;
mod files;
mod follow;
mod hold;
mod log;
mod metrics;
mod namespaces;
mod object;
mod output_file;
mod progress;
mod recovery;
mod request;
mod server;
mod store;

use std::{
    future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use self::{
    api::{Api, Change},
    brake::{Brake, BrakeLever},
    debouncer::Debouncer,
    files::Files,
    hold::Hold,
    metrics::Metrics,
    output_file::OutputFile,
};
pub use self::{
    api_options::ApiOptions,
    output_file::{Made, Make, OutputFileFormat},
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

/// Source of the cluster.
#[derive(Clone, Debug)]
pub enum SourceOptions {
    /// The Kubernetes API.
    Api(ApiOptions),
    /// Files and directories.
    Files(Vec<PathBuf>),
}

enum ClusterSource {
    Api(Box<Api>),
    Files(Box<Files>),
}

/// Runs `job` until SIGTERM or SIGINT.
///
/// # Errors
/// If the source, the output or the address is not usable at the start. Later failures are logged, counted and retried.
pub fn run(job: Job) -> anyhow::Result<()> {
    // Compiling blocks this thread; the worker thread serves health and metrics meanwhile.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().context("cannot start the async runtime")?;
    let result = runtime.block_on(follow(job));
    runtime.shutdown_background();
    result
}

async fn follow(job: Job) -> anyhow::Result<()> {
    let Job { source, make, format, output: file, listen, quiet, brake } = job;
    let mut stop = Stop::new().context("cannot install signal handlers")?;
    let metrics = Arc::new(Metrics::new());
    refuse_circle(&source, &file)?;
    let shown = file.display().to_string();
    let mut target = OutputFile::new(file, make, format, Arc::clone(&metrics))?;
    let (mut brake, lever) = (Brake::new(brake, &metrics), Arc::new(BrakeLever::default()));
    if let Some(address) = listen {
        let (address, server) = server::listen(address, Arc::clone(&metrics), Arc::clone(&lever)).await?;
        tokio::spawn(server);
        log::note(&format!("listening on http://{address}"));
    }
    let mut source = ClusterSource::open(source, &metrics).await?;
    log::note(&format!("started: watching {}, writing {shown}", source.called()));
    let mut debouncer = Debouncer::new(quiet);
    loop {
        let due = debouncer.due().and_then(|due| source.due(due, target.has_table()));
        tokio::select! {
            () = stop.asked() => break,
            changed = source.changed() => match changed {
                Change::None => {}
                Change::Cluster => debouncer.changed(),
                Change::Resumed => debouncer.resumed(),
            },
            () = until(due) => {
                let begun = Instant::now();
                let again = source.update(&mut target, &mut brake, &metrics);
                lever.show(brake.is_held());
                debouncer.done(begun.elapsed());
                if let Some(after) = again {
                    debouncer.again(after);
                }
            }
            () = until(brake.confirm_at()) => {
                if source.list_again(&brake.asked()) {
                    debouncer.changed();
                }
            }
            () = lever.pulled() => {
                brake.release();
                debouncer.changed();
            }
        }
    }
    source.announce();
    log::note("stopped by a signal");
    Ok(())
}

/// Refuses an output inside a watched directory, because it would be read as input.
fn refuse_circle(source: &SourceOptions, file: &Path) -> anyhow::Result<()> {
    let SourceOptions::Files(paths) = source else { return Ok(()) };
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

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => future::pending().await,
    }
}

impl ClusterSource {
    async fn open(options: SourceOptions, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        Ok(match options {
            SourceOptions::Api(options) => Self::Api(Box::new(Api::connect(&options, Arc::clone(metrics)).await?)),
            SourceOptions::Files(paths) => Self::Files(Box::new(Files::open(paths)?)),
        })
    }

    fn called(&self) -> String {
        match self {
            Self::Api(api) => api.called.clone(),
            Self::Files(files) => files.called(),
        }
    }

    /// Waits for the next event.
    async fn changed(&mut self) -> Change {
        match self {
            Self::Api(api) => api.changed().await,
            Self::Files(files) => {
                files.changed().await;
                Change::Cluster
            }
        }
    }

    /// When a change that is due may be written; `None` to wait for more. Nothing is written before every kind is listed, and
    /// no mix of old and new replaces a table.
    fn due(&self, due: Instant, has_table: bool) -> Option<Instant> {
        match self {
            Self::Api(api) => {
                api.cluster()?;
                match api.hold() {
                    Hold::Until(until) if has_table => Some(due.max(until)),
                    Hold::Shut if has_table => None,
                    Hold::Open | Hold::Until(_) | Hold::Shut => Some(due),
                }
            }
            Self::Files(_) => Some(due),
        }
    }

    /// Brings `target` up to date, unless the brake holds. Returns the time to wait before a retry, if one is needed.
    fn update(&mut self, target: &mut OutputFile, brake: &mut Brake, metrics: &Metrics) -> Option<Duration> {
        match self {
            Self::Api(api) => {
                api.excuse();
                if !brake.admits(&api.losses(), metrics) {
                    return None;
                }
                api.accept_losses();
                let unreadable: Vec<_> = api.unreadable().collect();
                target.update(api.cluster()?, &unreadable)
            }
            Self::Files(files) => match files.read() {
                Some(Ok(cluster)) => {
                    if !brake.admits(&files.losses(&cluster), metrics) {
                        return None;
                    }
                    files.accept(&cluster);
                    target.update(&cluster, &[])
                }
                Some(Err(problems)) => {
                    metrics.read_failures.inc();
                    target.fail(problems.messages().collect());
                    None
                }
                // The files changed during the read.
                None => Some(Duration::ZERO),
            },
        }
    }

    /// Lists these kinds again. Returns whether an update does that.
    fn list_again(&self, kinds: &[&str]) -> bool {
        match self {
            Self::Api(api) => {
                api.list_again(kinds);
                false
            }
            Self::Files(_) => true,
        }
    }

    /// Logs the news that waits for more of its like.
    fn announce(&mut self) {
        match self {
            Self::Api(api) => api.announce(),
            Self::Files(_) => {}
        }
    }
}

/// The signals that end the process.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
