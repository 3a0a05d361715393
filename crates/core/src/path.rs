//! A name of the cluster as its labels: what a lookup goes by.
//!
//! Nearly every request has a name that was put together of what was asked for and a search domain. Its labels are those of
//! the one and then those of the other, so the name itself is written out only where somebody wants to see it.

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
        below(name, zone).map(|below| Self::default().with(below))
    }

    /// With the labels of `text`, which may be none, before its own.
    pub(crate) fn with(mut self, text: &'n str) -> Self {
        if !text.is_empty() {
            for label in labels_from_the_end(text) {
                let Some(place) = self.labels.get_mut(self.count) else { break };
                *place = label;
                self.count += 1;
            }
        }
        self
    }

    /// All of them.
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
