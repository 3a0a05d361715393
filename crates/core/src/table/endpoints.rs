//! The endpoints of a Service: which of them exist by name. Which may serve is decided in `usable_endpoints`.

use alloc::{boxed::Box, collections::BinaryHeap, vec::Vec};
use core::{net::IpAddr, ops::Range};

use super::{
    addresses::Addresses,
    endpoint_group::{EndpointGroup, GroupTraits, split_other_port},
    service_port::OtherPort,
};
use crate::{
    collections::{Entries, StringList},
    limits::MAX_SERVICE_ENDPOINTS,
    names::{EndpointLabel, is_dashed, is_special, parse_dashed},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, IpFamily, Protocol, TrafficDistribution},
};

/// The endpoints of a Service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    /// No group is empty. The groups of shared hostnames follow the Service's own.
    groups: Box<[EndpointGroup]>,
    shared: Option<Box<SharedHostnames>>,
}

/// The hostnames that several ready endpoints of one family have: a Deployment whose template sets `hostname` gives one to all
/// of its pods. DNS answers with each of them.
#[derive(Clone, Debug)]
struct SharedHostnames {
    /// The number of the Service's own groups.
    own_groups: usize,
    /// Sorted by hostname.
    hostnames: Vec<SharedHostname>,
}

#[derive(Clone, Debug)]
struct SharedHostname {
    hostname: Box<str>,
    /// The groups of its ready endpoints: parts of the Service's own groups.
    groups: Range<usize>,
}

/// The ready endpoints that DNS names by one label.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LabelledEndpoints<'t> {
    One(IpAddr, &'t EndpointGroup),
    /// Those of the shared hostname at this index.
    Several(usize),
}

impl Endpoints {
    /// Checks and compiles `wire`. Special addresses stay until [`Endpoints::drop_special`].
    pub(super) fn compile(
        wire: &[wire::EndpointGroup],
        publish_not_ready: bool,
        at: &FieldPathRef<'_>,
        errors: &mut FieldErrors,
    ) -> Self {
        // Most Services have one group, and a list that grows by itself starts with room for four.
        let mut groups = Vec::with_capacity(wire.len());
        for (index, group) in wire.iter().enumerate() {
            EndpointGroup::compile(group, publish_not_ready, &at.index(index), errors, &mut groups);
        }
        let mut endpoints = Self { groups: groups.into(), shared: None };
        endpoints.share_hostnames();
        if endpoints.len() > MAX_SERVICE_ENDPOINTS {
            errors.add(at, endpoints.len(), FieldErrorType::TooMany(MAX_SERVICE_ENDPOINTS));
        }
        endpoints
    }

    /// Removes the addresses that no other machine can reach, and returns their number.
    pub(super) fn drop_special(&mut self) -> usize {
        let before = self.len();
        let mut are_special = 0;
        self.each_address(&mut |address| are_special += usize::from(is_special(address)));
        if are_special == 0 {
            return 0;
        }
        self.groups.iter_mut().for_each(EndpointGroup::drop_special);
        let own_groups = self.groups().len();
        self.shared = None;
        let all = core::mem::take(&mut self.groups).into_iter().take(own_groups);
        self.groups = all.filter(|group| group.len() > 0).collect();
        self.share_hostnames();
        before - self.len()
    }

    /// Finds the shared hostnames, and appends their groups.
    #[inline(never)]
    fn share_hostnames(&mut self) {
        let mut named: Vec<(&str, usize, IpAddr)> = Vec::new();
        for (index, group) in self.groups.iter().enumerate().filter(|(_, group)| group.ready) {
            let hostnames = group.traits().hostnames.iter().zip(group.addresses());
            named.extend(hostnames.map(|(hostname, address)| (hostname, index, address)));
        }
        // A heap's code is a sixth of that of `sort_unstable`, which nothing else in the module uses.
        let mut named = BinaryHeap::from(named).into_sorted_vec();
        named.dedup();
        let own_groups = self.groups.len();
        let (mut groups, mut hostnames) = (Vec::new(), Vec::new());
        for of_hostname in named.chunk_by(|(one, ..), (other, ..)| one == other) {
            let Some((hostname, ..)) = of_hostname.first().filter(|_| has_several(of_hostname)) else { continue };
            let start = own_groups + groups.len();
            for of_group in of_hostname.chunk_by(|(_, one, _), (_, other, _)| one == other) {
                let group = of_group.first().and_then(|(_, index, _)| self.groups.get(*index));
                groups.extend(group.map(|group| group.part(of_group.iter().map(|(.., address)| *address))));
            }
            hostnames.push(SharedHostname { hostname: (*hostname).into(), groups: start..own_groups + groups.len() });
        }
        if !hostnames.is_empty() {
            let mut all = core::mem::take(&mut self.groups).into_vec();
            all.append(&mut groups);
            self.groups = all.into();
            self.shared = Some(Box::new(SharedHostnames { own_groups, hostnames }));
        }
    }

