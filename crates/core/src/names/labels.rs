//! A name below the cluster domain as its labels, which a lookup compares.
//!
//! Nearly every name is joined from what the client asked for and a search domain. Each part is split into labels once, and
//! the joined name is written out only where a person wants to see it. Labels are bytes, because a request compares them with
//! others, and need not be text for that.

use alloc::boxed::Box;
use core::str::from_utf8;

/// One more than the longest name in the cluster has (`_port._proto.svc.ns.svc`), so that longer names can be told apart.
const MAX_LABELS: usize = 6;

/// The labels of a text, the last label first, at most [`MAX_LABELS`] of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Labels<'n> {
    all: [&'n [u8]; MAX_LABELS],
    count: usize,
}

impl<'n> Labels<'n> {
    /// A text without dots.
    pub(crate) fn one(text: &'n [u8]) -> Self {
        Self { all: [text, &[], &[], &[], &[], &[]], count: 1 }
    }

    /// Splits a text, which may be empty.
    #[inline(never)]
    pub(crate) fn split(text: &'n [u8]) -> Self {
        let mut labels = Self::default();
        if !text.is_empty() {
            for (slot, label) in labels.all.iter_mut().zip(text.rsplit(|byte| *byte == b'.')) {
                *slot = label;
                labels.count += 1;
            }
        }
        labels
    }

    /// The labels, the last one first.
    pub(crate) fn as_slice(&self) -> &[&'n [u8]] {
        self.all.get(..self.count).unwrap_or_default()
    }
}

/// A name below the cluster domain: the labels of a search domain, then the labels of what the client asked for, each with the
/// last label first.
#[derive(Clone, Copy)]
pub(crate) struct ClusterName<'p> {
    pub(crate) domain: &'p [Box<[u8]>],
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

    /// The label at `index` from the end; empty where the name is shorter.
    #[inline(always)]
    pub(crate) fn label(&self, index: usize) -> &'p [u8] {
        match self.domain.get(index) {
            Some(label) => label,
            None => self.name.as_slice().get(index - self.domain.len()).copied().unwrap_or_default(),
        }
    }

    /// [`ClusterName::label`] as text.
    #[inline(never)]
    pub(crate) fn text(&self, index: usize) -> &'p str {
        let text = from_utf8(self.label(index));
        debug_assert!(text.is_ok(), "a name is ASCII");
        text.unwrap_or_default()
    }

    /// Namespace and name of the Service, if this is the name of one or below one.
    pub(crate) fn service_above(&self) -> Option<(&'p str, &'p str)> {
        (self.len() >= 3 && self.label(0) == b"svc").then(|| (self.text(1), self.text(2)))
    }

    /// Namespace and name of the Service, if this is the whole name of one.
    #[inline(always)]
    pub(crate) fn service(&self) -> Option<(&'p [u8], &'p [u8])> {
        if self.len() == 3 && self.label(0) == b"svc" { Some((self.label(1), self.label(2))) } else { None }
    }
}
