//! A map by text that is filled when a configuration is read and looked up rarely: a sorted list, whose code is a fraction of
//! a hash map's.

use alloc::{boxed::Box, vec::Vec};
use core::cmp::Ordering;

#[derive(Clone, Debug)]
pub(crate) struct SortedMap<T>(Vec<(Box<str>, T)>);

impl<T> Default for SortedMap<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> SortedMap<T> {
    /// Inserts `value` under `key`, and returns whether the key was free. An existing entry stays.
    pub(crate) fn insert(&mut self, key: &str, value: T) -> bool {
        let index = self.0.binary_search_by(|(other, _)| (**other).cmp(key));
        if let Err(index) = index {
            self.0.insert(index, (key.into(), value));
        }
        index.is_err()
    }

    /// The value of the key that `parts` spell when joined.
    pub(crate) fn get(&self, parts: &[&str]) -> Option<&T> {
        let compare = |other: &str| -> Ordering { other.bytes().cmp(parts.iter().flat_map(|part| part.bytes())) };
        let index = self.0.binary_search_by(|(other, _)| compare(other)).ok()?;
        self.0.get(index).map(|(_, value)| value)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
