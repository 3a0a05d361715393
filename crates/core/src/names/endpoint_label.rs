//! The label by which DNS names a single endpoint: a hostname such as `db-0`, or an address with dashes.

use alloc::string::String;
use core::{
    fmt::{self, Write as _},
    net::IpAddr,
    str::FromStr,
};

use crate::limits::MAX_LABEL_BYTES;

/// The label by which DNS names one endpoint of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointLabel<'t> {
    /// The endpoint's hostname, such as the pods of a StatefulSet have.
    Hostname(&'t str),
    /// The endpoint's address, written with dashes.
    Address(IpAddr),
}

impl EndpointLabel<'_> {
    /// Appends the label. A hostname needs no formatting.
    pub(crate) fn write_to(&self, to: &mut String) {
        match self {
            Self::Hostname(hostname) => to.push_str(hostname),
            // Writing to a String cannot fail.
            Self::Address(_) => drop(write!(to, "{self}")),
        }
    }
}

impl fmt::Display for EndpointLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname(hostname) => f.write_str(hostname),
            Self::Address(address) => Dashed(*address).fmt(f),
        }
    }
}

/// An address as CoreDNS writes it into a label: `10-0-0-7`, `fd00--7`, and `fd00--0` where the label would end in a dash.
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

/// The address that a dashed label spells, in any notation.
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

/// Whether CoreDNS writes `address` exactly as `label`.
pub(crate) fn is_dashed(label: &str, address: IpAddr) -> bool {
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
