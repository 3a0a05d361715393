//! What a Service is called.

use alloc::boxed::Box;
use core::{fmt, str::from_utf8};

use crate::name::is_label;

/// Keys of so many bytes and fewer, which are nearly all, stand in the Service itself: a request then finds it, and all else
/// that it needs of it, in one place in memory.
const INLINE_BYTES: usize = 34;

/// `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    inline: [u8; INLINE_BYTES],
    len: u8,
    slash: u8,
    /// One that is longer.
    long: Option<Box<str>>,
}

impl Key {
    /// `None` where `text` is not `namespace/name`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        if !is_label(namespace) || !is_label(name) {
            return None;
        }
        // Two labels and a slash.
        let len = u8::try_from(text.len()).ok()?;
        let mut key = Self { inline: [0; INLINE_BYTES], len, slash: u8::try_from(namespace.len()).ok()?, long: None };
        match key.inline.get_mut(..text.len()) {
            Some(room) => room.copy_from_slice(text.as_bytes()),
            None => key.long = Some(text.into()),
        }
        Some(key)
    }

    pub(crate) fn namespace(&self) -> &str {
        self.parts().0
    }

    pub(crate) fn name(&self) -> &str {
        self.parts().1
    }

    /// Namespace and name.
    pub(crate) fn parts(&self) -> (&str, &str) {
        let (namespace, name) = self.as_str().split_at_checked(usize::from(self.slash)).unwrap_or_default();
        (namespace, name.get(1..).unwrap_or_default())
    }

    /// Whether it is made of these two.
    #[inline(always)]
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        let bytes = self.as_bytes();
        bytes.len() == namespace.len() + 1 + name.len()
            && usize::from(self.slash) == namespace.len()
            && bytes.starts_with(namespace.as_bytes())
            && bytes.ends_with(name.as_bytes())
    }

    pub(crate) fn as_str(&self) -> &str {
        // Only ASCII gets in, so the fallback is never taken.
        self.long.as_deref().unwrap_or_else(|| from_utf8(self.as_bytes()).unwrap_or_default())
    }

    #[inline(always)]
    fn as_bytes(&self) -> &[u8] {
        let inline = self.inline.get(..usize::from(self.len));
        inline.unwrap_or_else(|| self.long.as_deref().map_or(&[], str::as_bytes))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
