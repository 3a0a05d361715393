//! Exit statuses.

/// Nothing is wrong.
pub(super) const FINE: u8 = 0;
/// The answer is no: not reachable, findings, differences.
pub(super) const NO: u8 = 1;
/// What was typed or read is wrong, and nothing was written.
pub(super) const WRONG: u8 = 2;
