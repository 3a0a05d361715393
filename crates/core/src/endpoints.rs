//! The endpoints of a Service, in groups that share all but addresses and hostnames: what is known of them, and which exist
//! by name.
//!
//! Readiness follows the EndpointSlice conditions as kube-proxy reads them (KEP-1672): absent `ready` and `serving` count
//! as true, absent `terminating` as false. Which of them may serve is for `usable`.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{
    label::{EndpointLabel, is_dashed, parse_dashed},
    limits::{MAX_ENDPOINT_LABELS, MAX_ENDPOINT_WEIGHT, MAX_SERVICE_ENDPOINTS, MAX_SERVICE_PORTS},
    name::is_label,
    problem::{Fault, Place, Problems},
    rendezvous::{score, v4_bits, v6_bits},
    special::is_special,
    texts::{Entries, Texts},
    wire::{self, IpFamily, TrafficDistribution},
};

/// What is known of a Service's endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    /// None of them is empty.
    groups: Box<[Group]>,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) ready: bool,
    /// Serves while it terminates.
    pub(crate) draining: bool,
    /// From 1 on.
    pub(crate) weight: u32,
    /// Their own ports by name.
    ports: Option<Entries<u16>>,
    addresses: Addresses,
    /// Apart, as they are larger than all else and tables by tens of thousands have none.
    traits: Option<Box<Traits>>,
}

/// What tells some endpoints from others. A request has no need of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Traits {
    pub(crate) zone: Option<Box<str>>,
    pub(crate) node: Option<Box<str>>,
    /// Zones and nodes that the control plane means them for; empty where it says none.
    pub(crate) for_zones: Texts,
    pub(crate) for_nodes: Texts,
    pub(crate) labels: Entries<String>,
    /// One for each address, or none at all.
    hostnames: Texts,
}

static NO_TRAITS: Traits = Traits {
    zone: None,
    node: None,
    for_zones: Texts::NONE,
    for_nodes: Texts::NONE,
    labels: Entries::NONE,
    hostnames: Texts::NONE,
};

/// Addresses of one family, packed: a large table is little else.
#[derive(Clone, Debug)]
enum Addresses {
    V4(Box<[Ipv4Addr]>),
    V6(Box<[Ipv6Addr]>),
}

/// A group, and its place among all.
pub(crate) type Placed<'g> = (&'g Group, u32);

/// A port of a Service: its name, and the number that the Service has for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port<'s> {
    pub(crate) name: &'s str,
    /// `None`: it has none, and only endpoints that say so have the port.
    pub(crate) number: Option<u16>,
    /// Made of the Service's name and the port's: the same in every table, every worker and every pod.
    pub(crate) id: u64,
}

impl Endpoints {
    /// Checks what `wire` says. Special addresses are still in it: see [`Endpoints::drop_special`].
    pub(crate) fn compile(
        wire: &[wire::EndpointGroup],
        publish_not_ready: bool,
        at: &Place<'_>,
        problems: &mut Problems,
    ) -> Self {
        // Most Services have one, where a list that grows makes room for four.
        let mut groups = Vec::with_capacity(wire.len());
        for (index, group) in wire.iter().enumerate() {
            Group::compile(group, publish_not_ready, &at.index(index), problems, &mut groups);
        }
        let endpoints = Self { groups: groups.into() };
        if endpoints.len() > MAX_SERVICE_ENDPOINTS {
            problems.add(at, endpoints.len(), Fault::TooMany(MAX_SERVICE_ENDPOINTS));
        }
        endpoints
    }

    /// Takes out the addresses that no other machine can reach, and says how many there were.
    pub(crate) fn drop_special(&mut self) -> usize {
        let before = self.len();
        let mut are_special = 0;
        self.each_address(&mut |address| are_special += usize::from(is_special(address)));
        if are_special == 0 {
            return 0;
        }
        self.groups.iter_mut().for_each(Group::drop_special);
        let all = core::mem::take(&mut self.groups).into_iter();
        self.groups = all.filter(|group| group.len() > 0).collect();
        before - self.len()
    }

