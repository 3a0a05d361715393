//! A group of endpoints: the unit in which endpoints are pushed, stored, weighted and selected.
//!
//! Readiness follows the EndpointSlice conditions as kube-proxy reads them (KEP-1672): absent `ready` and `serving` count as
//! true, absent `terminating` as false.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::{net::IpAddr, str::FromStr};

use super::addresses::{Addresses, take_v4};
use crate::{
    collections::{Entries, StringList},
    limits::{MAX_ENDPOINT_LABELS, MAX_ENDPOINT_WEIGHT, MAX_SERVICE_PORTS},
    names::{is_label, is_special},
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, IpFamily, Protocol},
};

/// Endpoints of one family that differ in nothing but their addresses and hostnames.
#[derive(Clone, Debug)]
pub(crate) struct EndpointGroup {
    pub(crate) ready: bool,
    /// Serving while terminating.
    pub(crate) draining: bool,
    /// At least 1.
    pub(crate) weight: u32,
    /// The endpoints' own ports by name; `None`: every port of the Service, under the Service's number.
    pub(super) ports: Option<Entries<u16>>,
    pub(crate) addresses: Addresses,
    /// Boxed: traits are larger than all other fields, and most groups of a large table have none.
    pub(super) traits: Option<Box<GroupTraits>>,
}

/// What topology and subsets select by. No request reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupTraits {
    pub(crate) zone: Option<Box<str>>,
    pub(crate) node: Option<Box<str>>,
    /// The control plane's hints; empty where there is none.
    pub(crate) for_zones: StringList,
    pub(crate) for_nodes: StringList,
    pub(crate) labels: Entries<String>,
    /// One for each address, or none.
    pub(super) hostnames: StringList,
    /// See [`wire::EndpointGroup::other_ports`].
    pub(super) other_ports: Option<StringList>,
}

static NO_TRAITS: GroupTraits = GroupTraits {
    zone: None,
    node: None,
    for_zones: StringList::EMPTY,
    for_nodes: StringList::EMPTY,
    labels: Entries::EMPTY,
    hostnames: StringList::EMPTY,
    other_ports: None,
};

/// A group, and its index among the Service's groups.
pub(crate) type IndexedGroup<'g> = (&'g EndpointGroup, u32);

/// The number, in a set of endpoints, of whatever port of the pods is asked for.
const ANY_PORT: u16 = 0;

/// A port of a Service, as endpoints are selected by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortKey<'s> {
    pub(crate) name: &'s str,
    /// The number of the Service's port; `None` where only the endpoints of a headless Service have the port.
    pub(crate) number: Option<u16>,
    /// A hash of the Service's name and the port's: the same in every table, every worker and every pod.
    pub(crate) id: u64,
    /// Whether it stands for every port of the pods, whether the Service has it or not.
    pub(crate) is_any: bool,
}

impl PortKey<'_> {
    /// The number of the port at the endpoints of `group`; `None` where they do not have it.
    pub(super) fn of(&self, group: &EndpointGroup) -> Option<u16> {
        if self.is_any { Some(ANY_PORT) } else { group.target_port(self.name, self.number) }
    }
}

impl EndpointGroup {
    /// Checks `wire`, and appends one group for each family that it has.
    #[inline(never)]
    pub(super) fn compile(
        wire: &wire::EndpointGroup,
        publish_not_ready: bool,
        at: &FieldPathRef<'_>,
        errors: &mut FieldErrors,
        groups: &mut Vec<Self>,
    ) {
        check_ports(wire.ports.as_ref(), &at.field("ports"), errors);
        let weight = wire.weight.unwrap_or(1);
        if weight == 0 || weight > MAX_ENDPOINT_WEIGHT {
            errors.add(&at.field("weight"), weight, FieldErrorType::OutOfRange(MAX_ENDPOINT_WEIGHT));
        }
        check_labels(&wire.labels, &at.field("labels"), errors);
        check_hostnames(wire, &at.field("hostnames"), errors);
        check_other_ports(wire.other_ports.as_ref(), &at.field("otherPorts"), errors);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut v4_hostnames, mut v6_hostnames) = (Vec::new(), Vec::new());
        let in_addresses = at.field("addresses");
        let mut hostnames = wire.hostnames.iter();
        // Most of a table is IPv4 addresses: they are parsed by hand up to the first other address.
        let mut rest = wire.addresses.as_str();
        while let Some((address, after)) = take_v4(rest) {
            if v4.is_empty() {
                v4.reserve_exact(wire.addresses.estimated_len());
            }
            v4.push(address);
            v4_hostnames.extend(hostnames.next());
            rest = after;
        }
        for (text, index) in rest.split_ascii_whitespace().zip(v4.len()..) {
            let hostname = hostnames.next();
            match IpAddr::from_str(text).map(|address| address.to_canonical()) {
                Ok(IpAddr::V4(address)) => {
                    v4.push(address);
                    v4_hostnames.extend(hostname);
                }
                Ok(IpAddr::V6(address)) => {
                    v6.push(address);
                    v6_hostnames.extend(hostname);
                }
                Err(_) => errors.add(&in_addresses.index(index), text, FieldErrorType::InvalidAddress),
            }
        }
        let families = [(Addresses::V4(v4.into()), v4_hostnames), (Addresses::V6(v6.into()), v6_hostnames)];
        let filled = families.into_iter().filter(|(addresses, _)| addresses.len() > 0);
        groups.extend(filled.map(|(addresses, hostnames)| Self {
            ready: wire.ready.unwrap_or(true) || publish_not_ready,
            draining: wire.serving.unwrap_or(true) && wire.terminating.unwrap_or(false),
            weight: weight.clamp(1, MAX_ENDPOINT_WEIGHT),
            ports: wire.ports.clone(),
            addresses,
            traits: GroupTraits::compile(wire, &hostnames),
        }));
    }

    /// Some of the endpoints, without traits: topology and subsets do not apply to those that are asked for by name.
    pub(super) fn part(&self, addresses: impl Iterator<Item = IpAddr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address),
                IpAddr::V6(address) => v6.push(address),
            }
        }
        let addresses = if v6.is_empty() { Addresses::V4(v4.into()) } else { Addresses::V6(v6.into()) };
        Self { addresses, ports: self.ports.clone(), traits: None, ..*self }
    }

    pub(crate) fn traits(&self) -> &GroupTraits {
        self.traits.as_deref().unwrap_or(&NO_TRAITS)
    }

    /// Removes the addresses that no other machine can reach.
    pub(super) fn drop_special(&mut self) {
        let kept: Vec<bool> = self.addresses().map(|address| !is_special(address)).collect();
        if let Some(traits) = &mut self.traits {
            let mut keep = kept.iter().copied();
            traits.hostnames = traits.hostnames.iter().filter(|_| keep.next().unwrap_or(true)).collect();
        }
        let keep = kept.into_iter();
        self.addresses = match &self.addresses {
            Addresses::V4(all) => {
                Addresses::V4(all.iter().zip(keep).filter(|(_, keep)| *keep).map(|(a, _)| *a).collect())
            }
            Addresses::V6(all) => {
                Addresses::V6(all.iter().zip(keep).filter(|(_, keep)| *keep).map(|(a, _)| *a).collect())
            }
        };
    }

    /// The number of endpoints.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    pub(crate) fn family(&self) -> IpFamily {
        self.addresses.family()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        (0..self.len()).filter_map(|index| self.address(index))
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.addresses.contains(address)
    }

    /// The address of the endpoint at `index`.
    pub(crate) fn address(&self, index: usize) -> Option<IpAddr> {
        self.addresses.get(index)
    }

    /// The endpoints' own number of the port called `port`, which is `service_port` where the group lists no ports; `None` where
    /// the endpoints do not have the port.
    pub(crate) fn target_port(&self, port: &str, service_port: Option<u16>) -> Option<u16> {
        match &self.ports {
            Some(ports) => ports.get(port).copied(),
            None => service_port,
        }
    }

    pub(super) fn has_port(&self, port: &str) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.get(port).is_some())
    }
}

