//! A DNS name: lowercase, without its trailing dot, on the stack.
//!
//! Accepted: labels of `a-z A-Z 0-9 - _`, 1 to 63 bytes each, joined by single dots, at most 253 bytes in all (RFC 1035
//! section 2.3.4; the underscore as in RFC 2782). `xn--` labels are labels like any other. Upper case becomes lower case, so
//! names compare case-insensitively by construction (RFC 4343).

use core::fmt;

use crate::{
    limits::{MAX_LABEL_BYTES, MAX_NAME_BYTES},
    text::is_equal,
};

/// A DNS name in its canonical form. It lives on the stack, so building and joining names allocates nothing.
#[derive(Clone, Copy)]
pub struct Name {
    /// Only the first `len` bytes count.
    bytes: [u8; MAX_NAME_BYTES],
    len: u8,
}

/// Why some bytes are not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No bytes.
    Empty,
    /// Two dots in a row, or a dot at the front.
    EmptyLabel,
    /// A label over 63 bytes.
    LabelTooLong,
    /// Over 253 bytes.
    TooLong,
    /// A byte other than a letter, a digit, `-`, `_` and `.`.
    Byte(u8),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::EmptyLabel => f.write_str("it has an empty label"),
            Self::LabelTooLong => write!(f, "it has a label over {MAX_LABEL_BYTES} bytes"),
            Self::TooLong => write!(f, "it is over {MAX_NAME_BYTES} bytes"),
            Self::Byte(byte) => write!(f, "'{}' is not allowed in a host", byte.escape_ascii()),
        }
    }
}

impl Name {
    /// Parses a name without a trailing dot.
    ///
    /// # Errors
    /// [`NameError`] for the first rule of this module that `bytes` break.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        RawName::parse(bytes)?;
        let mut name = Self { bytes: [0; MAX_NAME_BYTES], len: 0 };
        let room = name.bytes.get_mut(..bytes.len()).ok_or(NameError::TooLong)?;
        room.copy_from_slice(bytes);
        room.make_ascii_lowercase();
        name.set_len(bytes.len());
        Ok(name)
    }

    /// Parses a name that is absolute with or without its trailing dot.
    ///
    /// # Errors
    /// Those of [`Name::parse`].
    pub(crate) fn parse_absolute(text: &str) -> Result<Self, NameError> {
        Self::parse(text.strip_suffix('.').unwrap_or(text).as_bytes())
    }

    /// Keeps the first `len` bytes and appends a dot and `suffix`, itself a name. Returns `false`, and changes nothing, where
    /// the result would be too long for a name.
    #[must_use]
    pub fn join(&mut self, len: usize, suffix: &str) -> bool {
        let end = len + 1 + suffix.len();
        let Some((dot, rest)) = self.bytes.get_mut(len..end).and_then(<[u8]>::split_first_mut) else { return false };
        *dot = b'.';
        rest.copy_from_slice(suffix.as_bytes());
        self.set_len(end);
        true
    }

    fn set_len(&mut self, len: usize) {
        debug_assert!(len <= MAX_NAME_BYTES, "the bytes were copied into a buffer of that size");
        self.len = u8::try_from(len).unwrap_or(u8::MAX);
    }

    /// The length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a name is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The name as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = core::str::from_utf8(self.as_bytes());
        debug_assert!(text.is_ok(), "a name is ASCII");
        text.unwrap_or_default()
    }

    /// The number of dots between labels.
    #[must_use]
    pub fn dots(&self) -> usize {
        self.as_bytes().iter().filter(|&&byte| byte == b'.').count()
    }

    /// Whether resolvers may read the name as an IPv4 address, as inet_aton(3) does: every label is a decimal number, or a
    /// hexadecimal one after `0x`. A namespace of digits alone makes no address: `web.1234` has a label that is no number.
    #[must_use]
    pub fn looks_like_ipv4(&self) -> bool {
        RawName::parse(self.as_bytes()).is_ok_and(|name| name.looks_like_ipv4)
    }

    /// The part before `.zone`: `Some("")` for the zone itself, `None` outside the zone.
    #[must_use]
    pub fn below(&self, zone: &str) -> Option<&str> {
        below(self.as_str(), zone)
    }
}

/// A valid name as its author wrote it, in any case, with all that one pass over its bytes shows. Every request takes that
/// pass once.
#[derive(Clone, Copy)]
pub(crate) struct RawName<'a> {
    pub(crate) bytes: &'a [u8],
    /// The number of dots between labels.
    pub(crate) dots: usize,
    pub(crate) has_uppercase: bool,
    /// See [`Name::looks_like_ipv4`].
    pub(crate) looks_like_ipv4: bool,
}

