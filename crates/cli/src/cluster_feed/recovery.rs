//! Tells all feeds that wait for a retry that the API answers again.

use tokio::sync::watch;

/// Wakes all feeds that wait for a retry.
#[derive(Clone, Debug)]
pub(super) struct Recovery(watch::Sender<()>);

impl Recovery {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// Wakes all feeds that wait for a retry.
    pub(super) fn wake(&self) {
        self.0.send_replace(());
    }

    /// A receiver that changes with each wake.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}