impl GroupTraits {
    /// The traits of `wire`, if it has any.
    #[inline(never)]
    fn compile(wire: &wire::EndpointGroup, hostnames: &[&str]) -> Option<Box<Self>> {
        let traits = Self {
            zone: wire.zone.as_deref().map(Into::into),
            node: wire.node.as_deref().map(Into::into),
            for_zones: wire.for_zones.clone(),
            for_nodes: wire.for_nodes.clone(),
            labels: wire.labels.clone(),
            hostnames: hostnames.iter().copied().collect(),
            other_ports: wire.other_ports.clone(),
        };
        (traits != NO_TRAITS).then(|| Box::new(traits))
    }
}

#[inline(never)]
fn check_ports(ports: Option<&Entries<u16>>, at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
    let Some(ports) = ports else { return };
    if ports.len() > MAX_SERVICE_PORTS {
        errors.add(at, ports.len(), FieldErrorType::TooMany(MAX_SERVICE_PORTS));
    } else if let Some(name) = ports.duplicate() {
        errors.add(at, name, FieldErrorType::Duplicate);
    }
    for (name, _) in ports.iter().filter(|(_, number)| **number == 0) {
        errors.add(&at.key(name), 0, FieldErrorType::InvalidPort);
    }
}

#[inline(never)]
fn check_other_ports(ports: Option<&StringList>, at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
    let Some(ports) = ports else { return };
    let count = ports.iter().count();
    if count > MAX_SERVICE_PORTS {
        errors.add(at, count, FieldErrorType::TooMany(MAX_SERVICE_PORTS));
    }
    for (index, port) in ports.iter().enumerate().filter(|(_, port)| split_other_port(port).is_none()) {
        errors.add(&at.index(index), port, FieldErrorType::InvalidOtherPort);
    }
}

/// Name and protocol of an entry of `otherPorts`.
pub(super) fn split_other_port(port: &str) -> Option<(&str, Protocol)> {
    let (name, protocol) = port.split_once('/')?;
    let protocol = Protocol::parse(protocol).filter(|known| known.as_str() == protocol)?;
    is_label(name).then_some((name, protocol))
}

/// Checks the labels of endpoints or of a subset.
pub(crate) fn check_labels(labels: &Entries<String>, at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
    if labels.len() > MAX_ENDPOINT_LABELS {
        errors.add(at, labels.len(), FieldErrorType::TooMany(MAX_ENDPOINT_LABELS));
    } else if let Some(label) = labels.duplicate() {
        errors.add(at, label, FieldErrorType::Duplicate);
    }
}

#[inline(never)]
fn check_hostnames(wire: &wire::EndpointGroup, at: &FieldPathRef<'_>, errors: &mut FieldErrors) {
    let hostnames = wire.hostnames.iter().count();
    if hostnames != 0 && hostnames != wire.addresses.iter().count() {
        errors.add(at, hostnames.to_string(), FieldErrorType::HostnameCount);
    }
    for (index, hostname) in wire.hostnames.iter().enumerate().filter(|(_, hostname)| !is_label(hostname)) {
        errors.add(&at.index(index), hostname, FieldErrorType::InvalidLabel);
    }
}
