//! The version of a resource: a hash of its bytes as sent.
//!
//! Replicas that encode alike agree on it without a word, and a restarted server recognizes what its clients have.

use std::fmt;

use sha2::{Digest, Sha256};

/// The version of a resource: the first 64 bits of SHA-256 over its bytes. As text: 16 lower-case hexadecimal digits.
///
/// Names and annotations of tenants are among the bytes, so the hash is one whose collisions nobody can choose: a collision
/// would hide a change from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The number of characters of a version's text.
    pub(crate) const TEXT_BYTES: usize = 16;

    /// Returns the version of a resource with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let digest = Sha256::digest(bytes);
        Self(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads the text of a version; `None` for a text that is no version of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours =
            text.len() == Self::TEXT_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_ours { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_same_on_every_machine_and_in_every_release() {
        // The start of SHA-256 of the empty string and of "abc", FIPS 180-2. Other values would send everything anew.
        assert_eq!(Version::of(b"").to_string(), "e3b0c44298fc1c14");
        assert_eq!(Version::of(b"abc").to_string(), "ba7816bf8f01cfea");
    }

    #[test]
    fn reads_only_what_it_writes() {
        for number in [0, 1, u64::MAX] {
            assert_eq!(Version::parse(&Version(number).to_string()), Some(Version(number)));
        }
        for text in ["", "1", "BA7816BF8F01CFEA", "+a7816bf8f01cfea", "ba7816bf8f01cfea0", "ba7816bf8f01cfeé"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
