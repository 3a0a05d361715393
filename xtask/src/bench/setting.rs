//! The purposes of a contestant's Envoy, and its settings for each.

use super::world::Reach;

/// The purpose of an Envoy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// Measures many requests, with one worker, and every endpoint answers.
    Requests,
    /// Measures start and memory, with two workers, and endpoints have distinct addresses.
    Standing,
}

impl Setting {
    pub(super) fn workers(self) -> u32 {
        match self {
            Self::Requests => 1,
            Self::Standing => 2,
        }
    }

    pub(super) fn reach(self) -> Reach {
        match self {
            Self::Requests => Reach::All,
            Self::Standing => Reach::First,
        }
    }
}
