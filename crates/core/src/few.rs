//! A list that mostly holds one, which then stands in place: a table by tens of thousands has hardly anything else.

use alloc::{boxed::Box, vec::Vec};
use core::{
    ops::{Deref, DerefMut},
    slice,
};

#[derive(Clone, Debug)]
pub(crate) enum Few<T> {
    One(T),
    Any(Box<[T]>),
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::Any(Box::default())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Any(all) => all,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(one) => slice::from_mut(one),
            Self::Any(all) => all,
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all = all.into_iter();
        match (all.next(), all.next()) {
            (None, _) => Self::default(),
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => Self::Any([first, second].into_iter().chain(all).collect()),
        }
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(all: Vec<T>) -> Self {
        all.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_and_one_stands_in_place() {
        for count in 0..5 {
            let few: Few<u32> = (0..count).collect();
            assert!(few.iter().copied().eq(0..count), "{few:?}");
            assert_eq!(matches!(few, Few::One(_)), count == 1);
        }
    }
}
