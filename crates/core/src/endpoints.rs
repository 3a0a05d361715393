//! The endpoints of a Service: which exist by name, and whether any may serve.
//!
//! Readiness follows the EndpointSlice conditions as kube-proxy reads them (KEP-1672): absent `ready` and `serving` count
//! as true, absent `terminating` as false. Where no endpoint is ready, those that still serve while they terminate do.

use alloc::{boxed::Box, string::ToString, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{
    limits::{MAX_LABEL_BYTES, MAX_SERVICE_ENDPOINTS, MAX_SERVICE_PORTS},
    name::is_label,
    problem::{Fault, Place, Problems},
    texts::Texts,
    usable::{Rules, Usable, Whereabouts},
    wire,
};

/// What is known of a Service's endpoints.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    groups: Box<[Group]>,
    /// Sorted by address.
    list: Box<[Endpoint]>,
    /// Hostnames with the place in `list` of their endpoint, sorted.
    hostnames: Box<[(Box<str>, u32)]>,
}

/// Ports by name.
type Ports = Box<[(Box<str>, u16)]>;

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) ready: bool,
    /// Serves while it terminates.
    pub(crate) draining: bool,
    pub(crate) node: Option<Box<str>>,
    /// Zones and nodes that the control plane means them for; empty where it says none.
    pub(crate) for_zones: Texts,
    pub(crate) for_nodes: Texts,
    ports: Option<Ports>,
    pub(crate) endpoints: usize,
}

#[derive(Clone, Copy, Debug)]
struct Endpoint {
    address: IpAddr,
    group: u32,
    has_hostname: bool,
}

/// The label by which DNS names one endpoint of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointLabel<'t> {
    /// Its hostname, as the pods of a StatefulSet have one.
    Hostname(&'t str),
    /// Its address with dashes.
    Address(IpAddr),
}

impl fmt::Display for EndpointLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname(hostname) => f.write_str(hostname),
            Self::Address(address) => Dashed(*address).fmt(f),
        }
    }
}

/// An address as CoreDNS writes it into a label: `10-0-0-7`; `fd00--7`; `fd00--0` where a dash would end it.
struct Dashed(IpAddr);

impl fmt::Display for Dashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut dashes = Dashes { to: f, ends_in_dash: false };
        fmt::write(&mut dashes, format_args!("{}", self.0))?;
        if dashes.ends_in_dash { f.write_str("0") } else { Ok(()) }
    }
}

struct Dashes<'a, 'f> {
    to: &'a mut fmt::Formatter<'f>,
    ends_in_dash: bool,
}

impl fmt::Write for Dashes<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.chars() {
            self.ends_in_dash = matches!(byte, '.' | ':');
            fmt::Write::write_char(self.to, if self.ends_in_dash { '-' } else { byte })?;
        }
        Ok(())
    }
}

/// The address that a dashed label spells, in any of the ways to write it.
pub(crate) fn parse_dashed(label: &str) -> Option<IpAddr> {
    let mut bytes = [0; MAX_LABEL_BYTES];
    let room = bytes.get_mut(..label.len())?;
    room.copy_from_slice(label.as_bytes());
    let is_v4 = label.bytes().filter(|&byte| byte == b'-').count() == 3
        && !label.as_bytes().windows(2).any(|pair| pair == b"--");
    let separator = if is_v4 { b'.' } else { b':' };
    room.iter_mut().filter(|byte| **byte == b'-').for_each(|byte| *byte = separator);
    let address = IpAddr::from_str(core::str::from_utf8(room).ok()?).ok()?;
    Some(address.to_canonical())
}

/// Whether `label` is exactly what CoreDNS writes for `address`.
fn is_dashed(label: &str, address: IpAddr) -> bool {
    struct Expect<'a>(&'a str);
    impl fmt::Write for Expect<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
            Ok(())
        }
    }
    let mut rest = Expect(label);
    fmt::write(&mut rest, format_args!("{}", Dashed(address))).is_ok() && rest.0.is_empty()
}

/// Metadata services at addresses that are not link-local: Alibaba, Oracle, Azure; AWS and its pod identities, Google.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

