//! Authorities from their grammar, some with one mistake, against an oracle written from the rules.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use byname_core::{Authority, Host};
use proptest::{prelude::*, sample::Index, string::RegexGeneratorStrategy};

use super::{assert_balanced, cases, samples, share};

/// Text of a regular expression, which is compiled once.
pub(super) fn text(regex: &str) -> RegexGeneratorStrategy<String> {
    prop::string::string_regex(regex).expect("a regular expression")
}

/// A label. It may be a number in decimal or hexadecimal, or longer than the bound of 63 bytes.
fn label() -> impl Strategy<Value = String> {
    prop_oneof![
        14 => text("[a-z][a-z0-9-]{0,7}"),
        4 => text("[A-Za-z0-9_-]{1,12}"),
        1 => text("[0-9]{1,4}"),
        1 => text("0[xX][0-9a-fA-F]{0,4}"),
        1 => text("[a-z]{62,64}"),
    ]
}

/// Of one to eight labels, or about as long as a name may be; perhaps with a dot at its end.
pub(super) fn name() -> impl Strategy<Value = String> {
    let short = prop::collection::vec(label(), 1..=8).prop_map(|labels| labels.join("."));
    let long = text("[a-z]{63}(\\.[A-Z]{63}){2}\\.[a-z]{58,63}");
    let end = prop_oneof![14 => Just(""), 6 => Just("."), 1 => Just("..")];
    (prop_oneof![9 => short, 1 => long], end).prop_map(|(name, end)| name + end)
}

/// A dotted quad, or another spelling that inet_aton(3) reads as an address or nearly does.
fn ipv4() -> impl Strategy<Value = String> {
    let spelling = |([a, b, c, d], spelling): ([u8; 4], u8)| {
        let number = u32::from_be_bytes([a, b, c, d]);
        match spelling {
            0 => format!("{number}"),
            1 => format!("{number:#x}"),
            2 => format!("{a}.{}", number & 0xff_ffff),
            3 => format!("{a}.{b}.{}", number & 0xffff),
            4 => format!("0{a:o}.{b}.{c}.{d}"),
            5 => format!("{a:#X}.{b}.{c}.{d}"),
            6 => format!("{a}.{b}.{c}.{d}."),
            7 => format!("{a}.{b}.{c}.{d}.{a}"),
            8 => format!("{a}.{b}.{c}.{}", 256 + number % 100),
            9 => format!("{a}.{b}.{c}.{d:03}"),
            _ => format!("{a}.{b}.{c}.{d}"),
        }
    };
    (any::<[u8; 4]>(), 0u8..24).prop_map(spelling)
}

/// An IPv6 address, mostly in brackets.
fn ipv6() -> impl Strategy<Value = String> {
    let groups = prop::array::uniform8(prop_oneof![2 => Just(0u16), 1 => any::<u16>()]);
    let spelling = |(groups, [a, b, c, d], spelling): ([u16; 8], [u8; 4], u8)| {
        let address = Ipv6Addr::from(groups);
        match spelling {
            0 => format!("{address}"),
            1 => format!("[{address}"),
            2 => format!("[{address}%eth0]"),
            3 => format!("[{address}%25eth0]"),
            4 => format!("[{a}.{b}.{c}.{d}]"),
            5 => format!("[{address}:1]"),
            6 | 7 => format!("[::ffff:{a}.{b}.{c}.{d}]"),
            8 => format!("[::FFFF:{a:x}{b:02x}:{c:x}{d:02x}]"),
            9 | 10 => format!("[{}]", groups.map(|group| format!("{group:04X}")).join(":")),
            _ => format!("[{address}]"),
        }
    };
    (groups, any::<[u8; 4]>(), 0u8..20).prop_map(spelling)
}

fn port() -> impl Strategy<Value = String> {
    prop_oneof![
        10 => Just(String::new()),
        8 => (1u16..).prop_map(|port| format!(":{port}")),
        1 => (65_500u32..70_000).prop_map(|port| format!(":{port}")),
        1 => (0u32..70_000, 1usize..4).prop_map(|(port, zeros)| format!(":{}{port}", "0".repeat(zeros))),
        1 => Just(":".to_owned()),
    ]
}

/// A byte inserted, deleted, replaced or doubled.
fn mutate(mut bytes: Vec<u8>, (kind, at, byte): (u8, Index, u8)) -> Vec<u8> {
    if bytes.is_empty() {
        return vec![byte];
    }
    let at = at.index(bytes.len());
    match kind {
        0 => bytes.insert(at, byte),
        1 => _ = bytes.remove(at),
        2 => bytes[at] = byte,
        _ => bytes.insert(at, bytes[at]),
    }
    bytes
}

