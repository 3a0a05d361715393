//! Which endpoints of a Service may serve one of its ports, by the rules of kube-proxy.
//!
//! | the Service | may serve |
//! |---|---|
//! | headless | every ready endpoint: DNS lists them, and no traffic policy applies (KEP-2086) |
//! | `internalTrafficPolicy: Local` | the ready ones on the caller's node; else those there that serve while they terminate; never another node's |
//! | any other, none of whose endpoints is ready | those that serve while they terminate (KEP-1669), wherever they are |
//! | any other | the ready ones that the topology allows |
//!
//! The topology is read from the hints of the ready endpoints alone (KEP-2433, KEP-3015), never from `trafficDistribution`,
//! which is what makes the control plane write them: *node*, if every one has a hint for nodes and one of them names the
//! caller's; else *zone*, if every one has a hint for zones and one of them names the caller's; else none. So one endpoint
//! without hints, or a caller in a zone that has none, brings all of them back.
//!
//! Only endpoints that have the port count, by its name (EndpointSlices join ports so). Of a dual-stack Service, whose pods
//! have an address in each family, those of its first family serve, and those of the other where that has none (KEP-563).
//!
//! It is worked out when a Service is put into a table, and never for a request; so is what it comes to: the subsets that
//! one is chosen of (`subsets`), and the endpoints of each (`pick`).

use crate::{
    caller::Whereabouts,
    endpoints::{Group, Placed, Port},
    few::Few,
    pick::Set,
    rendezvous,
    subsets::{Part, Subsets},
    wire::IpFamily,
};

/// Why these endpoints, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Every ready one.
    Ready,
    /// The ready ones that are hinted to the caller's node.
    SameNode,
    /// The ready ones that are hinted to the caller's zone.
    SameZone,
    /// None is ready: those that serve while they terminate.
    Terminating,
    /// The ready ones on the caller's node.
    Local,
    /// None on the caller's node is ready: those there that serve while they terminate.
    LocalTerminating,
    /// Only those on the caller's node may, and which that is, is not known: every ready one, or else every one that serves
    /// while it terminates.
    NodeUnknown,
}

/// What of a Service decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'s> {
    pub(crate) headless: bool,
    /// `internalTrafficPolicy: Local`.
    pub(crate) local: bool,
    /// The family that is preferred.
    pub(crate) family: Option<IpFamily>,
    pub(crate) subsets: &'s Subsets,
}

/// The endpoints that may serve one port.
#[derive(Clone, Debug)]
pub(crate) struct Usable {
    /// [`Port::id`].
    pub(crate) id: u64,
    /// Its place among those of the Service.
    pub(crate) place: u16,
    pub(crate) choice: Choice,
    /// The family of all of them, where one is preferred.
    pub(crate) family: Option<IpFamily>,
    /// How many they are.
    pub(crate) endpoints: usize,
    /// Of which one is chosen for a request: the Service's subsets, or the one that is all.
    pub(crate) parts: Few<Part>,
}

impl Usable {
    /// Of `groups`, those that may serve `port` to a caller that is `there`.
    #[inline(never)]
    pub(crate) fn among(groups: &[Group], port: Port<'_>, rules: Rules<'_>, there: &Whereabouts) -> Self {
        let with_port = groups.iter().zip(0..).filter(|(group, _)| group.target_port(port.name, port.number).is_some());
        let candidates: Few<Placed<'_>> = with_port.collect();
        let (choice, chosen) = match rules.family {
            None => by_conditions(&candidates, rules, there),
            Some(family) => {
                let of_family = |is_it: bool| -> Few<Placed<'_>> {
                    candidates.iter().copied().filter(|(group, _)| (group.family() == family) == is_it).collect()
                };
                match by_conditions(&of_family(true), rules, there) {
                    (choice, chosen) if chosen.is_empty() => match of_family(false) {
                        others if others.is_empty() => (choice, chosen),
                        others => by_conditions(&others, rules, there),
                    },
                    chosen => chosen,
                }
            }
        };
        let set = |groups: &[Placed<'_>]| Set::new(groups, port);
        Self {
            id: port.id,
            place: 0,
            choice,
            family: rules.family.and_then(|_| Some(chosen.first()?.0.family())),
            endpoints: chosen.iter().map(|(group, _)| group.len()).sum(),
            parts: rules.subsets.parts(&chosen, &set, there),
        }
    }

    /// A number for one of its parts: the same in every table, every worker and every pod.
    pub(crate) fn set_id(&self, part: &Part) -> u64 {
        if part.id == 0 { self.id } else { rendezvous::score(self.id, part.id) }
    }

    /// Of a Service whose endpoints are not known: all its subsets.
    pub(crate) fn unknown(port: Port<'_>, subsets: &Subsets, there: &Whereabouts) -> Self {
        Self {
            id: port.id,
            place: 0,
            choice: Choice::Ready,
            family: None,
            endpoints: 0,
            parts: subsets.parts_unknown(there),
        }
    }
}

fn by_conditions<'g>(candidates: &[Placed<'g>], rules: Rules<'_>, there: &Whereabouts) -> (Choice, Few<Placed<'g>>) {
    let all = |is: &dyn Fn(&Group) -> bool| -> Few<Placed<'g>> {
        candidates.iter().copied().filter(|(group, _)| is(group)).collect()
    };
    let ready = all(&|group| group.ready);
    match (rules, &there.node) {
        (Rules { headless: true, .. }, _) => (Choice::Ready, ready),
        (Rules { local: true, .. }, Some(node)) => {
            let is_here = |group: &Group| group.traits().node.as_ref() == Some(node);
            let here = all(&|group| group.ready && is_here(group));
            match here.is_empty() {
                false => (Choice::Local, here),
                true => (Choice::LocalTerminating, all(&|group| group.draining && is_here(group))),
            }
        }
        (Rules { local: true, .. }, None) if ready.is_empty() => (Choice::NodeUnknown, all(&|group| group.draining)),
        (Rules { local: true, .. }, None) => (Choice::NodeUnknown, ready),
        _ if ready.is_empty() => (Choice::Terminating, all(&|group| group.draining)),
        _ => by_topology(ready, there),
    }
}

fn by_topology<'g>(ready: Few<Placed<'g>>, there: &Whereabouts) -> (Choice, Few<Placed<'g>>) {
    for (choice, mine) in [(Choice::SameNode, &there.node), (Choice::SameZone, &there.zone)] {
        let hints = |group: &'g Group| match choice {
            Choice::SameNode => &group.traits().for_nodes,
            _ => &group.traits().for_zones,
        };
        let Some(mine) = mine else { continue };
        if ready.iter().any(|(group, _)| hints(group).is_empty()) {
            continue;
        }
        let is_mine = |group: &'g Group| hints(group).iter().any(|hint| *hint == **mine);
        let chosen: Few<_> = ready.iter().copied().filter(|(group, _)| is_mine(group)).collect();
        if !chosen.is_empty() {
            return (choice, chosen);
        }
    }
    (Choice::Ready, ready)
}
