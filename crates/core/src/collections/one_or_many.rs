//! A list that holds a single element without an allocation: in a table of tens of thousands of Services, nearly every list has
//! one element.

use alloc::{boxed::Box, vec::Vec};
use core::{
    ops::{Deref, DerefMut},
    slice,
};

#[derive(Clone, Debug)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Box<[T]>),
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T> DerefMut for OneOrMany<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(one) => slice::from_mut(one),
            Self::Many(many) => many,
        }
    }
}

impl<T> FromIterator<T> for OneOrMany<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements = elements.into_iter();
        match (elements.next(), elements.next()) {
            (None, _) => Self::default(),
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => Self::Many([first, second].into_iter().chain(elements).collect()),
        }
    }
}

impl<T> From<Vec<T>> for OneOrMany<T> {
    fn from(elements: Vec<T>) -> Self {
        elements.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_element_and_a_single_one_in_place() {
        for count in 0..5 {
            let list: OneOrMany<u32> = (0..count).collect();
            assert!(list.iter().copied().eq(0..count), "{list:?}");
            assert_eq!(matches!(list, OneOrMany::One(_)), count == 1);
        }
    }
}
