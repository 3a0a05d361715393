//! Named subsets of a Service's endpoints, and the choice of one for a request.
//!
//! 1. Only those with an endpoint that may serve; all, where nothing is known of the endpoints.
//! 2. Of these, those with a weight; those without one where no other is left.
//! 3. Of these, those of the caller's zone, where the Service has a `trafficDistribution` and there is one.
//! 4. Among the rest by weight: for one affinity key always the same one, else by chance.
//!
//! Endpoints that are in no subset are one without name and weight: they serve where no other is left. All but the last step
//! is done when a Service is put into a table. A change of weights moves no more keys than it must, as subsets are ranked
//! for a key by weighted rendezvous hashing (`rendezvous`).

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    caller::Whereabouts,
    endpoints::{Placed, check_labels},
    few::Few,
    limits::{MAX_SUBSET_WEIGHT, MAX_SUBSETS},
    name::is_label,
    pick::Set,
    problem::{Fault, Place, Problems},
    rendezvous::{self, Ranking},
    texts::Entries,
    wire,
};

/// The subsets of a Service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subsets {
    all: Box<[Subset]>,
    /// Whether those of the caller's zone come first.
    zone_first: bool,
}

#[derive(Clone, Debug)]
struct Subset {
    name: Box<str>,
    /// Made of the name.
    id: u64,
    weight: u32,
    zone: Option<Box<str>>,
    labels: Entries<String>,
}

/// One of those that a request may go to.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Place of the subset among the Service's; `None`: what is in no subset.
    subset: Option<u16>,
    /// That of the subset; 0 for what is in none.
    pub(crate) id: u64,
    /// The weights of this one and all before it, so that the last one has their sum.
    until: u32,
    weight: u32,
    pub(crate) set: Set,
}

impl Subsets {
    #[inline(never)]
    pub(crate) fn compile(wire: &wire::Service, at: &Place<'_>, problems: &mut Problems) -> Self {
        if wire.subsets.len() > MAX_SUBSETS {
            problems.add(at, wire.subsets.len(), Fault::TooMany(MAX_SUBSETS));
        } else if let Some(name) = wire.subsets.repeated() {
            problems.add(at, name, Fault::Twice);
        }
        let all = wire.subsets.iter().map(|(name, subset)| {
            let at = at.key(name);
            if !is_label(name) {
                problems.add(&at, name, Fault::Label);
            }
            let weight = subset.weight.unwrap_or(1);
            if weight > MAX_SUBSET_WEIGHT {
                problems.add(&at.field("weight"), weight, Fault::TooMany(MAX_SUBSET_WEIGHT as usize));
            }
            check_labels(&subset.labels, &at.field("labels"), problems);
            Subset {
                name: name.into(),
                id: rendezvous::hash(name.as_bytes()),
                weight: weight.min(MAX_SUBSET_WEIGHT),
                zone: subset.zone.as_deref().map(Into::into),
                labels: subset.labels.clone(),
            }
        });
        Self { all: all.collect(), zone_first: wire.traffic_distribution.is_some() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What one is chosen of, where the endpoints `chosen` may serve.
    pub(crate) fn parts(
        &self,
        chosen: &[Placed<'_>],
        set: &dyn Fn(&[Placed<'_>]) -> Set,
        there: &Whereabouts,
    ) -> Few<Part> {
        if chosen.is_empty() {
            return Few::default();
        }
        // As nearly always: what would come of the rest, without a list on the way.
        if self.is_empty() {
            return Few::One(Part { subset: None, id: 0, until: 1, weight: 1, set: set(chosen) });
        }
        let mut parts: Vec<Part> = Vec::new();
        for (subset, index) in self.all.iter().zip(0..) {
            let members: Vec<_> = chosen.iter().copied().filter(|placed| subset.has(placed)).collect();
            if !members.is_empty() {
                parts.push(Part {
                    subset: Some(index),
                    id: subset.id,
                    until: 0,
                    weight: subset.weight,
                    set: set(&members),
                });
            }
        }
        let in_none = |placed: &Placed<'_>| !self.all.iter().any(|subset| subset.has(placed));
        let rest: Vec<_> = chosen.iter().copied().filter(in_none).collect();
        if !rest.is_empty() {
            parts.push(Part { subset: None, id: 0, until: 0, weight: 0, set: set(&rest) });
        }
        self.narrow(parts, there)
    }

    /// What one is chosen of, where nothing is known of the endpoints.
    pub(crate) fn parts_unknown(&self, there: &Whereabouts) -> Few<Part> {
        let part = |(subset, index): (&Subset, u16)| Part {
            subset: Some(index),
            id: subset.id,
            until: 0,
            weight: subset.weight,
            set: Set::default(),
        };
        self.narrow(self.all.iter().zip(0..).map(part).collect(), there)
    }

    /// Steps 2 and 3 of the choice.
    fn narrow(&self, mut parts: Vec<Part>, there: &Whereabouts) -> Few<Part> {
        if parts.iter().all(|part| part.weight == 0) {
            parts.iter_mut().for_each(|part| part.weight = 1);
        }
        let is_near =
            |part: &Part| self.get(part).is_some_and(|subset| subset.zone.is_some() && subset.zone == there.zone);
        let near_alone = self.zone_first && parts.iter().any(|part| part.weight > 0 && is_near(part));
        parts.retain(|part| part.weight > 0 && (!near_alone || is_near(part)));
        let mut until = 0;
        for part in &mut parts {
            until += part.weight;
            part.until = until;
        }
        parts.into()
    }

    fn get(&self, part: &Part) -> Option<&Subset> {
        self.all.get(usize::from(part.subset?))
    }

    /// The name of a part's subset; empty for what is in none.
    pub(crate) fn name(&self, part: &Part) -> &str {
        self.get(part).map_or("", |subset| &subset.name)
    }

    /// Step 4 of the choice, for a request with this affinity key, or else with this chance: the part, and its place.
    pub(crate) fn choose<'p>(
        parts: &'p [Part],
        key: Option<u64>,
        chance: &mut dyn FnMut() -> u64,
    ) -> Option<(&'p Part, u16)> {
        let index = match (parts, key) {
            ([_], _) => 0,
            (_, Some(key)) => {
                let mut best = Ranking::new();
                for (index, part) in parts.iter().enumerate() {
                    best.offer(index, rendezvous::score(key, part.id), part.weight);
                }
                best.winner()?
            }
            (_, None) => {
                let total = u64::from(parts.last()?.until);
                let at = rendezvous::below(chance(), total);
                parts.partition_point(|part| u64::from(part.until) <= at)
            }
        };
        // At most MAX_SUBSETS, and what is in none.
        Some((parts.get(index)?, u16::try_from(index).ok()?))
    }
}

impl Subset {
    fn has(&self, (group, _): &Placed<'_>) -> bool {
        self.zone.as_ref().is_none_or(|zone| group.traits().zone.as_ref() == Some(zone))
            && self.labels.iter().all(|(label, value)| group.traits().labels.get(label) == Some(value))
    }
}
