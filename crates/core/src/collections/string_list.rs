//! Many short texts in one allocation: a table of 100,000 addresses is small because of it, in JSON and in memory.

use alloc::string::String;

use serde::{Serialize, Serializer};

/// A list of short texts without spaces. In JSON it is a list, or one text with a space between two entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringList(String);

impl StringList {
    pub(crate) const EMPTY: Self = Self(String::new());

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// All entries, with white space between them.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of entries, if a single space stands between each two. Good enough to reserve memory by.
    pub(crate) fn estimated_len(&self) -> usize {
        self.0.bytes().filter(|byte| *byte == b' ').count() + 1
    }

    /// Replaces all entries by those of `text`, which white space separates.
    pub(crate) fn set(&mut self, text: &str) {
        self.0.clear();
        self.0.push_str(text);
    }

    /// Appends one entry.
    pub(crate) fn push(&mut self, text: &str) {
        debug_assert!(!text.contains(|c: char| c.is_ascii_whitespace()), "an entry holds no white space");
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(text);
    }
}

impl<'a> FromIterator<&'a str> for StringList {
    fn from_iter<T: IntoIterator<Item = &'a str>>(texts: T) -> Self {
        let mut joined = Self::default();
        texts.into_iter().for_each(|text| joined.push(text));
        joined
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for StringList {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "StringList".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A list of texts, or one text with spaces between.",
            "anyOf": [
                {"type": "array", "items": {"type": "string", "pattern": r"^\S+$"}},
                {"type": "string"},
            ],
        })
    }
}

impl Serialize for StringList {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
