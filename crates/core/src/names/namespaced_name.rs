//! The namespace and name of a Service, as Kubernetes' `types.NamespacedName`.

use alloc::{boxed::Box, format};
use core::{fmt, str::from_utf8};

use super::name::is_label;
use crate::text::is_equal;

/// Names up to this length, which are nearly all, are stored in the Service itself: a request then finds the name and
/// everything else that it needs of the Service in one place in memory.
const INLINE_BYTES: usize = 34;

/// The namespace and name of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespacedName {
    inline: [u8; INLINE_BYTES],
    len: u8,
    slash: u8,
    /// A name that is too long for `inline`.
    long: Option<Box<str>>,
}

impl NamespacedName {
    /// Parses `namespace/name`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        if !is_label(namespace) || !is_label(name) {
            return None;
        }
        Self::with_slash(text, namespace.len())
    }

    /// The Service `name` in `namespace`, both labels of a DNS name.
    pub(crate) fn new((namespace, name): (&str, &str)) -> Option<Self> {
        Self::with_slash(&format!("{namespace}/{name}"), namespace.len())
    }

    /// `namespace/name`, whose slash is at this index. Two labels and a slash are at most 127 bytes.
    fn with_slash(text: &str, slash: usize) -> Option<Self> {
        let (len, slash) = (u8::try_from(text.len()).ok()?, u8::try_from(slash).ok()?);
        let mut parsed = Self { inline: [0; INLINE_BYTES], len, slash, long: None };
        match parsed.inline.get_mut(..text.len()) {
            Some(room) => room.copy_from_slice(text.as_bytes()),
            None => parsed.long = Some(text.into()),
        }
        Some(parsed)
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// The name, without the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts().1
    }

    /// Namespace and name.
    pub(crate) fn parts(&self) -> (&str, &str) {
        let (namespace, name) = self.as_str().split_at_checked(usize::from(self.slash)).unwrap_or_default();
        (namespace, name.get(1..).unwrap_or_default())
    }

    /// Whether these are its namespace and name.
    #[inline(always)]
    pub(crate) fn is(&self, namespace: &[u8], name: &[u8]) -> bool {
        let bytes = self.as_bytes();
        let Some((own_namespace, rest)) = bytes.split_at_checked(usize::from(self.slash)) else { return false };
        is_equal(rest.get(1..).unwrap_or_default(), name) && is_equal(own_namespace, namespace)
    }

    pub(crate) fn as_str(&self) -> &str {
        let text = from_utf8(self.as_bytes());
        debug_assert!(text.is_ok(), "two labels and a slash are ASCII");
        text.unwrap_or_default()
    }

    #[inline(always)]
    fn as_bytes(&self) -> &[u8] {
        let inline = self.inline.get(..usize::from(self.len));
        inline.unwrap_or_else(|| self.long.as_deref().map_or(&[], str::as_bytes))
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