/// Whether an address may never be an endpoint of a cluster, as it leads to the machine itself, its link (CVE-2021-25737)
/// or the metadata service of its cloud.
pub(crate) fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                // All of 0.0.0.0/8 is "this host on this network", RFC 1122.
                || v4.octets().first() == Some(&0)
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || METADATA_V6.contains(&v6)
                || inner_v4(v6).is_some_and(|v4| is_special(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address inside a mapped, a compatible (`::`, `::1` among them) or a NAT64 address (RFC 6052).
fn inner_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = v6.to_bits();
    let is_nat64 = bits >> 32 == 0x0064_ff9b << 64;
    v6.to_ipv4().or_else(|| is_nat64.then(|| Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32)))
}

impl Endpoints {
    /// Checks and sorts what `wire` says. Special addresses are still in it: see [`Endpoints::drop_special`].
    pub(crate) fn compile(
        wire: &[wire::EndpointGroup],
        publish_not_ready: bool,
        at: &Place<'_>,
        problems: &mut Problems,
    ) -> Self {
        let mut groups = Vec::with_capacity(wire.len());
        let mut named = Vec::new();
        for (index, group) in (0..).zip(wire) {
            let at = at.index(usize::try_from(index).unwrap_or(usize::MAX));
            groups.push(Group::compile(group, publish_not_ready, &at, problems));
            compile_addresses(group, index, &at, &mut named, problems);
        }
        if named.len() > MAX_SERVICE_ENDPOINTS {
            problems.push(at.problem(named.len(), Fault::TooMany(MAX_SERVICE_ENDPOINTS)));
            return Self::default();
        }
        let mut endpoints = Self { groups: groups.into(), ..Self::default() };
        endpoints.index(named);
        endpoints
    }

    fn index(&mut self, mut named: Vec<(Endpoint, Option<Box<str>>)>) {
        named.sort_unstable_by_key(|(endpoint, _)| endpoint.address);
        for group in &mut self.groups {
            group.endpoints = 0;
        }
        for (endpoint, _) in &named {
            if let Some(group) = usize::try_from(endpoint.group).ok().and_then(|index| self.groups.get_mut(index)) {
                group.endpoints += 1;
            }
        }
        self.list = named.iter().map(|(endpoint, _)| *endpoint).collect();
        let mut hostnames: Vec<_> = (0..).zip(named).filter_map(|(index, (_, name))| Some((name?, index))).collect();
        hostnames.sort_unstable();
        self.hostnames = hostnames.into();
    }

    /// Takes out the addresses that no other machine can reach, and says how many there were.
    pub(crate) fn drop_special(&mut self) -> usize {
        let before = self.list.len();
        if !self.list.iter().any(|endpoint| is_special(endpoint.address)) {
            return 0;
        }
        let mut named: Vec<(Endpoint, Option<Box<str>>)> = self.list.iter().map(|endpoint| (*endpoint, None)).collect();
        for (hostname, index) in core::mem::take(&mut self.hostnames) {
            if let Some((_, name)) = usize::try_from(index).ok().and_then(|index| named.get_mut(index)) {
                *name = Some(hostname);
            }
        }
        named.retain(|(endpoint, _)| !is_special(endpoint.address));
        let dropped = before - named.len();
        self.index(named);
        dropped
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.list.iter().map(|endpoint| endpoint.address)
    }

    fn ready_group(&self, endpoint: &Endpoint) -> Option<&Group> {
        self.groups.get(usize::try_from(endpoint.group).ok()?).filter(|group| group.ready)
    }

    /// Whether any endpoint is ready, on whatever port.
    pub(crate) fn any_ready(&self) -> bool {
        self.groups.iter().any(|group| group.ready && group.endpoints > 0)
    }

    /// How many ready endpoints have the port called `port`.
    pub(crate) fn ready_with(&self, port: &str) -> usize {
        let groups = self.groups.iter().filter(|group| group.ready && group.provides(port));
        groups.map(|group| group.endpoints).sum()
    }

    /// Those that may serve the port called `port` to a caller that is `there`.
    pub(crate) fn usable(&self, port: &str, rules: Rules, there: &Whereabouts) -> Usable {
        Usable::among(&self.groups, port, rules, there)
    }