    /// Where no endpoint has hints, gives ready endpoints the hints that the control plane would write for `distribution`
    /// (KEP-3015, KEP-4444): each its own zone and, with PreferSameNode, its own node.
    pub(super) fn derive_hints(&mut self, distribution: TrafficDistribution) {
        let has_hints = |traits: &GroupTraits| !traits.for_zones.is_empty() || !traits.for_nodes.is_empty();
        if self.groups().iter().any(|group| has_hints(group.traits())) {
            return;
        }
        for traits in self.groups.iter_mut().filter(|group| group.ready).filter_map(|group| group.traits.as_mut()) {
            traits.for_zones = hint(traits.zone.as_deref());
            if distribution == TrafficDistribution::PreferSameNode {
                traits.for_nodes = hint(traits.node.as_deref());
            }
        }
    }

    /// The groups of endpoints, none of them empty.
    pub(crate) fn groups(&self) -> &[EndpointGroup] {
        let own = self.shared.as_ref().map_or(self.groups.len(), |shared| shared.own_groups);
        self.groups.get(..own).unwrap_or_default()
    }

    /// The groups that sets of endpoints refer to: [`Endpoints::groups`], and behind them those of shared hostnames.
    pub(crate) fn set_groups(&self) -> &[EndpointGroup] {
        &self.groups
    }

    /// The number of groups of shared hostnames.
    pub(super) fn shared_groups(&self) -> usize {
        self.groups.len() - self.groups().len()
    }

    /// The groups of each shared hostname, the index of the first of them, and the hostname.
    pub(super) fn shared_hostnames(&self) -> impl Iterator<Item = (&str, usize, &[EndpointGroup])> {
        let hostnames = self.shared.iter().flat_map(|shared| &shared.hostnames);
        hostnames.map(|SharedHostname { hostname, groups }| {
            (&**hostname, groups.start, self.groups.get(groups.clone()).unwrap_or_default())
        })
    }

    /// The number of endpoints.
    pub(crate) fn len(&self) -> usize {
        self.groups().iter().map(EndpointGroup::len).sum()
    }

    /// Calls `show` with every address. Not an iterator of iterators, which would slow the reading of a table.
    pub(super) fn each_address(&self, show: &mut dyn FnMut(IpAddr)) {
        for group in self.groups() {
            match &group.addresses {
                Addresses::V4(addresses) => addresses.iter().for_each(|address| show(IpAddr::V4(*address))),
                Addresses::V6(addresses) => addresses.iter().for_each(|address| show(IpAddr::V6(*address))),
            }
        }
    }

