//! The grammar of `:authority`.

use byname_core::{Authority, Host};

/// Bytes are an authority or not. A canonical form parses to itself, and a name only loses its case.
pub fn authority(bytes: &[u8]) {
    let Ok(authority) = Authority::try_from(bytes) else { return };
    let canonical = authority.to_string();
    assert_eq!(Authority::try_from(canonical.as_bytes()), Ok(authority), "it parses to itself");
    assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{canonical:?}");
    match authority.host() {
        Host::Name { .. } => assert_eq!(canonical.as_bytes(), bytes.to_ascii_lowercase()),
        Host::Ip(address) => assert_eq!(*address, address.to_canonical(), "an IPv4-mapped address is IPv4"),
    }
}
