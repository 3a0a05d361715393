//! Addresses that no pod can have, whatever a table says.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Cloud metadata services at addresses that are not link-local. IPv4: Alibaba, Oracle, Azure; IPv6: AWS, AWS pod identities,
/// Google.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

/// Whether an address can never be an endpoint, because it leads to the machine itself, to its link (CVE-2021-25737) or to the
/// metadata service of its cloud.
#[must_use]
pub fn is_special(address: IpAddr) -> bool {
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

/// The IPv4 address inside a mapped, a compatible (including `::` and `::1`) or a NAT64 address (RFC 6052).
fn inner_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = v6.to_bits();
    let is_nat64 = bits >> 32 == 0x0064_ff9b << 64;
    v6.to_ipv4().or_else(|| is_nat64.then(|| Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32)))
}
