//! A name of the cluster as its labels: what a lookup goes by.
//!
//! Nearly every request has a name that was put together of what was asked for and a search domain. Its labels are those of
//! the one and then those of the other, each taken apart once, and the name itself is written out only where somebody wants
//! to see it.

use alloc::boxed::Box;

use crate::name::labels_from_the_end;

/// More labels than any name in the cluster has.
const MOST: usize = 6;

/// The labels of a text, the last one first. More than mean anything are not kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Labels<'n> {
    all: [&'n str; MOST],
    count: usize,
}

impl<'n> Labels<'n> {
    /// Those of a text that may have none.
    pub(crate) fn split(text: &'n str) -> Self {
        let mut labels = Self::default();
        if !text.is_empty() {
            for (place, label) in labels.all.iter_mut().zip(labels_from_the_end(text)) {
                *place = label;
                labels.count += 1;
            }
        }
        labels
    }

    /// All of them.
    pub(crate) fn as_slice(&self) -> &[&'n str] {
        self.all.get(..self.count).unwrap_or_default()
    }
}

/// The labels of a name below the cluster domain, the last one first: those of a search domain, and of what was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    pub(crate) domain: &'p [Box<str>],
    pub(crate) name: &'p Labels<'p>,
}

impl<'p> Path<'p> {
    /// That of a name which is in no search domain.
    pub(crate) fn of(name: &'p Labels<'p>) -> Self {
        Self { domain: &[], name }
    }

    /// How many there are, if no more than mean anything.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.domain.len() + self.name.count
    }

    /// One of them; `""` where there is none.
    #[inline(always)]
    pub(crate) fn label(&self, index: usize) -> &'p str {
        match self.domain.get(index) {
            Some(label) => label,
            None => self.name.as_slice().get(index - self.domain.len()).copied().unwrap_or_default(),
        }
    }

    /// Namespace and name of the Service whose whole name this is.
    pub(crate) fn service(&self) -> Option<(&'p str, &'p str)> {
        (self.len() == 3 && self.label(0) == "svc").then(|| (self.label(1), self.label(2)))
    }
}