    /// The addresses in some groups, in order.
    pub(crate) fn addresses_in<'s>(&'s self, groups: &'s [u32]) -> impl Iterator<Item = IpAddr> + 's {
        self.list.iter().filter(|endpoint| groups.contains(&endpoint.group)).map(|endpoint| endpoint.address)
    }

    /// The port called `port` as ready endpoints have it, where they say so.
    pub(crate) fn named_port(&self, port: &str) -> Option<(&str, u16)> {
        let ready = self.groups.iter().filter(|group| group.ready && group.endpoints > 0);
        let mut ports = ready.filter_map(|group| group.ports.as_deref()).flatten();
        ports.find(|(name, _)| **name == *port).map(|(name, number)| (&**name, *number))
    }

    /// The ready endpoint that DNS names by `label`: by its hostname, or by its dashed address if it has none.
    pub(crate) fn find(&self, label: &str) -> Option<(EndpointLabel<'_>, &Group)> {
        let first = self.hostnames.partition_point(|(hostname, _)| **hostname < *label);
        let same = self.hostnames.get(first..)?.iter().take_while(|(hostname, _)| **hostname == *label);
        for (hostname, index) in same {
            if let Some(endpoint) = usize::try_from(*index).ok().and_then(|index| self.list.get(index))
                && let Some(group) = self.ready_group(endpoint)
            {
                return Some((EndpointLabel::Hostname(hostname), group));
            }
        }
        let address = parse_dashed(label).filter(|address| is_dashed(label, *address))?;
        let first = self.list.partition_point(|endpoint| endpoint.address < address);
        let same = self.list.get(first..)?.iter().take_while(|endpoint| endpoint.address == address);
        let mut groups =
            same.filter(|endpoint| !endpoint.has_hostname).filter_map(|endpoint| self.ready_group(endpoint));
        Some((EndpointLabel::Address(address), groups.next()?))
    }
}

impl Group {
    fn compile(wire: &wire::EndpointGroup, publish_not_ready: bool, at: &Place<'_>, problems: &mut Problems) -> Self {
        let ready = wire.ready.unwrap_or(true) || publish_not_ready;
        let at = at.field("ports");
        let ports = wire.ports.as_ref().map(|ports| {
            if ports.len() > MAX_SERVICE_PORTS {
                problems.push(at.problem(ports.len(), Fault::TooMany(MAX_SERVICE_PORTS)));
            }
            for (name, _) in ports.iter().filter(|(_, number)| **number == 0) {
                problems.push(at.key(name).problem(0, Fault::Port));
            }
            ports.iter().map(|(name, number)| (name.as_str().into(), *number)).collect()
        });
        Self {
            ready,
            draining: wire.serving.unwrap_or(true) && wire.terminating.unwrap_or(false),
            node: wire.node.as_deref().map(Into::into),
            for_zones: wire.for_zones.clone(),
            for_nodes: wire.for_nodes.clone(),
            ports,
            endpoints: 0,
        }
    }

    /// Whether its endpoints have the port called `port`.
    pub(crate) fn provides(&self, port: &str) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.iter().any(|(name, _)| **name == *port))
    }
}

fn compile_addresses(
    wire: &wire::EndpointGroup,
    group: u32,
    at: &Place<'_>,
    named: &mut Vec<(Endpoint, Option<Box<str>>)>,
    problems: &mut Problems,
) {
    let before = named.len();
    let in_addresses = at.field("addresses");
    for (index, text) in wire.addresses.iter().enumerate() {
        match IpAddr::from_str(text) {
            Ok(address) => {
                named.push((Endpoint { address: address.to_canonical(), group, has_hostname: false }, None));
            }
            Err(_) => problems.push(in_addresses.index(index).problem(text, Fault::Address)),
        }
    }
    let at = at.field("hostnames");
    let hostnames = wire.hostnames.iter().count();
    if hostnames == 0 {
        return;
    }
    if hostnames != wire.addresses.iter().count() {
        problems.push(at.problem(hostnames.to_string(), Fault::HostnameCount));
        return;
    }
    for (index, (hostname, entry)) in wire.hostnames.iter().zip(named.iter_mut().skip(before)).enumerate() {
        if !is_label(hostname) {
            problems.push(at.index(index).problem(hostname, Fault::Label));
        }
        entry.0.has_hostname = true;
        entry.1 = Some(hostname.into());
    }
}
