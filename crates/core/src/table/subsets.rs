//! Named subsets of a Service's endpoints, as a table prepares them for the choice of one (`balance::subset`).
//!
//! A request chooses among
//!
//! 1. the subsets with a usable endpoint; all subsets, where the endpoints are unknown;
//! 2. of these, the subsets with a weight; those with weight 0 where no other is left;
//! 3. of these, the subsets of the caller's zone, where the Service has a `trafficDistribution` and there is one.
//!
//! Endpoints outside every subset form one without name and weight: they serve where no other is left.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{
    endpoint_group::{IndexedGroup, check_labels},
    endpoint_set::EndpointSet,
};
use crate::{
    collections::{Entries, OneOrMany, hash_bytes},
    limits::{MAX_SUBSET_WEIGHT, MAX_SUBSETS},
    names::{Locality, is_label},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef},
};

/// The subsets of a Service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subsets {
    all: Box<[Subset]>,
    /// Whether subsets of the caller's zone come first.
    zone_first: bool,
}

#[derive(Clone, Debug)]
struct Subset {
    name: Box<str>,
    /// A hash of the name.
    id: u64,
    weight: u32,
    zone: Option<Box<str>>,
    labels: Entries<String>,
}

/// A subset that a request may go to, with its weight and its endpoints.
#[derive(Clone, Debug)]
pub(crate) struct WeightedSubset {
    /// The index of the subset in the Service; `None` for endpoints outside every subset.
    index: Option<u16>,
    /// A hash of the subset's name; 0 for endpoints outside every subset.
    pub(crate) id: u64,
    /// The sum of the weights of this subset and all before it.
    pub(crate) until: u32,
    pub(crate) weight: u32,
    pub(crate) set: EndpointSet,
}

impl Subsets {
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::Service, at: &FieldPathRef<'_>, errors: &mut FieldErrors) -> Self {
        if wire.subsets.len() > MAX_SUBSETS {
            errors.add(at, wire.subsets.len(), FieldErrorType::TooMany(MAX_SUBSETS));
        } else if let Some(name) = wire.subsets.duplicate() {
            errors.add(at, name, FieldErrorType::Duplicate);
        }
        let all = wire.subsets.iter().map(|(name, subset)| {
            let at = at.key(name);
            if !is_label(name) {
                errors.add(&at, name, FieldErrorType::InvalidLabel);
            }
            let weight = subset.weight.unwrap_or(1);
            if weight > MAX_SUBSET_WEIGHT {
                errors.add(&at.field("weight"), weight, FieldErrorType::TooLarge(MAX_SUBSET_WEIGHT));
            }
            check_labels(&subset.labels, &at.field("labels"), errors);
            Subset {
                name: name.into(),
                id: hash_bytes(name.as_bytes()),
                weight: weight.min(MAX_SUBSET_WEIGHT),
                zone: subset.zone.as_deref().map(Into::into),
                labels: subset.labels.clone(),
            }
        });
        Self { all: all.collect(), zone_first: wire.traffic_distribution.is_some() }
    }

    /// The number of subsets.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The subsets that a request may go to, where the endpoints of `usable_endpoints` may serve.
    pub(super) fn weigh(
        &self,
        usable: &[IndexedGroup<'_>],
        set: &dyn Fn(&[IndexedGroup<'_>]) -> EndpointSet,
        caller: &Locality,
    ) -> OneOrMany<WeightedSubset> {
        if usable.is_empty() {
            return OneOrMany::default();
        }
        // Nearly every Service: the same result as below, without a list on the way.
        if self.is_empty() {
            return OneOrMany::One(WeightedSubset { index: None, id: 0, until: 1, weight: 1, set: set(usable) });
        }
        let mut weighted: Vec<WeightedSubset> = Vec::new();
        for (subset, index) in self.all.iter().zip(0..) {
            let members: Vec<_> = usable.iter().copied().filter(|group| subset.has(group)).collect();
            if !members.is_empty() {
                weighted.push(WeightedSubset {
                    index: Some(index),
                    id: subset.id,
                    until: 0,
                    weight: subset.weight,
                    set: set(&members),
                });
            }
        }
        let is_outside_all = |group: &IndexedGroup<'_>| !self.all.iter().any(|subset| subset.has(group));
        let rest: Vec<_> = usable.iter().copied().filter(is_outside_all).collect();
        if !rest.is_empty() {
            weighted.push(WeightedSubset { index: None, id: 0, until: 0, weight: 0, set: set(&rest) });
        }
        self.narrow(weighted, caller)
    }

    /// The subsets that a request may go to, where the endpoints are unknown.
    pub(super) fn weigh_unknown(&self, caller: &Locality) -> OneOrMany<WeightedSubset> {
        let weigh = |(subset, index): (&Subset, u16)| WeightedSubset {
            index: Some(index),
            id: subset.id,
            until: 0,
            weight: subset.weight,
            set: EndpointSet::default(),
        };
        self.narrow(self.all.iter().zip(0..).map(weigh).collect(), caller)
    }

    /// Steps 2 and 3 of the module's rules, and the sums of weights.
    fn narrow(&self, mut weighted: Vec<WeightedSubset>, caller: &Locality) -> OneOrMany<WeightedSubset> {
        if weighted.iter().all(|subset| subset.weight == 0) {
            weighted.iter_mut().for_each(|subset| subset.weight = 1);
        }
        let is_near = |subset: &WeightedSubset| {
            self.get(subset).is_some_and(|subset| subset.zone.is_some() && subset.zone == caller.zone)
        };
        let is_zone_only = self.zone_first && weighted.iter().any(|subset| subset.weight > 0 && is_near(subset));
        weighted.retain(|subset| subset.weight > 0 && (!is_zone_only || is_near(subset)));
        let mut until = 0;
        for subset in &mut weighted {
            until += subset.weight;
            subset.until = until;
        }
        weighted.into()
    }

    fn get(&self, subset: &WeightedSubset) -> Option<&Subset> {
        self.all.get(usize::from(subset.index?))
    }

    /// The name of a subset; empty for endpoints outside every subset.
    pub(crate) fn name(&self, subset: &WeightedSubset) -> &str {
        self.get(subset).map_or("", |subset| &subset.name)
    }
}

impl Subset {
    fn has(&self, (group, _): &IndexedGroup<'_>) -> bool {
        self.zone.as_ref().is_none_or(|zone| group.traits().zone.as_ref() == Some(zone))
            && self.labels.iter().all(|(label, value)| group.traits().labels.get(label) == Some(value))
    }
}
