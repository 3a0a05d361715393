//! A small map that keeps the order in which it was written.

use alloc::{boxed::Box, vec::Vec};

use serde::{Serialize, Serializer};

/// The entries of a JSON object whose keys its author chooses, in the author's order. Lookup is linear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<T>(Vec<(Box<str>, T)>);

impl<T> Entries<T> {
    pub(crate) const EMPTY: Self = Self(Vec::new());

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The value of the first entry with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        self.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends an entry, and returns its value to be filled in.
    pub(crate) fn push(&mut self, key: &str, value: T) -> Option<&mut T> {
        self.0.push((key.into(), value));
        self.0.last_mut().map(|(_, value)| value)
    }

    /// A key that occurs twice.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        let mut before = self.0.as_slice();
        while let Some(((key, _), rest)) = before.split_last() {
            if rest.iter().any(|(other, _)| other == key) {
                return Some(key);
            }
            before = rest;
        }
        None
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'a, T> FromIterator<(&'a str, T)> for Entries<T> {
    fn from_iter<I: IntoIterator<Item = (&'a str, T)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
