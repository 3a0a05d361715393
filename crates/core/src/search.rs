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
use core::{fmt, ops::ControlFlow};

use crate::{
    limits::MAX_NAME_BYTES,
    name::{Name, below},
    path::{Labels, Path},
};

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
    domains: Box<[Domain]>,
    ndots: usize,
    resolver: Resolver,
}

/// One domain that names are searched in.
#[derive(Clone, Debug)]
pub(crate) struct Domain {
    /// Lowercase, without dots at its ends; `""` is the root.
    name: Box<str>,
    place: Place,
}

/// Where a domain lies, seen from the cluster domain.
#[derive(Clone, Debug)]
enum Place {
    /// In it, with these labels, the last one first.
    Inside(Box<[Box<str>]>),
    /// Above it: some names in it are the cluster's, which only the whole name tells.
    Above,
    /// Beside it: no name in it is.
    Beside,
}

/// The name that is searched for, without a dot at its end.
#[derive(Clone, Copy, Debug)]
pub struct SearchedName<'n> {
    text: &'n str,
    dots: usize,
    labels: Labels<'n>,
    absolute: bool,
}

impl<'n> SearchedName<'n> {
    /// Reads `name`; `absolute` where it ended in a dot, so that no list applies.
    #[must_use]
    pub fn new(name: &'n Name, absolute: bool) -> Self {
        Self::with_dots(name.as_str(), name.dots(), absolute)
    }

    pub(crate) fn with_dots(text: &'n str, dots: usize, absolute: bool) -> Self {
        Self { text, dots, labels: Labels::split(text), absolute }
    }
}

/// One absolute name that a resolver tries.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'n> {
    name: &'n SearchedName<'n>,
    domain: Option<&'n Domain>,
    /// Whether it is the name as it was asked, tried before others or alone: outside the cluster domain the answer of
    /// public DNS, which nobody here knows, then decides.
    pub asked_first: bool,
}

impl Domain {
    pub(crate) fn new(name: &str, zone: &str) -> Self {
        let place = match below(name, zone) {
            Some(before) => {
                Place::Inside(Labels::split(before).as_slice().iter().map(|label| (*label).into()).collect())
            }
            None if below(zone, name).is_some() => Place::Above,
            None => Place::Beside,
        };
        Self { name: name.into(), place }
    }
}

impl<'n> Candidate<'n> {
    /// `name` in `domain`. `None` where that is too long for a name.
    pub(crate) fn within(name: &'n SearchedName<'n>, domain: &'n Domain) -> Option<Self> {
        let fits = name.text.len() + 1 + domain.name.len() <= MAX_NAME_BYTES;
        fits.then_some(Self { name, domain: Some(domain), asked_first: false })
    }

    fn itself(name: &'n SearchedName<'n>, asked_first: bool) -> Self {
        Self { name, domain: None, asked_first }
    }

    /// Its labels below `zone`; `None` outside of it. `others` is for those that were not split yet.
    pub(crate) fn path<'p>(&'p self, zone: &str, others: &'p mut Option<Labels<'n>>) -> Option<Path<'p>> {
        let before = match self.domain.map(|domain| (domain, &domain.place)) {
            Some((_, Place::Inside(labels))) => return Some(Path { domain: labels, name: &self.name.labels }),
            Some((_, Place::Beside)) => return None,
            // `a.b.c` in `d` is in the zone `c.d`: of its own labels some are the zone's.
            Some((domain, Place::Above)) => {
                below(self.name.text, zone.strip_suffix(&*domain.name)?.strip_suffix('.')?)?
            }
            None => below(self.name.text, zone)?,
        };
        Some(Path::of(others.insert(Labels::split(before))))
    }
}

/// The whole name.
impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.text)?;
        self.domain.map_or(Ok(()), |domain| write!(f, ".{}", domain.name))
    }
}

impl SearchPath {
    /// Searches `domains` in this order.
    pub(crate) fn new(domains: Box<[Domain]>, ndots: u8, resolver: Resolver) -> Self {
        Self { domains, ndots: usize::from(ndots), resolver }
    }

    /// Whether the list is tried for `name` at all.
    pub(crate) fn has_list(&self, name: &SearchedName<'_>) -> bool {
        !name.absolute && (self.resolver == Resolver::Glibc || name.dots < self.ndots)
    }

    /// Hands the absolute names tried for `name` to `each`, in order, until it breaks off. One that would be too long for a
    /// name is left out, as resolvers do.
    ///
    /// None of them is written out: this is what every request comes by.
    pub fn try_each<'n, B>(
        &'n self,
        name: &'n SearchedName<'n>,
        mut each: impl FnMut(Candidate<'n>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let first = name.absolute || name.dots >= self.ndots;
        if first {
            each(Candidate::itself(name, true))?;
        }
        if self.has_list(name) {
            for domain in &self.domains {
                if domain.name.is_empty() {
                    each(Candidate::itself(name, true))?;
                } else if let Some(candidate) = Candidate::within(name, domain) {
                    each(candidate)?;
                }
            }
        }
        if first { ControlFlow::Continue(()) } else { each(Candidate::itself(name, false)) }
    }
}
