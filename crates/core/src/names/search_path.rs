//! The search path: which absolute names a resolver tries for the name that a client used, and in which order.
//!
//! A pod's default list is `<namespace>.svc.<zone>`, `svc.<zone>`, `<zone>` and the domains that the node adds, with `ndots:5`
//! (Kubernetes: DNS for Services and Pods).
//!
//! | the name | glibc | musl |
//! |---|---|---|
//! | ends in a dot | the name | the name |
//! | fewer dots than `ndots` | the list, then the name | the list, then the name |
//! | `ndots` dots or more | the name, then the list | the name |
//!
//! An entry `.` of the list is the root: it stands for the name itself.

use alloc::boxed::Box;
use core::{fmt, ops::ControlFlow};

use serde::Serialize;

use super::{
    labels::{ClusterName, Labels},
    name::{Name, below, below_bytes},
};
use crate::limits::MAX_NAME_BYTES;

/// The C library whose search order the caller's resolver follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Resolver {
    /// The GNU C library.
    #[default]
    Glibc,
    /// musl.
    Musl,
}

/// A search list with its `ndots`.
#[derive(Clone, Debug)]
pub struct SearchPath {
    domains: Box<[SearchDomain]>,
    ndots: usize,
    resolver: Resolver,
}

/// One domain of a search list.
#[derive(Clone, Debug)]
pub(crate) struct SearchDomain {
    /// In lower case, without a dot at either end; `""` is the root.
    name: Box<str>,
    relation: ZoneRelation,
}

/// How a search domain relates to the cluster domain.
#[derive(Clone, Debug)]
enum ZoneRelation {
    /// It is the cluster domain or below it, by these labels, the last label first.
    Inside(Box<[Box<[u8]>]>),
    /// It is above the cluster domain: the whole name tells whether a name in it is the cluster's.
    Above,
    /// Neither: no name in it is the cluster's.
    Beside,
}

/// The name that a resolver searches for, without a dot at its end.
#[derive(Clone, Copy, Debug)]
pub struct SearchedName<'n> {
    text: &'n [u8],
    dots: usize,
    labels: Labels<'n>,
    absolute: bool,
}

impl<'n> SearchedName<'n> {
    /// A search for `name`; `absolute` says that it ended in a dot, so that no list applies.
    #[must_use]
    pub fn new(name: &'n Name, absolute: bool) -> Self {
        Self::with_dots(name.as_bytes(), name.dots(), absolute)
    }

    pub(crate) fn with_dots(text: &'n [u8], dots: usize, absolute: bool) -> Self {
        // Nearly every name is short.
        let labels = if dots == 0 { Labels::one(text) } else { Labels::split(text) };
        Self { text, dots, labels, absolute }
    }
}

/// One absolute name that a resolver tries.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'n> {
    name: &'n SearchedName<'n>,
    domain: Option<&'n SearchDomain>,
    /// Whether this is the name as the client wrote it, tried first or alone. If it is outside the cluster domain, the answer of
    /// public DNS decides, which no table knows.
    pub asked_first: bool,
}

impl SearchDomain {
    pub(crate) fn new(name: &str, zone: &str) -> Self {
        let relation = match below(name, zone) {
            Some(before) => {
                let labels = Labels::split(before.as_bytes());
                ZoneRelation::Inside(labels.as_slice().iter().map(|label| (*label).into()).collect())
            }
            None if below(zone, name).is_some() => ZoneRelation::Above,
            None => ZoneRelation::Beside,
        };
        Self { name: name.into(), relation }
    }
}

impl<'n> Candidate<'n> {
    /// `name` with `domain` appended; `None` where the result is too long for a name.
    pub(crate) fn within(name: &'n SearchedName<'n>, domain: &'n SearchDomain) -> Option<Self> {
        let fits = name.text.len() + 1 + domain.name.len() <= MAX_NAME_BYTES;
        fits.then_some(Self { name, domain: Some(domain), asked_first: false })
    }

    /// The search domain that is appended to the name; `None` for the name itself.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.domain.map(|domain| &*domain.name)
    }

    fn itself(name: &'n SearchedName<'n>, asked_first: bool) -> Self {
        Self { name, domain: None, asked_first }
    }

    /// The candidate as a name below `zone`; `None` outside the zone. `storage` holds labels that have to be split for it.
    #[inline(always)]
    pub(crate) fn below<'p>(&'p self, zone: &str, storage: &'p mut Option<Labels<'n>>) -> Option<ClusterName<'p>> {
        // Nearly every candidate is within the cluster domain.
        if let Some(SearchDomain { relation: ZoneRelation::Inside(labels), .. }) = self.domain {
            return Some(ClusterName { domain: labels, name: &self.name.labels });
        }
        self.below_otherwise(zone, storage)
    }

    /// [`Candidate::below`] for a candidate whose domain does not tell that it is below the zone.
    #[inline(never)]
    fn below_otherwise<'p>(&'p self, zone: &str, storage: &'p mut Option<Labels<'n>>) -> Option<ClusterName<'p>> {
        let before = match self.domain.map(|domain| (domain, &domain.relation)) {
            Some((_, ZoneRelation::Inside(_) | ZoneRelation::Beside)) => return None,
            // With the zone `c.d`, the name `a.b.c` in the domain `d` is `a.b` below the zone.
            Some((domain, ZoneRelation::Above)) => {
                below_bytes(self.name.text, zone.strip_suffix(&*domain.name)?.strip_suffix('.')?)?
            }
            None => below_bytes(self.name.text, zone)?,
        };
        Some(ClusterName::new(storage.insert(Labels::split(before))))
    }
}

/// Writes the whole name.
impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name is ASCII.
        f.write_str(core::str::from_utf8(self.name.text).unwrap_or_default())?;
        self.domain.map_or(Ok(()), |domain| write!(f, ".{}", domain.name))
    }
}

impl SearchPath {
    /// A search of `domains`, in this order.
    pub(crate) fn new(domains: Box<[SearchDomain]>, ndots: u8, resolver: Resolver) -> Self {
        Self { domains, ndots: usize::from(ndots), resolver }
    }

    /// Whether a resolver tries the list for `name`.
    pub(crate) fn has_list(&self, name: &SearchedName<'_>) -> bool {
        !name.absolute && (self.resolver == Resolver::Glibc || name.dots < self.ndots)
    }

    /// Calls `each` with the absolute names that a resolver tries for `name`, in order, until `each` breaks. Names that would be
    /// too long are left out, as resolvers do.
    ///
    /// Every request takes this path, so no candidate is written out.
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
