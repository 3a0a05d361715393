//! Exit statuses.

/// Success.
pub(super) const FINE: u8 = 0;
/// The answer is no: refused, findings, differences.
pub(super) const NO: u8 = 1;
/// An argument or the input is invalid, and nothing was written.
pub(super) const WRONG: u8 = 2;
