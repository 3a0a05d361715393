//! The `:authority` of a request: a host, and perhaps a port.
//!
//! | input | reads as |
//! |---|---|
//! | `host`, `host:port` | a name, case ignored; one trailing dot makes it absolute |
//! | `1.2.3.4`, `1.2.3.4:port` | an IPv4 address: four decimal numbers without leading zeros |
//! | `[v6]`, `[v6]:port` | an IPv6 address; an IPv4-mapped one counts as its IPv4 address |
//!
//! Everything else is refused, because a client, a proxy and a resolver may each read it differently: an empty host, a comma
//! (two Host headers joined), userinfo, an empty label, an IPv6 address without brackets or with a zone, `host:` without a
//! port, a port with leading zeros, port 0 or above 65535, and any host of numbers alone that is no full dotted quad:
//! inet_aton(3) reads `10.1`, `010.0.0.1` and `0x7f000001` as addresses. The grammar is that of RFC 3986 section 3.2,
//! narrowed.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::name::{Name, NameError, RawName};
use crate::limits::MAX_AUTHORITY_BYTES;

/// A parsed `:authority`. [`Display`](fmt::Display) writes its canonical form, which parses to the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
}

/// The host of an [`Authority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name.
    Name {
        /// The name without its trailing dot.
        name: Name,
        /// Whether the name ended in a dot, so that no search path applies.
        absolute: bool,
    },
    /// An address literal.
    Ip(IpAddr),
}

/// Why bytes are not an [`Authority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityError {
    /// The host is not a name.
    Name(NameError),
    /// A comma: two Host headers were joined into one.
    Joined,
    /// An `@`: userinfo may make a client and a proxy see different hosts.
    Userinfo,
    /// `host:` with nothing behind it.
    EmptyPort,
    /// A port that is not a number from 1 to 65535 without leading zeros.
    Port,
    /// A host of numbers alone that is no full dotted quad.
    LooksLikeIpv4,
    /// Brackets without a plain IPv6 address inside, or such an address without brackets.
    Ipv6,
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name(error) => return error.fmt(f),
            Self::Joined => "two Host headers were joined into one",
            Self::Userinfo => "it holds userinfo before an '@'",
            Self::EmptyPort => "no port follows its ':'",
            Self::Port => "its port is not a number from 1 to 65535 without leading zeros",
            Self::LooksLikeIpv4 => "it is made of numbers but is not a full dotted quad",
            Self::Ipv6 => "brackets and several colons are for IPv6 addresses, as in [fd00::7], without a zone",
        })
    }
}

impl core::error::Error for AuthorityError {}

impl Authority {
    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, where one is given.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl TryFrom<&[u8]> for Authority {
    type Error = AuthorityError;

    fn try_from(bytes: &[u8]) -> Result<Self, AuthorityError> {
        let RawAuthority { host, port } = RawAuthority::parse(bytes)?;
        let host = match host {
            RawHost::Ip(address) => Host::Ip(address),
            RawHost::Name { name, absolute } => {
                Host::Name { name: Name::parse(name.bytes).map_err(AuthorityError::Name)?, absolute }
            }
        };
        Ok(Self { host, port })
    }
}

/// A valid [`Authority`] that borrows the client's bytes: parsing copies nothing, and upper case is still upper case.
#[derive(Clone, Copy)]
pub(crate) struct RawAuthority<'a> {
    pub(crate) host: RawHost<'a>,
    pub(crate) port: Option<u16>,
}

/// The host of a [`RawAuthority`].
#[derive(Clone, Copy)]
pub(crate) enum RawHost<'a> {
    Name { name: RawName<'a>, absolute: bool },
    Ip(IpAddr),
}

impl<'a> RawAuthority<'a> {
    /// Parses the bytes of an `:authority`.
    ///
    /// # Errors
    /// [`AuthorityError`] for the first rule of this module that `bytes` break.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, AuthorityError> {
        // A valid authority has no ',' and no '@': only an invalid one is searched for them.
        Self::parse_parts(bytes).map_err(|error| explain(bytes, error))
    }

    fn parse_parts(bytes: &'a [u8]) -> Result<Self, AuthorityError> {
        if bytes.len() > MAX_AUTHORITY_BYTES {
            return Err(AuthorityError::Name(NameError::TooLong));
        }
        if let Some(bracketed) = bytes.strip_prefix(b"[") {
            return parse_bracketed(bracketed);
        }
        match bytes.iter().position(|&byte| byte == b':') {
            Some(colon) => parse_with_port(bytes, colon),
            None => Ok(Self { host: parse_host(bytes)?, port: None }),
        }
    }
}

