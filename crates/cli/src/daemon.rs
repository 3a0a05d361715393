//! What commands share that run until they are stopped: log lines, an HTTP server, signals and times.

pub(crate) mod backoff;
mod debouncer;
pub(crate) mod http;
pub(crate) mod log;
mod stop;

use std::future;

use tokio::time::{Instant, sleep_until};

pub(crate) use self::{debouncer::Debouncer, stop::Stop};

/// Waits until this time, or for ever.
pub(crate) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => future::pending().await,
    }
}
