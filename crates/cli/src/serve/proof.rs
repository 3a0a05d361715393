//! The proof by which a caller is verified, and when it runs out.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::identity::Identity;

/// Time between two looks at the clock, which can be set.
const LOOK: Duration = Duration::from_secs(60);

/// A verified identity, for as long as its proof counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    pub(super) identity: Identity,
    pub(super) expiry: Option<Expiry>,
}

/// When a proof runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) at: SystemTime,
    /// What runs out, as text for people.
    pub(super) what: &'static str,
}

impl Expiry {
    /// Whether the proof counts no longer.
    pub(super) fn is_over(self) -> bool {
        SystemTime::now() >= self.at
    }

    /// Waits until the proof counts no longer.
    pub(super) async fn over(self) {
        while let Ok(left @ 1..) = self.at.duration_since(SystemTime::now()).map(|left| left.as_nanos()) {
            sleep(Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)).min(LOOK)).await;
        }
    }

    /// Why the stream of such a caller ends.
    pub(super) fn text(self) -> String {
        format!("{} has expired; connect again with the new one", self.what)
    }
}

/// Waits until the proof counts no longer; for ever where nothing runs out.
pub(super) async fn over(expiry: Option<Expiry>) {
    match expiry {
        Some(expiry) => expiry.over().await,
        None => std::future::pending().await,
    }
}