/// An authority as the grammar has it, as attackers write it, or with one random mistake.
pub(super) fn authority() -> impl Strategy<Value = Vec<u8>> {
    let host = prop_oneof![12 => name(), 3 => ipv4(), 4 => ipv6()];
    let around = prop_oneof![
        38 => Just(("", "")),
        1 => Just(("user@", "")),
        1 => Just(("user:pass@", "")),
        1 => Just(("", ",a")),
        1 => Just(("a, ", "")),
    ];
    let byte = prop_oneof![
        4 => prop::sample::select(b".:[]@,%-_/ 0\0".to_vec()), 2 => b'a'..=b'z', 1 => b'A'..=b'Z', 1 => any::<u8>(),
    ];
    let mutation = prop::option::weighted(0.3, (0u8..4, any::<Index>(), byte));
    (host, port(), around, mutation).prop_map(|(host, port, (before, after), mutation)| {
        let bytes = format!("{before}{host}{port}{after}").into_bytes();
        match mutation {
            Some(mutation) => mutate(bytes, mutation),
            None => bytes,
        }
    })
}

/// Host and port of an authority, as the rules say.
#[derive(Debug, PartialEq)]
struct NaiveAuthority {
    /// A name in lower case without its dot, and whether it had one; or an address.
    host: Result<(String, bool), IpAddr>,
    port: Option<u16>,
}

/// `None` where any rule of `names/authority.rs` refuses the bytes.
fn naive_authority(bytes: &[u8]) -> Option<NaiveAuthority> {
    let text = core::str::from_utf8(bytes).ok()?;
    // The last colon is in front of a port, unless a bracket follows it.
    let (host, port) = match text.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, digits)) => {
            let port: u16 = digits.parse().ok()?;
            // 0, leading zeros and a plus are all written differently.
            (host, Some(port).filter(|port| *port > 0 && port.to_string() == digits).map(Some)?)
        }
        None => (text, None),
    };
    if let Some(inside) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = inside.parse().ok()?;
        let mapped = address.to_ipv4_mapped().map(IpAddr::V4);
        return Some(NaiveAuthority { host: Err(mapped.unwrap_or(IpAddr::V6(address))), port });
    }
    let bare = host.strip_suffix('.').unwrap_or(host);
    let labels: Vec<&str> = bare.split('.').collect();
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_label = |label: &&str| (1..=63).contains(&label.len()) && label.chars().all(is_allowed);
    if bare.len() > 253 || !labels.iter().all(is_label) {
        return None;
    }
    let is_number = |label: &&str| {
        let label = label.to_ascii_lowercase();
        let is_hex = label.strip_prefix("0x").is_some_and(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
        is_hex || label.chars().all(|c| c.is_ascii_digit())
    };
    if !labels.iter().all(is_number) {
        return Some(NaiveAuthority { host: Ok((bare.to_ascii_lowercase(), bare != host)), port });
    }
    let octets: Option<Vec<u8>> = labels.iter().map(|label| label.parse().ok()).collect();
    let octets: [u8; 4] = octets?.try_into().ok()?;
    let address = Ipv4Addr::from(octets);
    (address.to_string() == host).then_some(NaiveAuthority { host: Err(address.into()), port })
}

fn parsed(bytes: &[u8]) -> Option<NaiveAuthority> {
    let authority = Authority::try_from(bytes).ok()?;
    let host = match authority.host() {
        Host::Name { name, absolute } => Ok((name.to_string(), *absolute)),
        Host::Ip(address) => Err(*address),
    };
    Some(NaiveAuthority { host, port: authority.port() })
}

#[test]
fn generator_draws_valid_and_invalid_authorities_of_every_kind() {
    let authorities = samples(authority());
    let naive: Vec<Option<NaiveAuthority>> = authorities.iter().map(|bytes| naive_authority(bytes)).collect();
    assert_balanced("valid authorities", share(&naive, Option::is_some));
    let valid: Vec<NaiveAuthority> = naive.into_iter().flatten().collect();
    assert_balanced("valid authorities with a port", share(&valid, |authority| authority.port.is_some()));
    for (kind, share) in [
        ("relative names", share(&valid, |authority| matches!(authority.host, Ok((_, false))))),
        ("absolute names", share(&valid, |authority| matches!(authority.host, Ok((_, true))))),
        ("IPv4 addresses", share(&valid, |authority| matches!(authority.host, Err(IpAddr::V4(_))))),
        ("IPv6 addresses", share(&valid, |authority| matches!(authority.host, Err(IpAddr::V6(_))))),
    ] {
        assert!(share > 0.05, "{kind}: {share:.3} of the valid authorities");
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn parses_host_and_port_as_the_grammar_says(bytes in authority()) {
        prop_assert_eq!(parsed(&bytes), naive_authority(&bytes), "{}", bytes.escape_ascii());
    }

    #[test]
    fn parses_a_canonical_form_to_itself(bytes in authority()) {
        if let Ok(authority) = Authority::try_from(&*bytes) {
            let canonical = authority.to_string();
            prop_assert_eq!(Authority::try_from(canonical.as_bytes()), Ok(authority));
            prop_assert!(canonical.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
            if let Host::Name { .. } = authority.host() {
                prop_assert_eq!(canonical.as_bytes(), bytes.to_ascii_lowercase(), "a name only loses its case");
            }
        } else {
            let error = Authority::try_from(&*bytes).unwrap_err().to_string();
            prop_assert!(!error.is_empty() && error.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{:?}", error);
        }
    }
}
