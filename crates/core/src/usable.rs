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
//! Only endpoints that have the port count, by its name (EndpointSlices join ports so). It is worked out when a Service is
//! put into a table, and never for a request.

use alloc::{boxed::Box, vec::Vec};

use crate::endpoints::Group;

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

/// Where the caller is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whereabouts {
    pub(crate) node: Option<Box<str>>,
    pub(crate) zone: Option<Box<str>>,
}

/// What of a Service decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) headless: bool,
    /// `internalTrafficPolicy: Local`.
    pub(crate) local: bool,
}

/// The endpoints that may serve one port, as the groups that they stand in.
#[derive(Clone, Debug)]
pub(crate) struct Usable {
    pub(crate) choice: Choice,
    pub(crate) groups: Box<[u32]>,
    /// How many endpoints these groups have.
    pub(crate) endpoints: usize,
}

impl Usable {
    /// Of `groups`, those that may serve the port called `port` to a caller that is `there`.
    pub(crate) fn among(groups: &[Group], port: &str, rules: Rules, there: &Whereabouts) -> Self {
        let with_port = groups.iter().zip(0..).filter(|(group, _)| group.endpoints > 0 && group.provides(port));
        let candidates: Vec<(&Group, u32)> = with_port.collect();
        let all = |is: &dyn Fn(&Group) -> bool| -> Vec<(&Group, u32)> {
            candidates.iter().copied().filter(|(group, _)| is(group)).collect()
        };
        let ready = all(&|group| group.ready);
        let (choice, chosen) = match (rules, &there.node) {
            (Rules { headless: true, .. }, _) => (Choice::Ready, ready),
            (Rules { local: true, .. }, Some(node)) => {
                let is_here = |group: &Group| group.node.as_ref() == Some(node);
                let here = all(&|group| group.ready && is_here(group));
                match here.is_empty() {
                    false => (Choice::Local, here),
                    true => (Choice::LocalTerminating, all(&|group| group.draining && is_here(group))),
                }
            }
            (Rules { local: true, .. }, None) if ready.is_empty() => {
                (Choice::NodeUnknown, all(&|group| group.draining))
            }
            (Rules { local: true, .. }, None) => (Choice::NodeUnknown, ready),
            _ if ready.is_empty() => (Choice::Terminating, all(&|group| group.draining)),
            _ => by_topology(ready, there),
        };
        Self {
            choice,
            groups: chosen.iter().map(|(_, index)| *index).collect(),
            endpoints: chosen.iter().map(|(group, _)| group.endpoints).sum(),
        }
    }
}

fn by_topology<'g>(ready: Vec<(&'g Group, u32)>, there: &Whereabouts) -> (Choice, Vec<(&'g Group, u32)>) {
    for (choice, mine) in [(Choice::SameNode, &there.node), (Choice::SameZone, &there.zone)] {
        let hints = |group: &'g Group| if choice == Choice::SameNode { &group.for_nodes } else { &group.for_zones };
        let Some(mine) = mine else { continue };
        if ready.iter().any(|(group, _)| hints(group).is_empty()) {
            continue;
        }
        let is_mine = |group: &'g Group| hints(group).iter().any(|hint| *hint == **mine);
        let chosen: Vec<_> = ready.iter().copied().filter(|(group, _)| is_mine(group)).collect();
        if !chosen.is_empty() {
            return (choice, chosen);
        }
    }
    (Choice::Ready, ready)
}