    /// Gives ready endpoints the hints that the control plane would write for `distribution`, where none has any (KEP-3015,
    /// KEP-4444): each is meant for its own zone, and with PreferSameNode for its own node too.
    pub(crate) fn derive_hints(&mut self, distribution: TrafficDistribution) {
        let has_hints = |traits: &Traits| !traits.for_zones.is_empty() || !traits.for_nodes.is_empty();
        if self.groups.iter().any(|group| has_hints(group.traits())) {
            return;
        }
        for traits in self.groups.iter_mut().filter(|group| group.ready).filter_map(|group| group.traits.as_mut()) {
            traits.for_zones = traits.zone.as_deref().into_iter().collect();
            if distribution == TrafficDistribution::PreferSameNode {
                traits.for_nodes = traits.node.as_deref().into_iter().collect();
            }
        }
    }

    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.groups.iter().map(Group::len).sum()
    }

    /// Shows all addresses. Not as an iterator of iterators: a new table consists of addresses.
    pub(crate) fn each_address(&self, show: &mut dyn FnMut(IpAddr)) {
        for group in &self.groups {
            match &group.addresses {
                Addresses::V4(addresses) => addresses.iter().for_each(|address| show(IpAddr::V4(*address))),
                Addresses::V6(addresses) => addresses.iter().for_each(|address| show(IpAddr::V6(*address))),
            }
        }
    }

    /// Whether one of them has `address`.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.groups.iter().any(|group| group.contains(address))
    }

    fn ready(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().filter(|group| group.ready)
    }

    /// Whether any endpoint is ready, on whatever port.
    pub(crate) fn any_ready(&self) -> bool {
        self.ready().next().is_some()
    }

    /// Whether any ready endpoint has the port called `port`.
    pub(crate) fn any_ready_with(&self, port: &str) -> bool {
        self.ready().any(|group| group.has_port(port))
    }

    /// The port called `port` as ready endpoints have it, where they say so.
    pub(crate) fn named_port(&self, port: &str) -> Option<(&str, u16)> {
        let mut ports = self.ready().filter_map(|group| group.ports.as_ref()).flat_map(Entries::iter);
        ports.find(|(name, _)| *name == port).map(|(name, number)| (name, *number))
    }

    /// The names of ports that endpoints say they have.
    pub(crate) fn port_names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().filter_map(|group| group.ports.as_ref()).flat_map(Entries::iter).map(|(name, _)| name)
    }

    /// The ready endpoint that DNS names by `label`: by its hostname, or by its dashed address if it has none. Of a pod that has
    /// an address in each family, the one of the preferred `family`.
    pub(crate) fn find(&self, label: &str, family: Option<IpFamily>) -> Option<(EndpointLabel<'_>, IpAddr, &Group)> {
        let mut found = None;
        for group in self.ready() {
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
        let mut unnamed = self.ready().filter(|group| group.traits().hostnames.is_empty());
        let group = unnamed.find(|group| group.contains(address))?;
        Some((EndpointLabel::Address(address), address, group))
    }
}

impl Group {
    /// Checks `wire`, and puts what it holds of each family into `groups`.
    #[inline(never)]
    fn compile(
        wire: &wire::EndpointGroup,
        publish_not_ready: bool,
        at: &Place<'_>,
        problems: &mut Problems,
        groups: &mut Vec<Self>,
    ) {
        check_ports(wire.ports.as_ref(), &at.field("ports"), problems);
        let weight = wire.weight.unwrap_or(1);
        if weight == 0 || weight > MAX_ENDPOINT_WEIGHT {
            problems.add(&at.field("weight"), weight, Fault::NotUpTo(MAX_ENDPOINT_WEIGHT));
        }
        check_labels(&wire.labels, &at.field("labels"), problems);
        check_hostnames(wire, &at.field("hostnames"), problems);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        let (mut v4_hostnames, mut v6_hostnames) = (Vec::new(), Vec::new());
        let in_addresses = at.field("addresses");
        let mut hostnames = wire.hostnames.iter();
        // Most of a table are IPv4 addresses, so those are read by hand for as long as there are no others.
        let mut rest = wire.addresses.as_str();
        while let Some((address, after)) = take_v4(rest) {
            if v4.is_empty() {
                v4.reserve_exact(wire.addresses.about());
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
                Err(_) => problems.add(&in_addresses.index(index), text, Fault::Address),
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
            traits: Traits::compile(wire, &hostnames),
        }));
    }

    pub(crate) fn traits(&self) -> &Traits {
        self.traits.as_deref().unwrap_or(&NO_TRAITS)
    }

    fn drop_special(&mut self) {
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

    /// How many endpoints it has.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    pub(crate) fn family(&self) -> IpFamily {
        match self.addresses {
            Addresses::V4(_) => IpFamily::IPv4,
            Addresses::V6(_) => IpFamily::IPv6,
        }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        (0..self.len()).filter_map(|index| self.address(index))
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (&self.addresses, address) {
            (Addresses::V4(addresses), IpAddr::V4(address)) => addresses.contains(&address),
            (Addresses::V6(addresses), IpAddr::V6(address)) => addresses.contains(&address),
            _ => false,
        }
    }

    /// The address of one of its endpoints.
    pub(crate) fn address(&self, index: usize) -> Option<IpAddr> {
        match &self.addresses {
            Addresses::V4(addresses) => addresses.get(index).map(|address| IpAddr::V4(*address)),
            Addresses::V6(addresses) => addresses.get(index).map(|address| IpAddr::V6(*address)),
        }
    }

    /// The endpoint at `port` that scores best for a key, and its score; but for those that are left `out`.
    pub(crate) fn best_for(
        &self,
        key: u64,
        port: u16,
        mut out: Option<&mut dyn FnMut(IpAddr) -> bool>,
    ) -> Option<(IpAddr, u64)> {
        let mut best = None;
        let mut most = 0;
        let mut offer = |index: usize, score: u64| {
            if (score > most || best.is_none())
                && out.as_mut().is_none_or(|out| self.address(index).is_some_and(|address| !out(address)))
            {
                (best, most) = (Some(index), score);
            }
        };
        match &self.addresses {
            Addresses::V4(addresses) => {
                for (index, address) in addresses.iter().enumerate() {
                    offer(index, score(key, v4_bits(*address, port)));
                }
            }
            Addresses::V6(addresses) => {
                for (index, address) in addresses.iter().enumerate() {
                    offer(index, score(key, v6_bits(*address, port)));
                }
            }
        }
        Some((self.address(best?)?, most))
    }

    /// The number that the port called `port` has on its endpoints: `own`, the Service's, where they say nothing of ports.
    /// `None` where they do not have it.
    pub(crate) fn target_port(&self, port: &str, own: Option<u16>) -> Option<u16> {
        match &self.ports {
            Some(ports) => ports.get(port).copied(),
            None => own,
        }
    }

    fn has_port(&self, port: &str) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.get(port).is_some())
    }
}