impl<'a> RawName<'a> {
    /// Parses a name without a trailing dot, copying nothing.
    ///
    /// # Errors
    /// Those of [`Name::parse`].
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NameError> {
        if bytes.is_empty() {
            return Err(NameError::Empty);
        }
        if bytes.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong);
        }
        // Without branches: a byte of a name takes a few instructions. A dot is expected before the name and behind it.
        let (mut seen, mut dots, mut before) = (0, 0_u32, DOT);
        for &byte in bytes {
            let class = class(byte);
            seen |= class | (class & before) << TWICE;
            dots += class & DOT;
            before = class;
        }
        let is_wrong = seen & (OTHER | DOT << TWICE) != 0 || before == DOT;
        if is_wrong || bytes.len() > MAX_LABEL_BYTES && has_long_label(bytes) {
            return Err(first_error(bytes));
        }
        let has_uppercase = seen & UPPERCASE != 0;
        // Nearly every name is told by its first byte.
        let looks_like_ipv4 = bytes.first().is_some_and(u8::is_ascii_digit) && has_only_numbers(bytes);
        // At most MAX_NAME_BYTES.
        let dots = usize::try_from(dots).unwrap_or(usize::MAX);
        Ok(Self { bytes, dots, has_uppercase, looks_like_ipv4 })
    }
}

/// The classes of bytes in a name, as bits; 0 for `a-z`, `0-9`, `-` and `_`.
const DOT: u32 = 1;
const UPPERCASE: u32 = 2;
const OTHER: u32 = 4;
/// The bit of a class is shifted by this where two bytes of the class follow each other.
const TWICE: u32 = 3;

static CLASSES: [u8; 256] = {
    let mut classes = [OTHER as u8; 256];
    let mut rest: &mut [u8] = &mut classes;
    let mut byte = 0_u8;
    while let Some((class, after)) = rest.split_first_mut() {
        *class = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => 0,
            b'.' => DOT as u8,
            b'A'..=b'Z' => UPPERCASE as u8,
            _ => OTHER as u8,
        };
        byte = byte.wrapping_add(1);
        rest = after;
    }
    classes
};

#[inline(always)]
fn class(byte: u8) -> u32 {
    CLASSES.get(usize::from(byte)).copied().map_or(OTHER, u32::from)
}

#[inline(never)]
fn has_long_label(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'.').any(|label| label.len() > MAX_LABEL_BYTES)
}

/// The first rule that the bytes break.
#[cold]
#[inline(never)]
fn first_error(bytes: &[u8]) -> NameError {
    let mut label_bytes = 0;
    for &byte in bytes {
        match class(byte) {
            OTHER => return NameError::Byte(byte),
            DOT if label_bytes == 0 => break,
            DOT => label_bytes = 0,
            _ => label_bytes += 1,
        }
        if label_bytes > MAX_LABEL_BYTES {
            return NameError::LabelTooLong;
        }
    }
    NameError::EmptyLabel
}

/// Whether inet_aton(3) reads each label as a number.
#[inline(never)]
fn has_only_numbers(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'.').all(is_number)
}

/// Whether inet_aton(3) reads the label as a number.
fn is_number(label: &[u8]) -> bool {
    match label {
        [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
        label => label.iter().all(u8::is_ascii_digit),
    }
}

/// The part of a name before `.zone`: `Some("")` for the zone itself, `None` outside the zone.
pub(crate) fn below<'n>(name: &'n str, zone: &str) -> Option<&'n str> {
    name.get(..below_bytes(name.as_bytes(), zone)?.len())
}

/// [`below`] for a name that need not be text.
pub(crate) fn below_bytes<'n>(name: &'n [u8], zone: &str) -> Option<&'n [u8]> {
    let (rest, suffix) = name.split_at_checked(name.len().checked_sub(zone.len())?)?;
    if !is_equal(suffix, zone.as_bytes()) {
        return None;
    }
    if rest.is_empty() { Some(rest) } else { rest.strip_suffix(b".") }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", self.as_str())
    }
}

/// Whether `text` is one DNS label as Kubernetes writes the names of Services and namespaces: lowercase letters, digits
/// and `-`, not at an end (RFC 1123; a Service name may start with a digit, KEP-5311).
#[must_use]
pub fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    bytes.len() <= MAX_LABEL_BYTES
        && bytes.iter().all(inner)
        && bytes.first().is_some_and(|&byte| byte != b'-')
        && bytes.last().is_some_and(|&byte| byte != b'-')
}
