//! What a Service is called.

use alloc::boxed::Box;
use core::fmt;

use crate::name::is_label;

/// `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    text: Box<str>,
    slash: u8,
}

impl Key {
    /// `None` where `text` is not `namespace/name` with a slash in reach.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let slash = u8::try_from(namespace.len()).ok()?;
        (is_label(namespace) && is_label(name)).then(|| Self { text: text.into(), slash })
    }

    pub(crate) fn namespace(&self) -> &str {
        self.text.get(..usize::from(self.slash)).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.text.get(usize::from(self.slash) + 1..).unwrap_or_default()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
