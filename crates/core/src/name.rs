//! A DNS name: lowercase, without its trailing dot, on the stack.
//!
//! Accepted: labels of `a-z A-Z 0-9 - _`, 1 to 63 bytes each, joined by single dots, at most 253 bytes in all (RFC 1035
//! section 2.3.4; the underscore as in RFC 2782). `xn--` labels are labels like any other. What is uppercase becomes
//! lowercase, so names compare case-insensitively by construction (RFC 4343).

use core::fmt;

use crate::limits::{MAX_LABEL_BYTES, MAX_NAME_BYTES};

/// A DNS name in its one canonical form. It lives on the stack, so building and joining names allocates nothing.
#[derive(Clone, Copy)]
pub struct Name {
    /// What comes behind `len` means nothing.
    bytes: [u8; MAX_NAME_BYTES],
    len: u8,
}

/// Why some bytes are not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No bytes at all.
    Empty,
    /// Two dots in a row, or a dot at the front.
    EmptyLabel,
    /// A label over 63 bytes.
    LabelTooLong,
    /// Over 253 bytes.
    TooLong,
    /// A byte that is neither a letter, a digit, `-`, `_` nor `.`.
    Byte(u8),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::EmptyLabel => f.write_str("it has an empty label"),
            Self::LabelTooLong => write!(f, "it has a label over {MAX_LABEL_BYTES} bytes"),
            Self::TooLong => write!(f, "it is over {MAX_NAME_BYTES} bytes"),
            Self::Byte(byte) => write!(f, "'{}' cannot stand in a host", byte.escape_ascii()),
        }
    }
}

impl Name {
    /// The name that `bytes` spell, without a trailing dot.
    ///
    /// # Errors
    /// [`NameError`] for the first rule of this module that `bytes` break.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        spell(bytes)?;
        let mut name = Self { bytes: [0; MAX_NAME_BYTES], len: 0 };
        let room = name.bytes.get_mut(..bytes.len()).ok_or(NameError::TooLong)?;
        room.copy_from_slice(bytes);
        room.make_ascii_lowercase();
        // At most MAX_NAME_BYTES, or there had been no room.
        name.len = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        Ok(name)
    }

    /// The name that `text` spells, which may have a trailing dot: it is absolute with or without.
    ///
    /// # Errors
    /// As [`Name::parse`].
    pub(crate) fn parse_absolute(text: &str) -> Result<Self, NameError> {
        Self::parse(text.strip_suffix('.').unwrap_or(text).as_bytes())
    }

    /// Makes it its own first `len` bytes, a dot and `suffix`, which is a name too. Says whether that is short enough for a
    /// name; else it stays as it was.
    #[must_use]
    pub fn join(&mut self, len: usize, suffix: &str) -> bool {
        let end = len + 1 + suffix.len();
        let Some((dot, rest)) = self.bytes.get_mut(len..end).and_then(<[u8]>::split_first_mut) else { return false };
        *dot = b'.';
        rest.copy_from_slice(suffix.as_bytes());
        // At most MAX_NAME_BYTES, or there had been no room.
        self.len = u8::try_from(end).unwrap_or(u8::MAX);
        true
    }

    /// How many bytes it has.
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
        // Only ASCII gets in, so the fallback is never taken.
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// How many dots stand between its labels.
    #[must_use]
    pub fn dots(&self) -> usize {
        self.as_bytes().iter().filter(|&&byte| byte == b'.').count()
    }

    /// Whether resolvers read it as an IPv4 address in one of inet_aton(3)'s many forms: its last label is a decimal
    /// number, or a hexadecimal one after `0x`.
    #[must_use]
    pub fn looks_like_ipv4(&self) -> bool {
        spell(self.as_bytes()).is_ok_and(|spelling| spelling.looks_like_ipv4)
    }

    /// What stands before `.zone`; `Some("")` for the zone itself, `None` outside of it.
    #[must_use]
    pub fn below(&self, zone: &str) -> Option<&str> {
        below(self.as_str(), zone)
    }
}

/// The text of a name, in any case, and what was seen of it on the way: every request comes by here, once.
#[derive(Clone, Copy)]
pub(crate) struct Spelling<'a> {
    pub(crate) text: &'a str,
    /// How many dots stand between its labels.
    pub(crate) dots: usize,
    pub(crate) has_uppercase: bool,
    /// Whether resolvers read it as an IPv4 address: see [`Name::looks_like_ipv4`].
    pub(crate) looks_like_ipv4: bool,
}

/// Reads a name.
///
/// # Errors
/// As [`Name::parse`].
pub(crate) fn spell(bytes: &[u8]) -> Result<Spelling<'_>, NameError> {
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if bytes.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    let (mut label_bytes, mut dots, mut has_uppercase) = (0, 0, false);
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => label_bytes += 1,
            b'.' if label_bytes == 0 => return Err(NameError::EmptyLabel),
            b'.' => {
                dots += 1;
                label_bytes = 0;
            }
            b'A'..=b'Z' => {
                has_uppercase = true;
                label_bytes += 1;
            }
            _ => return Err(NameError::Byte(byte)),
        }
        if label_bytes > MAX_LABEL_BYTES {
            return Err(NameError::LabelTooLong);
        }
    }
    if label_bytes == 0 {
        return Err(NameError::EmptyLabel);
    }
    let last = bytes.get(bytes.len() - label_bytes..).unwrap_or_default();
    // A number, of one kind or the other, begins with a digit.
    let looks_like_ipv4 = last.first().is_some_and(u8::is_ascii_digit)
        && match last {
            [b'0', b'x' | b'X', hex @ ..] => hex.iter().all(u8::is_ascii_hexdigit),
            last => last.iter().all(u8::is_ascii_digit),
        };
    // Only ASCII comes to here, so the error is never met.
    let text = core::str::from_utf8(bytes).map_err(|_| NameError::Empty)?;
    Ok(Spelling { text, dots, has_uppercase, looks_like_ipv4 })
}

/// What of a name stands before `.zone`; `Some("")` for the zone itself, `None` outside of it.
pub(crate) fn below<'n>(name: &'n str, zone: &str) -> Option<&'n str> {
    let rest = name.strip_suffix(zone)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_suffix('.') }
}

/// The labels of a name or of a part of it, the last one first. As `rsplit('.')`, but for labels, which are short.
pub(crate) fn labels_from_the_end(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    core::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(dot) = text.bytes().rposition(|byte| byte == b'.') else { return Some(text) };
        let (before, label) = text.split_at_checked(dot)?;
        rest = Some(before);
        label.get(1..)
    })
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
