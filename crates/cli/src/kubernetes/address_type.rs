//! The type of the addresses in an EndpointSlice.

use std::net::IpAddr;

/// The type of the addresses in an EndpointSlice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressType {
    /// IPv4 addresses.
    IPv4,
    /// IPv6 addresses.
    IPv6,
    /// DNS names.
    Fqdn,
    /// None, or a value that the API does not define.
    Unknown,
}

impl AddressType {
    /// Reads the field `addressType`.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "IPv4" => Self::IPv4,
            "IPv6" => Self::IPv6,
            "FQDN" => Self::Fqdn,
            _ => Self::Unknown,
        }
    }

    /// The type of an IP address; `None` for a text that is none.
    #[must_use]
    pub fn of(address: &str) -> Option<Self> {
        let address = address.parse::<IpAddr>().ok()?.to_canonical();
        Some(if address.is_ipv4() { Self::IPv4 } else { Self::IPv6 })
    }

    /// Whether an EndpointSlice of this type may have this address. A text that is no IP address is another mistake.
    #[must_use]
    pub fn fits(self, address: &str) -> bool {
        match self {
            Self::IPv4 | Self::IPv6 => Self::of(address).is_none_or(|of_address| of_address == self),
            Self::Fqdn | Self::Unknown => true,
        }
    }
}
