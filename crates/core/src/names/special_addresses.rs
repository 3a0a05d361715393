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

/// The IPv4 address inside a mapped, a compatible (including `::` and `::1`), a NAT64 address (RFC 6052) or one of 6to4 (RFC 3056).
///
/// Of the networks that RFC 8215 leaves to local translators, 64:ff9b:1::/48, only the form with 96 bits before the address is known.
fn inner_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = v6.to_bits();
    let at = |shift: u32| Ipv4Addr::from_bits((bits >> shift & 0xffff_ffff) as u32);
    let is_nat64 = bits >> 32 == 0x0064_ff9b << 64;
    let is_local_nat64 = bits >> 80 == 0x0064_ff9b_0001;
    let is_6to4 = bits >> 112 == 0x2002;
    let inner = if is_6to4 { Some(80) } else { (is_nat64 || is_local_nat64).then_some(0) };
    v6.to_ipv4().or_else(|| inner.map(at))
}