    /// Whether an endpoint has `address`.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.groups().iter().any(|group| group.contains(address))
    }

    fn ready(&self) -> impl Iterator<Item = &EndpointGroup> {
        self.groups().iter().filter(|group| group.ready)
    }

    /// Whether any endpoint is ready, on any port.
    pub(super) fn any_ready(&self) -> bool {
        self.ready().next().is_some()
    }

    /// Whether any ready endpoint has the port called `port`.
    pub(super) fn any_ready_with(&self, port: &str) -> bool {
        self.ready().any(|group| group.has_port(port))
    }

    /// Name and number of the port called `port`, as ready endpoints list it.
    pub(super) fn named_port(&self, port: &str) -> Option<(&str, u16)> {
        let mut ports = self.ready().filter_map(|group| group.ports.as_ref()).flat_map(Entries::iter);
        ports.find(|(name, _)| *name == port).map(|(name, number)| (name, *number))
    }

    /// The port called `name` of `protocol` that ready endpoints have and no request can go to. `own` is that of the Service, which
    /// counts for endpoints that list none.
    pub(super) fn other_port<'t>(
        &'t self,
        name: &str,
        protocol: Protocol,
        own: Option<OtherPort<'t>>,
    ) -> Option<OtherPort<'t>> {
        self.ready().find_map(|group| match &group.traits().other_ports {
            None => own,
            Some(ports) => {
                let mut ports = ports.iter().filter_map(split_other_port);
                let (name, protocol) = ports.find(|port| *port == (name, protocol))?;
                Some(OtherPort { name, protocol })
            }
        })
    }

    /// The names of all ports that endpoints list.
    pub(super) fn port_names(&self) -> impl Iterator<Item = &str> {
        self.groups().iter().filter_map(|group| group.ports.as_ref()).flat_map(Entries::iter).map(|(name, _)| name)
    }

    /// Whether an endpoint, ready or not, has this name.
    #[cold]
    pub(super) fn knows(&self, label: &str) -> bool {
        let address = parse_dashed(label).filter(|address| is_dashed(label, *address));
        self.groups().iter().any(|group| {
            let hostnames = &group.traits().hostnames;
            match hostnames.is_empty() {
                true => address.is_some_and(|address| group.contains(address)),
                false => hostnames.iter().any(|hostname| hostname == label),
            }
        })
    }

    /// The ready endpoints that DNS names by `label`: by their hostname or, if they have none, by their dashed address. Of a pod
    /// with an address in each family, the address of the preferred `family`.
    pub(super) fn find(
        &self,
        label: &str,
        family: Option<IpFamily>,
    ) -> Option<(EndpointLabel<'_>, LabelledEndpoints<'_>)> {
        if let Some(shared) = &self.shared
            && let Ok(index) = shared.hostnames.binary_search_by(|one| (*one.hostname).cmp(label))
        {
            let hostname = &shared.hostnames.get(index)?.hostname;
            return Some((EndpointLabel::Hostname(hostname), LabelledEndpoints::Several(index)));
        }
        let (label, address, group) = self.find_one(label, family, &|_| true)?;
        Some((label, LabelledEndpoints::One(address, group)))
    }

    /// The endpoint that [`Endpoints::find`] finds alone, as the groups have it for which `is_wanted` is true.
    pub(super) fn find_one(
        &self,
        label: &str,
        family: Option<IpFamily>,
        is_wanted: &dyn Fn(&EndpointGroup) -> bool,
    ) -> Option<(EndpointLabel<'_>, IpAddr, &EndpointGroup)> {
        let mut found = None;
        for group in self.ready().filter(|group| is_wanted(group)) {
            if let Some((index, hostname)) =
                group.traits().hostnames.iter().enumerate().find(|(_, name)| *name == label)
            {
                let is_preferred = family.is_none_or(|family| group.family() == family);
                if is_preferred || found.is_none() {
                    found = Some((EndpointLabel::Hostname(hostname), group.address(index)?, group));
                }
                if is_preferred {
                    break;
                }
            }
        }
        if found.is_some() {
            return found;
        }
        let address = parse_dashed(label).filter(|address| is_dashed(label, *address))?;
        Some((EndpointLabel::Address(address), address, self.find_unnamed(address, is_wanted)?))
    }

    /// The group of the ready endpoint without a hostname that has `address`, of those for which `is_wanted` is true.
    pub(super) fn find_unnamed(
        &self,
        address: IpAddr,
        is_wanted: &dyn Fn(&EndpointGroup) -> bool,
    ) -> Option<&EndpointGroup> {
        let mut unnamed = self.ready().filter(|group| group.traits().hostnames.is_empty());
        unnamed.find(|group| group.contains(address) && is_wanted(group))
    }
}

/// Whether there are several addresses of one family. A pod may have an address of each family, and be in several EndpointSlices.
fn has_several(named: &[(&str, usize, IpAddr)]) -> bool {
    let (mut v4, mut v6) = (None, None);
    named.iter().any(|(.., address)| {
        let first = if address.is_ipv4() { &mut v4 } else { &mut v6 };
        first.get_or_insert(*address) != address
    })
}

/// A hint for one zone or node. No zone or node of a cluster has a name with white space, and a hint for one would read as several.
fn hint(name: Option<&str>) -> StringList {
    name.filter(|name| !name.contains(|c: char| c.is_ascii_whitespace())).into_iter().collect()
}