impl Traits {
    /// Those that `wire` says, if it says any.
    #[inline(never)]
    fn compile(wire: &wire::EndpointGroup, hostnames: &[&str]) -> Option<Box<Self>> {
        let traits = Self {
            zone: wire.zone.as_deref().map(Into::into),
            node: wire.node.as_deref().map(Into::into),
            for_zones: wire.for_zones.clone(),
            for_nodes: wire.for_nodes.clone(),
            labels: wire.labels.clone(),
            hostnames: hostnames.iter().copied().collect(),
        };
        (traits != NO_TRAITS).then(|| Box::new(traits))
    }
}

impl Addresses {
    fn len(&self) -> usize {
        match self {
            Self::V4(addresses) => addresses.len(),
            Self::V6(addresses) => addresses.len(),
        }
    }
}

/// The IPv4 address at the beginning of `text`, and what stands behind it and a space: four decimal numbers up to 255 without
/// leading zeros, joined by dots.
#[inline(always)]
fn take_v4(text: &str) -> Option<(Ipv4Addr, &str)> {
    let (mut address, mut octet, mut digits, mut dots) = (0_u32, 0_u32, 0, 0);
    let mut end = text.len();
    for (index, byte) in text.bytes().enumerate() {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        if digit < 10 {
            if digits > 0 && octet == 0 {
                return None;
            }
            octet = octet * 10 + digit;
            digits += 1;
            if octet > 255 {
                return None;
            }
        } else if digits > 0 && byte == b'.' && dots < 3 {
            address = address << 8 | octet;
            (octet, digits) = (0, 0);
            dots += 1;
        } else if byte == b' ' {
            end = index;
            break;
        } else {
            return None;
        }
    }
    let rest = text.get(end..)?;
    let is_whole = dots == 3 && digits > 0;
    is_whole.then(|| (Ipv4Addr::from_bits(address << 8 | octet), rest.strip_prefix(' ').unwrap_or(rest)))
}

#[inline(never)]
fn check_ports(ports: Option<&Entries<u16>>, at: &Place<'_>, problems: &mut Problems) {
    let Some(ports) = ports else { return };
    if ports.len() > MAX_SERVICE_PORTS {
        problems.add(at, ports.len(), Fault::TooMany(MAX_SERVICE_PORTS));
    } else if let Some(name) = ports.repeated() {
        problems.add(at, name, Fault::Twice);
    }
    for (name, _) in ports.iter().filter(|(_, number)| **number == 0) {
        problems.add(&at.key(name), 0, Fault::Port);
    }
}

/// Checks the labels of endpoints, or of a subset.
pub(crate) fn check_labels(labels: &Entries<String>, at: &Place<'_>, problems: &mut Problems) {
    if labels.len() > MAX_ENDPOINT_LABELS {
        problems.add(at, labels.len(), Fault::TooMany(MAX_ENDPOINT_LABELS));
    } else if let Some(label) = labels.repeated() {
        problems.add(at, label, Fault::Twice);
    }
}

#[inline(never)]
fn check_hostnames(wire: &wire::EndpointGroup, at: &Place<'_>, problems: &mut Problems) {
    let hostnames = wire.hostnames.iter().count();
    if hostnames != 0 && hostnames != wire.addresses.iter().count() {
        problems.add(at, hostnames.to_string(), Fault::HostnameCount);
    }
    for (index, hostname) in wire.hostnames.iter().enumerate().filter(|(_, hostname)| !is_label(hostname)) {
        problems.add(&at.index(index), hostname, Fault::Label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_as_the_standard_library_reads_them() {
        let texts = [
            "10.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "256.1.1.1",
            "1.1.1.1000",
            "1.2.3",
            "1.2.3.4.5",
            "01.2.3.4",
            "00.2.3.4",
            "1..2.3",
            ".1.2.3",
            "1.2.3.",
            "",
            "1.2.3.4\t",
            "::ffff:1.2.3.4",
            "fd00::7",
            "1.2.3.a",
            "+1.2.3.4",
            "1.2.3.400",
        ];
        for text in texts {
            let expected = Ipv4Addr::from_str(text).ok();
            assert_eq!(take_v4(text), expected.map(|address| (address, "")), "{text:?}");
            let first = alloc::format!("{text} 10.0.0.7 x");
            assert_eq!(take_v4(&first), expected.map(|address| (address, "10.0.0.7 x")), "{first:?}");
        }
    }
}
