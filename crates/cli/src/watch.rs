//! A table that is kept current: a cluster is followed, by its API or by files, and with each change of it the file that Envoy
//! watches is replaced.

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

/// What is followed, what is made of it, and where that goes.
pub struct Job {
    /// What is followed.
    pub source: SourceOptions,
    /// What is made of it.
    pub make: Make,
    /// As what it is written.
    pub format: OutputFileFormat,
    /// The file that is kept current.
    pub output: PathBuf,
    /// Where metrics and health are asked for.
    pub listen: Option<SocketAddr>,
    /// How long nothing must change before a table is made.
    pub quiet: Duration,
}

/// What is followed.
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

/// Does `job` until the process is told to end.
///
/// # Errors
/// What is wrong at the start: what cannot be followed, written or listened on. Whatever fails later is said, counted and tried
/// again.
pub fn run(job: Job) -> anyhow::Result<()> {
    // What is compiled has this thread, and all else the other one: health is answered meanwhile.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().context("cannot start")?;
    let result = runtime.block_on(follow(job));
    runtime.shutdown_background();
    result
}

async fn follow(job: Job) -> anyhow::Result<()> {
    let Job { source, make, format, output: file, listen, quiet } = job;
    let mut stop = Stop::new().context("signals cannot be received")?;
    let metrics = Arc::new(Metrics::new());
    refuse_circle(&source, &file)?;
    let shown = file.display().to_string();
    let mut target = OutputFile::new(file, make, format, Arc::clone(&metrics))?;
    if let Some(address) = listen {
        let (address, server) = server::listen(address, Arc::clone(&metrics)).await?;
        tokio::spawn(server);
        output::note(&format!("answers on http://{address}"));
    }
    let mut source = ClusterSource::open(source, &metrics).await?;
    output::note(&format!("started; follows {}; writes {shown}", source.called()));
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
    output::note("ends, as it was told to");
    Ok(())
}

/// A file that is written where files are read would be read.
fn refuse_circle(source: &SourceOptions, file: &Path) -> anyhow::Result<()> {
    let SourceOptions::Files(paths) = source else { return Ok(()) };
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (Ok(directory), Some(name)) = (directory.canonicalize(), file.file_name()) else { return Ok(()) };
    let whole = directory.join(name);
    for path in paths {
        if path.canonicalize().is_ok_and(|path| whole.starts_with(path)) {
            bail!("{}: is in {}, which is read; name a file elsewhere", file.display(), path.display());
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

    /// Waits for what happens next, and says whether that changes anything.
    async fn changed(&mut self) -> bool {
        match self {
            Self::Api(api) => api.changed().await,
            Self::Files(files) => {
                files.changed().await;
                true
            }
        }
    }

    /// Whether all of the cluster is known: before that nothing is written.
    fn is_complete(&self) -> bool {
        match self {
            Self::Api(api) => api.cluster().is_some(),
            Self::Files(_) => true,
        }
    }

    /// Brings `target` up to date, and says after what time to try again where that fails.
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
                // They changed while they were read.
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
