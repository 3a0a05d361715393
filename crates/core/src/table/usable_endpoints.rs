//! Which endpoints of a Service may serve a port, by the rules of kube-proxy.
//!
//! | the Service | may serve |
//! |---|---|
//! | headless | every ready endpoint: DNS lists them all, and no traffic policy applies (KEP-2086) |
//! | `internalTrafficPolicy: Local` | ready endpoints on the caller's node; else serving and terminating ones there; never another node's, so none where the caller's node is unknown |
//! | any other without a ready endpoint | serving and terminating endpoints (KEP-1669), on any node |
//! | any other | ready endpoints that the topology allows |
//!
//! The topology is read from the hints of ready endpoints alone (KEP-2433, KEP-3015), never from `trafficDistribution`, which
//! only makes the control plane write hints: *node*, if every ready endpoint has a node hint and one of them names the
//! caller's node; else *zone*, if every ready endpoint has a zone hint and one of them names the caller's zone; else none. So
//! a single endpoint without hints, or a caller in a zone that no hint names, makes every ready endpoint usable.
//!
//! Only endpoints that have the port count; ports are matched by name, as EndpointSlices join them. Of a dual-stack Service
//! the endpoints of its first family serve, and those of the other family where the first has none (KEP-563).
//!
//! The same goes for the endpoints that share a hostname, by the rule of headless Services: their name, too, is the names of pods.
//!
//! All of this is decided when a Service enters a table, never for a request; so are the subsets (`subsets`) and the set of
//! endpoints of each (`endpoint_set`).

use super::{
    endpoint_group::{EndpointGroup, IndexedGroup, PortKey},
    endpoint_set::EndpointSet,
    subsets::{Subsets, WeightedSubset},
};
use crate::{
    collections::{OneOrMany, combine},
    names::Locality,
    wire::IpFamily,
};

/// Why these endpoints are usable, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Every ready endpoint.
    Ready,
    /// Ready endpoints hinted for the caller's node.
    SameNode,
    /// Ready endpoints hinted for the caller's zone.
    SameZone,
    /// No endpoint is ready: serving and terminating ones.
    Terminating,
    /// Ready endpoints on the caller's node.
    Local,
    /// No endpoint on the caller's node is ready: serving and terminating ones there.
    LocalTerminating,
    /// None: only endpoints on the caller's node may serve, and the node is unknown.
    NodeUnknown,
}

/// What decides which endpoints of a Service are usable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServingRules<'s> {
    pub(crate) headless: bool,
    /// `internalTrafficPolicy: Local`.
    pub(crate) local: bool,
    /// The preferred family.
    pub(crate) family: Option<IpFamily>,
    /// Whether the other family is out of the question.
    pub(crate) is_single_stack: bool,
    pub(crate) subsets: &'s Subsets,
}

/// The endpoints that may serve one port.
#[derive(Clone, Debug)]
pub(crate) struct Usable {
    /// See [`PortKey::id`].
    pub(crate) id: u64,
    /// The index in [`Service::usable_at`](super::service::Service::usable_at).
    pub(crate) index: u32,
    pub(crate) choice: Choice,
    /// The family of all of them, where the Service prefers one.
    pub(crate) family: Option<IpFamily>,
    /// The number of endpoints.
    pub(crate) endpoints: usize,
    /// A request goes to one of them: the Service's subsets, or a single one with every endpoint.
    pub(crate) subsets: OneOrMany<WeightedSubset>,
}

