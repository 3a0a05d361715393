//! The search path: which absolute names a resolver tries for a name that a program used, and in which order.
//!
//! A pod's default list is `<namespace>.svc.<zone>`, `svc.<zone>`, `<zone>` and what the node adds, with `ndots:5`
//! (Kubernetes: DNS for Services and Pods).
//!
//! | the name | glibc | musl |
//! |---|---|---|
//! | ends in a dot | itself | itself |
//! | fewer dots than `ndots` | the list, then itself | the list, then itself |
//! | as many or more | itself, then the list | itself |
//!
//! Where the two columns differ, musl is the one that follows its own documentation: it never tries the list for a name
//! that has the dots. An entry `.` of the list is the root: the name itself.

use alloc::boxed::Box;
use core::ops::ControlFlow;

use crate::name::Name;

/// Whose order of candidates holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolver {
    /// The GNU C library: resolv.conf(5). Most base images.
    #[default]
    Glibc,
    /// musl, as in Alpine.
    Musl,
}

/// A search list with its `ndots`.
#[derive(Clone, Debug)]
pub struct SearchPath {
    /// Without dots at the ends; `""` is the root.
    suffixes: Box<[Box<str>]>,
    ndots: usize,
    resolver: Resolver,
}

/// One absolute name that a resolver tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'n> {
    /// The absolute name.
    pub name: &'n Name,
    /// Whether it is the name as it was asked, tried before others or alone: outside the cluster domain the answer of
    /// public DNS, which nobody here knows, then decides.
    pub asked_first: bool,
}

impl SearchPath {
    /// `suffixes` are lowercase names without trailing dots, in the order in which they are tried; `""` is the root.
    pub(crate) fn new(suffixes: Box<[Box<str>]>, ndots: u8, resolver: Resolver) -> Self {
        Self { suffixes, ndots: usize::from(ndots), resolver }
    }

    /// Whether the list is tried for `name` at all.
    pub(crate) fn has_list(&self, name: &Name, absolute: bool) -> bool {
        !absolute && (self.resolver == Resolver::Glibc || name.dots() < self.ndots)
    }

    /// Hands the absolute names tried for `name` to `each`, in order, until it breaks off. One that would be too long for a
    /// name is left out, as resolvers do.
    ///
    /// The names are written one after another into the same place: this is what every request comes by.
    pub fn try_each<B>(
        &self,
        name: &Name,
        absolute: bool,
        mut each: impl FnMut(Candidate<'_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let first = absolute || name.dots() >= self.ndots;
        if first {
            each(Candidate { name, asked_first: true })?;
        }
        if self.has_list(name, absolute) {
            let mut joined = *name;
            for suffix in &self.suffixes {
                if suffix.is_empty() {
                    each(Candidate { name, asked_first: true })?;
                } else if joined.join(name.len(), suffix) {
                    each(Candidate { name: &joined, asked_first: false })?;
                }
            }
        }
        if first { ControlFlow::Continue(()) } else { each(Candidate { name, asked_first: false }) }
    }
}
