//! A list that grows without being copied: for Services that are read before it is known how many there are, in a memory that
//! never shrinks.

use alloc::vec::Vec;

/// So many stand together.
const PIECE: usize = 1_024;

pub(crate) struct Pieces<T> {
    full: Vec<Vec<T>>,
    last: Vec<T>,
}

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { full: Vec::new(), last: Vec::new() }
    }
}

impl<T> Pieces<T> {
    pub(crate) fn len(&self) -> usize {
        self.full.len() * PIECE + self.last.len()
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.last.len() == PIECE {
            let full = core::mem::replace(&mut self.last, Vec::with_capacity(PIECE));
            self.full.push(full);
        }
        self.last.push(value);
    }
}

/// In order; each piece is let go of when it was taken.
impl<T> IntoIterator for Pieces<T> {
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
    fn nothing_is_lost_between_pieces() {
        for count in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let mut pieces = Pieces::default();
            (0..count).for_each(|number| pieces.push(number));
            assert_eq!(pieces.len(), count);
            assert!(pieces.into_iter().eq(0..count), "{count}");
        }
    }
}
