//! The middle, the 99th percentile and the longest of many times.

use std::fmt::{self, Display, Formatter};

/// By the nearest rank, so each is one of the times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentiles<T> {
    pub(crate) p50: T,
    pub(crate) p99: T,
    pub(crate) longest: T,
}

impl<T: Copy + Default + Ord> Percentiles<T> {
    /// Those of no time at all are zero.
    pub(crate) fn of(mut times: Vec<T>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1));
        let [p50, p99, longest] = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or_default());
        Self { p50, p99, longest }
    }
}

impl<T: fmt::Debug> Display for Percentiles<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0?} (p50), {:.0?} (p99), {:.0?} (longest)", self.p50, self.p99, self.longest)
    }
}
