//! The choice of a subset: by weight, always the same one for an affinity key.
//!
//! `table::subsets` has narrowed the subsets down already. For a key they are ranked by weighted rendezvous hashing, so a change
//! of weights moves no more keys than it must.

use super::{
    env::random_below,
    rendezvous::{Ranking, score},
};
use crate::table::WeightedSubset;

/// The subset for a request with this affinity key, or else with this random number; and its index.
pub(crate) fn choose_subset<'s>(
    subsets: &'s [WeightedSubset],
    key: Option<u64>,
    random: &mut dyn FnMut() -> u64,
) -> Option<(&'s WeightedSubset, u16)> {
    let index = match (subsets, key) {
        ([_], _) => 0,
        (_, Some(key)) => {
            let mut best = Ranking::new();
            for (index, subset) in subsets.iter().enumerate() {
                best.offer(index, score(key, subset.id), subset.weight);
            }
            best.winner()?
        }
        (_, None) => {
            let total = u64::from(subsets.last()?.until);
            let at = random_below(random(), total);
            subsets.partition_point(|subset| u64::from(subset.until) <= at)
        }
    };
    // At most MAX_SUBSETS, and the endpoints outside every subset.
    Some((subsets.get(index)?, u16::try_from(index).ok()?))
}
