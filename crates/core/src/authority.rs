//! What stands in `:authority`: a host, perhaps a port.
//!
//! | input | is |
//! |---|---|
//! | `host`, `host:port` | a name, case ignored; one trailing dot makes it absolute |
//! | `1.2.3.4`, `1.2.3.4:port` | an IPv4 address: four decimal numbers without leading zeros |
//! | `[v6]`, `[v6]:port` | an IPv6 address; an IPv4-mapped one counts as its IPv4 address |
//!
//! All else is ambiguous somewhere between a client, a proxy and a resolver, and refused: an empty host, a comma (two
//! Host headers joined), userinfo, an empty label, an IPv6 address without brackets or with a zone, `host:` without a
//! port, a port with leading zeros, 0 or over 65535, and any host whose last label is a number but which is not a full
//! dotted quad, since inet_aton(3) reads `10.1`, `010.0.0.1` and `0x7f000001` as addresses of its own. The grammar is
//! that of RFC 3986 section 3.2, narrowed.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{
    limits::MAX_AUTHORITY_BYTES,
    name::{Name, NameError, Spelling, spell},
};

/// A parsed `:authority`. Its [`Display`](fmt::Display) is the one canonical form, and parses to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority {
    host: Host,
    port: Option<u16>,
}

/// The host of an [`Authority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name; `absolute` where it ended in a dot, so that no search path applies.
    Name {
        /// The name without its trailing dot.
        name: Name,
        /// Whether the dot was there.
        absolute: bool,
    },
    /// An address literal.
    Ip(IpAddr),
}

/// Why some bytes are not an [`Authority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorityError {
    /// The host is not a name.
    Name(NameError),
    /// A comma: two Host headers were joined into one.
    Joined,
    /// An `@`: who is asked cannot be told from who asks.
    Userinfo,
    /// `host:` with nothing behind it.
    EmptyPort,
    /// A port that is not a number from 1 to 65535 without leading zeros.
    Port,
    /// A number at the end of a host that is not a full dotted quad.
    LooksLikeIpv4,
    /// Brackets without a plain IPv6 address in them, or such an address without brackets.
    Ipv6,
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name(error) => return error.fmt(f),
            Self::Joined => "two Host headers were joined into one",
            Self::Userinfo => "it holds userinfo before an '@'",
            Self::EmptyPort => "nothing follows its ':'",
            Self::Port => "its port is not a number from 1 to 65535 without leading zeros",
            Self::LooksLikeIpv4 => "it ends in a number but is not a full dotted quad",
            Self::Ipv6 => "an IPv6 address stands in brackets, without a zone",
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
        let Spelt { host, port } = Spelt::read(bytes)?;
        let host = match host {
            SpeltHost::Ip(address) => Host::Ip(address),
            SpeltHost::Name { name, absolute } => {
                Host::Name { name: Name::parse(name.text.as_bytes()).map_err(AuthorityError::Name)?, absolute }
            }
        };
        Ok(Self { host, port })
    }
}

/// An [`Authority`] whose name is the client's own text, in the case that it has: nothing of it is copied.
#[derive(Clone, Copy)]
pub(crate) struct Spelt<'a> {
    pub(crate) host: SpeltHost<'a>,
    pub(crate) port: Option<u16>,
}

/// A [`Host`] as it is spelt.
#[derive(Clone, Copy)]
pub(crate) enum SpeltHost<'a> {
    Name { name: Spelling<'a>, absolute: bool },
    Ip(IpAddr),
}

impl<'a> Spelt<'a> {
    /// # Errors
    /// [`AuthorityError`] for the first rule of this module that `bytes` break.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, AuthorityError> {
        // Nothing that is good has either of the two, so they are looked for in what is not.
        Self::parse(bytes).map_err(|error| match error {
            _ if bytes.len() > MAX_AUTHORITY_BYTES => AuthorityError::Name(NameError::TooLong),
            _ if bytes.contains(&b',') => AuthorityError::Joined,
            _ if bytes.contains(&b'@') => AuthorityError::Userinfo,
            error => error,
        })
    }

    fn parse(bytes: &'a [u8]) -> Result<Self, AuthorityError> {
        if bytes.len() > MAX_AUTHORITY_BYTES {
            return Err(AuthorityError::Name(NameError::TooLong));
        }
        if let Some(bracketed) = bytes.strip_prefix(b"[") {
            let end = bracketed.iter().position(|&byte| byte == b']').ok_or(AuthorityError::Ipv6)?;
            let (inside, rest) = bracketed.split_at_checked(end).ok_or(AuthorityError::Ipv6)?;
            let host = SpeltHost::Ip(parse_ipv6(inside)?);
            return match rest.strip_prefix(b"]") {
                Some([]) => Ok(Self { host, port: None }),
                Some([b':', port @ ..]) => Ok(Self { host, port: Some(parse_port(port)?) }),
                _ => Err(AuthorityError::Ipv6),
            };
        }
        let Some(colon) = bytes.iter().position(|&byte| byte == b':') else {
            return Ok(Self { host: parse_host(bytes)?, port: None });
        };
        let (host, port) = bytes.split_at_checked(colon).unwrap_or_default();
        let port = port.get(1..).unwrap_or_default();
        if port.contains(&b':') {
            return Err(AuthorityError::Ipv6);
        }
        let port = parse_port(port)?;
        Ok(Self { host: parse_host(host)?, port: Some(port) })
    }
}

fn parse_host(bytes: &[u8]) -> Result<SpeltHost<'_>, AuthorityError> {
    let (bare, absolute) = match bytes.strip_suffix(b".") {
        Some([]) => return Err(AuthorityError::Name(NameError::EmptyLabel)),
        Some(bare) => (bare, true),
        None => (bytes, false),
    };
    let name = spell(bare).map_err(AuthorityError::Name)?;
    if !name.looks_like_ipv4 {
        return Ok(SpeltHost::Name { name, absolute });
    }
    match Ipv4Addr::from_str(name.text) {
        Ok(address) if !absolute => Ok(SpeltHost::Ip(IpAddr::V4(address))),
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
