//! A list that grows without copying its elements.
//!
//! Services are read before their number is known, into memory that never shrinks: a `Vec` that doubles would leave holes as
//! large as the table.

use alloc::vec::Vec;

/// Elements of one chunk.
const CHUNK: usize = 1_024;

pub(crate) struct ChunkedVec<T> {
    full: Vec<Vec<T>>,
    last: Vec<T>,
}

impl<T> Default for ChunkedVec<T> {
    fn default() -> Self {
        Self { full: Vec::new(), last: Vec::new() }
    }
}

impl<T> ChunkedVec<T> {
    pub(crate) fn len(&self) -> usize {
        self.full.len() * CHUNK + self.last.len()
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.last.len() == CHUNK {
            let full = core::mem::replace(&mut self.last, Vec::with_capacity(CHUNK));
            self.full.push(full);
        }
        self.last.push(value);
    }
}

/// Yields the elements in order, and frees each chunk once it is consumed.
impl<T> IntoIterator for ChunkedVec<T> {
    type Item = T;
    type IntoIter = core::iter::Flatten<alloc::vec::IntoIter<Vec<T>>>;

    fn into_iter(mut self) -> Self::IntoIter {
        self.full.push(self.last);
        self.full.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_element_across_chunks() {
        for count in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let mut list = ChunkedVec::default();
            (0..count).for_each(|number| list.push(number));
            assert_eq!(list.len(), count);
            assert!(list.into_iter().eq(0..count), "{count}");
        }
    }
}
