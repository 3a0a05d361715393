//! Keeps a table current: watches a cluster through its API or files, and replaces the file that Envoy watches on every
//! change.

mod api;
mod backoff;
mod changes;
mod debouncer;
mod files;
mod metrics;
mod object;
mod output_file;
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

use self::{api::Api, debouncer::Debouncer, files::Files, metrics::Metrics, output_file::OutputFile};
pub use self::{
    api::ApiOptions,
    output_file::{Made, Make, OutputFileFormat},
};
use crate::output;

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
    let Job { source, make, format, output: file, listen, quiet } = job;
    let mut stop = Stop::new().context("cannot install signal handlers")?;
    let metrics = Arc::new(Metrics::new());
    refuse_circle(&source, &file)?;
    let shown = file.display().to_string();
    let mut target = OutputFile::new(file, make, format, Arc::clone(&metrics))?;
    if let Some(address) = listen {
        let (address, server) = server::listen(address, Arc::clone(&metrics)).await?;
        tokio::spawn(server);
        output::note(&format!("listening on http://{address}"));
    }
    let mut source = ClusterSource::open(source, &metrics).await?;
    output::note(&format!("started: watching {}, writing {shown}", source.called()));
    let mut debouncer = Debouncer::new(quiet);
    loop {
        let due = debouncer.due().filter(|_| source.is_complete());
        tokio::select! {
            () = stop.asked() => break,
            changed = source.changed() => {
                if changed {
                    debouncer.changed();
                }
            }
            () = until(due) => {
                let begun = Instant::now();
                let again = source.update(&mut target, &metrics);
                debouncer.done(begun.elapsed());
                if let Some(after) = again {
                    debouncer.again(after);
                }
            }
        }
    }
    output::note("stopped by a signal");
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

    /// Waits for the next event. Returns whether it changes anything.
    async fn changed(&mut self) -> bool {
        match self {
            Self::Api(api) => api.changed().await,
            Self::Files(files) => {
                files.changed().await;
                true
            }
        }
    }

    /// Whether every kind of object is listed. Nothing is written before that.
    fn is_complete(&self) -> bool {
        match self {
            Self::Api(api) => api.cluster().is_some(),
            Self::Files(_) => true,
        }
    }

    /// Brings `target` up to date. Returns the time to wait before a retry, if one is needed.
    fn update(&mut self, target: &mut OutputFile, metrics: &Metrics) -> Option<Duration> {
        match self {
            Self::Api(api) => {
                let unreadable: Vec<_> = api.unreadable().collect();
                target.update(api.cluster()?, &unreadable)
            }
            Self::Files(files) => match files.read() {
                Some(Ok(cluster)) => target.update(&cluster, &[]),
                Some(Err(problems)) => {
                    metrics.read_failures.inc();
                    target.fail(problems.to_string());
                    None
                }
                // The files changed during the read.
                None => Some(Duration::ZERO),
            },
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