#[cold]
#[inline(never)]
fn explain(bytes: &[u8], error: AuthorityError) -> AuthorityError {
    match error {
        _ if bytes.len() > MAX_AUTHORITY_BYTES => AuthorityError::Name(NameError::TooLong),
        _ if bytes.contains(&b',') => AuthorityError::Joined,
        _ if bytes.contains(&b'@') => AuthorityError::Userinfo,
        error => error,
    }
}

/// Parses what follows a `[`.
#[inline(never)]
fn parse_bracketed(bytes: &[u8]) -> Result<RawAuthority<'_>, AuthorityError> {
    let end = bytes.iter().position(|&byte| byte == b']').ok_or(AuthorityError::Ipv6)?;
    let (inside, rest) = bytes.split_at_checked(end).ok_or(AuthorityError::Ipv6)?;
    let host = RawHost::Ip(parse_ipv6(inside)?);
    match rest.strip_prefix(b"]") {
        Some([]) => Ok(RawAuthority { host, port: None }),
        Some([b':', port @ ..]) => Ok(RawAuthority { host, port: Some(parse_port(port)?) }),
        _ => Err(AuthorityError::Ipv6),
    }
}

/// Parses a host and a port with their first colon at this index.
#[inline(never)]
fn parse_with_port(bytes: &[u8], colon: usize) -> Result<RawAuthority<'_>, AuthorityError> {
    let (host, port) = bytes.split_at_checked(colon).unwrap_or_default();
    let port = port.get(1..).unwrap_or_default();
    if port.contains(&b':') {
        return Err(AuthorityError::Ipv6);
    }
    let port = parse_port(port)?;
    Ok(RawAuthority { host: parse_host(host)?, port: Some(port) })
}

/// Whether the bytes of an `:authority` may have a port. A valid authority for which this is false has none.
pub(crate) fn may_have_port(bytes: &[u8]) -> bool {
    bytes.contains(&b':') && !bytes.ends_with(b"]")
}

fn parse_host(bytes: &[u8]) -> Result<RawHost<'_>, AuthorityError> {
    let (bare, absolute) = match bytes.strip_suffix(b".") {
        Some([]) => return Err(AuthorityError::Name(NameError::EmptyLabel)),
        Some(bare) => (bare, true),
        None => (bytes, false),
    };
    let name = RawName::parse(bare).map_err(AuthorityError::Name)?;
    if name.looks_like_ipv4 { parse_ipv4(name.bytes, absolute) } else { Ok(RawHost::Name { name, absolute }) }
}

#[inline(never)]
fn parse_ipv4(bytes: &[u8], absolute: bool) -> Result<RawHost<'_>, AuthorityError> {
    let text = core::str::from_utf8(bytes).map_err(|_| AuthorityError::LooksLikeIpv4)?;
    match Ipv4Addr::from_str(text) {
        Ok(address) if !absolute => Ok(RawHost::Ip(IpAddr::V4(address))),
        _ => Err(AuthorityError::LooksLikeIpv4),
    }
}

fn parse_ipv6(bytes: &[u8]) -> Result<IpAddr, AuthorityError> {
    let text = core::str::from_utf8(bytes).map_err(|_| AuthorityError::Ipv6)?;
    let address = Ipv6Addr::from_str(text).map_err(|_| AuthorityError::Ipv6)?;
    Ok(IpAddr::V6(address).to_canonical())
}

fn parse_port(digits: &[u8]) -> Result<u16, AuthorityError> {
    if digits.is_empty() {
        return Err(AuthorityError::EmptyPort);
    }
    if digits.first() == Some(&b'0') || !digits.iter().all(u8::is_ascii_digit) {
        return Err(AuthorityError::Port);
    }
    let text = core::str::from_utf8(digits).map_err(|_| AuthorityError::Port)?;
    u16::from_str(text).map_err(|_| AuthorityError::Port)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, absolute: true } => write!(f, "{name}."),
            Self::Name { name, absolute: false } => name.fmt(f),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}
