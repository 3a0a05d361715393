//! What commands share that run until they are stopped: log lines, an HTTP server, metrics, signals and times.

pub(crate) mod backoff;
mod debouncer;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod metrics;
mod stop;

use std::future;

use anyhow::Context;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::{debouncer::Debouncer, stop::Stop};

/// Runs `command` on this thread, beside this number of worker threads, and waits for nothing that it has spawned.
///
/// # Errors
/// Those of `command`, or if no thread can be started.
pub(crate) fn run_until_stopped(
    workers: usize,
    command: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(workers).enable_all().build().context("cannot start the async runtime")?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}

/// Waits until this time, or for ever.
pub(crate) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => future::pending().await,
    }
}
