//! A name below the cluster domain as its labels, which a lookup compares.
//!
//! Nearly every name is joined from what the client asked for and a search domain. Each part is split into labels once, and
//! the joined name is written out only where a person wants to see it.

use alloc::boxed::Box;

use super::name::labels_from_the_end;

/// One more than the longest name in the cluster has (`_port._proto.svc.ns.svc`), so that longer names can be told apart.
const MAX_LABELS: usize = 6;

/// The labels of a text, the last label first, at most [`MAX_LABELS`] of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Labels<'n> {
    all: [&'n str; MAX_LABELS],
    count: usize,
}

impl<'n> Labels<'n> {
    /// Splits a text, which may be empty.
    pub(crate) fn split(text: &'n str) -> Self {
        let mut labels = Self::default();
        if !text.is_empty() {
            for (slot, label) in labels.all.iter_mut().zip(labels_from_the_end(text)) {
                *slot = label;
                labels.count += 1;
            }
        }
        labels
    }

    /// The labels, the last one first.
    pub(crate) fn as_slice(&self) -> &[&'n str] {
        self.all.get(..self.count).unwrap_or_default()
    }
}

/// A name below the cluster domain: the labels of a search domain, then the labels of what the client asked for, each with the
/// last label first.
#[derive(Clone, Copy)]
pub(crate) struct ClusterName<'p> {
    pub(crate) domain: &'p [Box<str>],
    pub(crate) name: &'p Labels<'p>,
}

impl<'p> ClusterName<'p> {
    /// A name that no search domain was appended to.
    pub(crate) fn new(name: &'p Labels<'p>) -> Self {
        Self { domain: &[], name }
    }

    /// The number of labels, where it is at most the number that any name in the cluster has.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.domain.len() + self.name.count
    }

    /// The label at `index` from the end; `""` where the name is shorter.
    #[inline(always)]
    pub(crate) fn label(&self, index: usize) -> &'p str {
        match self.domain.get(index) {
            Some(label) => label,
            None => self.name.as_slice().get(index - self.domain.len()).copied().unwrap_or_default(),
        }
    }

    /// Namespace and name of the Service, if this is the name of one or below one.
    pub(crate) fn service_above(&self) -> Option<(&'p str, &'p str)> {
        (self.len() >= 3 && self.label(0) == "svc").then(|| (self.label(1), self.label(2)))
    }

    /// Namespace and name of the Service, if this is the whole name of one.
    pub(crate) fn service(&self) -> Option<(&'p str, &'p str)> {
        (self.len() == 3 && self.label(0) == "svc").then(|| (self.label(1), self.label(2)))
    }
}
