//! How far reading is.

/// Objects read, and the objects known to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects that were read.
    pub read: u64,
    /// Objects that there are, as far as the API has told.
    pub known: u64,
}
