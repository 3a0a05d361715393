//! Endpoint addresses of one family, packed: 4 bytes for an IPv4 address.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::IpFamily;

/// Addresses of one family. A large table consists of little else.
#[derive(Clone, Debug)]
pub(crate) enum Addresses {
    V4(Box<[Ipv4Addr]>),
    V6(Box<[Ipv6Addr]>),
}

impl Addresses {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::V4(addresses) => addresses.len(),
            Self::V6(addresses) => addresses.len(),
        }
    }

    pub(super) fn family(&self) -> IpFamily {
        match self {
            Self::V4(_) => IpFamily::IPv4,
            Self::V6(_) => IpFamily::IPv6,
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<IpAddr> {
        match self {
            Self::V4(addresses) => addresses.get(index).map(|address| IpAddr::V4(*address)),
            Self::V6(addresses) => addresses.get(index).map(|address| IpAddr::V6(*address)),
        }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(addresses), IpAddr::V4(address)) => addresses.contains(&address),
            (Self::V6(addresses), IpAddr::V6(address)) => addresses.contains(&address),
            _ => false,
        }
    }
}

/// The IPv4 address at the start of `text`, and the rest behind it and a space. An address is four decimal numbers up to 255,
/// without leading zeros, joined by dots.
#[inline(always)]
pub(super) fn take_v4(text: &str) -> Option<(Ipv4Addr, &str)> {
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

#[cfg(test)]
mod tests {
    use core::str::FromStr;

    use super::*;

    #[test]
    fn parses_ipv4_as_the_standard_library_does() {
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