impl Usable {
    /// The endpoints of `groups`, the first of which has the index `first`, that may serve `port` to a caller at `caller`.
    #[inline(never)]
    pub(super) fn among(
        (groups, first): (&[EndpointGroup], u32),
        port: PortKey<'_>,
        index: u32,
        rules: ServingRules<'_>,
        caller: &Locality,
    ) -> Self {
        let with_port = groups.iter().zip(first..).filter(|(group, _)| port.of(group).is_some());
        let candidates: OneOrMany<IndexedGroup<'_>> = with_port.collect();
        let (choice, chosen) = match rules.family {
            None => by_conditions(&candidates, rules, caller),
            Some(family) => {
                let of_family = |is_preferred: bool| -> OneOrMany<IndexedGroup<'_>> {
                    candidates.iter().copied().filter(|(group, _)| (group.family() == family) == is_preferred).collect()
                };
                match by_conditions(&of_family(true), rules, caller) {
                    (choice, chosen) if chosen.is_empty() && !rules.is_single_stack => match of_family(false) {
                        others if others.is_empty() => (choice, chosen),
                        others => by_conditions(&others, rules, caller),
                    },
                    chosen => chosen,
                }
            }
        };
        let set = |groups: &[IndexedGroup<'_>]| EndpointSet::new(groups, port);
        Self {
            id: port.id,
            index,
            choice,
            family: rules.family.and_then(|_| Some(chosen.first()?.0.family())),
            endpoints: chosen.iter().map(|(group, _)| group.len()).sum(),
            subsets: rules.subsets.weigh(&chosen, &set, caller),
        }
    }

    /// A hash of the port and one of its subsets: the same in every table, every worker and every pod. `pod_port` is the port asked
    /// for of any port of the pods, else 0.
    pub(crate) fn set_id(&self, subset: &WeightedSubset, pod_port: u16) -> u64 {
        let id = if subset.id == 0 { self.id } else { combine(self.id, subset.id) };
        if pod_port == 0 { id } else { combine(id, pod_port.into()) }
    }

    /// All subsets of a Service whose endpoints are unknown.
    pub(super) fn unknown(port: PortKey<'_>, index: u32, subsets: &Subsets, caller: &Locality) -> Self {
        Self {
            id: port.id,
            index,
            choice: Choice::Ready,
            family: None,
            endpoints: 0,
            subsets: subsets.weigh_unknown(caller),
        }
    }
}

fn by_conditions<'g>(
    candidates: &[IndexedGroup<'g>],
    rules: ServingRules<'_>,
    caller: &Locality,
) -> (Choice, OneOrMany<IndexedGroup<'g>>) {
    let all = |is: &dyn Fn(&EndpointGroup) -> bool| -> OneOrMany<IndexedGroup<'g>> {
        candidates.iter().copied().filter(|(group, _)| is(group)).collect()
    };
    let ready = all(&|group| group.ready);
    match (rules, &caller.node) {
        (ServingRules { headless: true, .. }, _) => (Choice::Ready, ready),
        (ServingRules { local: true, .. }, Some(node)) => {
            let is_here = |group: &EndpointGroup| group.traits().node.as_ref() == Some(node);
            let here = all(&|group| group.ready && is_here(group));
            match here.is_empty() {
                false => (Choice::Local, here),
                true => (Choice::LocalTerminating, all(&|group| group.draining && is_here(group))),
            }
        }
        (ServingRules { local: true, .. }, None) => (Choice::NodeUnknown, OneOrMany::default()),
        _ if ready.is_empty() => (Choice::Terminating, all(&|group| group.draining)),
        _ => by_topology(ready, caller),
    }
}

fn by_topology<'g>(ready: OneOrMany<IndexedGroup<'g>>, caller: &Locality) -> (Choice, OneOrMany<IndexedGroup<'g>>) {
    for (choice, mine) in [(Choice::SameNode, &caller.node), (Choice::SameZone, &caller.zone)] {
        let hints = |group: &'g EndpointGroup| match choice {
            Choice::SameNode => &group.traits().for_nodes,
            _ => &group.traits().for_zones,
        };
        let Some(mine) = mine else { continue };
        if ready.iter().any(|(group, _)| hints(group).is_empty()) {
            continue;
        }
        let is_mine = |group: &'g EndpointGroup| hints(group).iter().any(|hint| *hint == **mine);
        let chosen: OneOrMany<_> = ready.iter().copied().filter(|(group, _)| is_mine(group)).collect();
        if !chosen.is_empty() {
            return (choice, chosen);
        }
    }
    (Choice::Ready, ready)
}
