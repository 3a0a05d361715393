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
pub struct Candidate {
    /// The absolute name.
    pub name: Name,
    /// Whether it is the name as it was asked, with nothing appended.
    pub as_asked: bool,
}

impl SearchPath {
    /// `suffixes` are lowercase names without trailing dots, in the order in which they are tried; `""` is the root.
    pub(crate) fn new(suffixes: Box<[Box<str>]>, ndots: u8, resolver: Resolver) -> Self {
        Self { suffixes, ndots: usize::from(ndots), resolver }
    }

    /// Whether `name` is asked as it stands before any suffix is tried.
    #[must_use]
    pub fn asks_itself_first(&self, name: &Name, absolute: bool) -> bool {
        absolute || name.dots() >= self.ndots
    }

    /// The absolute names tried for `name`, in order. One that would be too long for a name is left out, as resolvers do.
    pub fn candidates<'a>(&'a self, name: &'a Name, absolute: bool) -> impl Iterator<Item = Candidate> + 'a {
        let first = self.asks_itself_first(name, absolute);
        let list_is_tried = !absolute && (!first || self.resolver == Resolver::Glibc);
        let list = if list_is_tried { &*self.suffixes } else { &[] };
        let itself = Candidate { name: *name, as_asked: true };
        let searched = list.iter().filter_map(move |suffix| match &**suffix {
            "" => Some(itself),
            suffix => Some(Candidate { name: name.join(suffix)?, as_asked: false }),
        });
        first.then_some(itself).into_iter().chain(searched).chain((!first).then_some(itself))
    }
}
