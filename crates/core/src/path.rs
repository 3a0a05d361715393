//! A name of the cluster as its labels: what a lookup goes by.
//!
//! Nearly every request has a name that was put together of what was asked for and a search domain. Its labels are those of
//! the one and then those of the other, each taken apart once, and the name itself is written out only where somebody wants
//! to see it.

use alloc::boxed::Box;

use crate::name::{below, labels_from_the_end};

/// More labels than any name in the cluster has.
const MOST: usize = 6;

/// The labels of a name below the cluster domain, the last one first. More than mean anything are not kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Path<'n> {
    labels: [&'n str; MOST],
    count: usize,
}

impl<'n> Path<'n> {
    /// That of an absolute name; `None` outside the cluster domain.
    pub(crate) fn of(name: &'n str, zone: &str) -> Option<Self> {
        below(name, zone).map(Self::split)
    }

    /// The labels of a text, of which there may be none.
    pub(crate) fn split(text: &'n str) -> Self {
        let mut path = Self::default();
        if !text.is_empty() {
            labels_from_the_end(text).take(MOST).for_each(|label| path.push(label));
        }
        path
    }

    /// These labels before those of a domain.
    pub(crate) fn within(&self, domain: &'n [Box<str>]) -> Self {
        let mut path = Self::default();
        domain.iter().for_each(|label| path.push(label));
        self.labels().iter().for_each(|label| path.push(label));
        path
    }

    #[inline(always)]
    fn push(&mut self, label: &'n str) {
        if let Some(place) = self.labels.get_mut(self.count) {
            *place = label;
            self.count += 1;
        }
    }

    /// All of them.
    #[inline(always)]
    pub(crate) fn labels(&self) -> &[&'n str] {
        self.labels.get(..self.count).unwrap_or_default()
    }

    /// Namespace and name of the Service whose whole name this is.
    pub(crate) fn service(&self) -> Option<(&'n str, &'n str)> {
        match self.labels() {
            ["svc", namespace, name] => Some((namespace, name)),
            _ => None,
        }
    }
}
