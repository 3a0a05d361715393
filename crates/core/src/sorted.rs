//! A map by texts that is filled when a configuration is read and then only asked, seldom: a sorted list, which is a fraction
//! of a hash map's code.

use alloc::{boxed::Box, vec::Vec};
use core::cmp::Ordering;

#[derive(Clone, Debug)]
pub(crate) struct Sorted<T>(Vec<(Box<str>, T)>);

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Sorted<T> {
    /// Puts `value` in under `key`, and says whether nothing was there. What was stays.
    pub(crate) fn insert(&mut self, key: &str, value: T) -> bool {
        let place = self.0.binary_search_by(|(other, _)| (**other).cmp(key));
        if let Err(place) = place {
            self.0.insert(place, (key.into(), value));
        }
        place.is_err()
    }

    /// What is there under the key that these parts make up.
    pub(crate) fn get(&self, key: &[&str]) -> Option<&T> {
        let compare = |other: &str| -> Ordering { other.bytes().cmp(key.iter().flat_map(|part| part.bytes())) };
        let place = self.0.binary_search_by(|(other, _)| compare(other)).ok()?;
        self.0.get(place).map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
