//! The purpose of a contestant's Envoy, and how it is set up for it.

use super::world::Reach;

/// What an Envoy is started for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// To measure requests, over and over: one worker, and every endpoint answers.
    Requests,
    /// To measure what it is to have it: two workers, and endpoints as a cluster has them.
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
