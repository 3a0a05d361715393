//! Many short texts as one: what keeps a table of 100,000 addresses small, in JSON and in memory.

use alloc::{borrow::ToOwned, boxed::Box, string::String, vec::Vec};

use serde::{Serialize, Serializer};

use crate::{
    limits::MAX_ENTRIES,
    read::{Form, Map, Read, Taken},
};

/// A list of short texts without spaces: a JSON list, or one text with spaces between, which is what keeps a table of
/// 100,000 addresses small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(String);

impl Texts {
    pub(crate) const NONE: Self = Self(String::new());

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    /// All of them, with spaces between.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many texts there are, where one space stands between two, as nearly always.
    pub(crate) fn about(&self) -> usize {
        self.0.bytes().filter(|byte| *byte == b' ').count() + 1
    }

    fn push(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(text);
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<T: IntoIterator<Item = &'a str>>(texts: T) -> Self {
        let mut joined = Self::default();
        texts.into_iter().for_each(|text| joined.push(text));
        joined
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Texts {
    fn schema_name() -> alloc::borrow::Cow<'static, str> {
        "Texts".into()
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

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Read for Texts {
    fn expected(&self) -> &'static str {
        "a list of texts without spaces, or one text with spaces between"
    }

    fn text(&mut self, text: &str) -> Taken {
        text.clone_into(&mut self.0);
        Taken::Yes
    }

    fn text_of_list(&mut self, text: &str) -> Taken {
        if text.is_empty() || text.contains(|c: char| c.is_ascii_whitespace()) {
            return Taken::NotThisValue;
        }
        self.push(text);
        Taken::Yes
    }

    fn form(&mut self) -> Form<'_> {
        Form::Texts(self)
    }
}

/// An object whose keys are of its writer's choice, as a list in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<T>(Vec<(Box<str>, T)>);

impl<T> Entries<T> {
    pub(crate) const NONE: Self = Self(Vec::new());

    /// Keys and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// The value of the first entry with this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&T> {
        self.iter().find(|(other, _)| *other == key).map(|(_, value)| value)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A key that is there twice.
    pub(crate) fn repeated(&self) -> Option<&str> {
        let mut before = self.0.as_slice();
        while let Some(((key, _), rest)) = before.split_last() {
            if rest.iter().any(|(other, _)| other == key) {
                return Some(key);
            }
            before = rest;
        }
        None
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self::NONE
    }
}

impl<'a, T> FromIterator<(&'a str, T)> for Entries<T> {
    fn from_iter<I: IntoIterator<Item = (&'a str, T)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<T: Read + Default> Read for Entries<T> {
    fn expected(&self) -> &'static str {
        "an object of at most 4096 entries"
    }

    fn form(&mut self) -> Form<'_> {
        Form::Map(self)
    }
}

impl<T: Read + Default> Map for Entries<T> {
    fn value(&mut self, key: &str) -> Option<&mut dyn Read> {
        if self.0.len() >= MAX_ENTRIES {
            return None;
        }
        self.0.push((key.into(), T::default()));
        self.0.last_mut().map(|(_, value)| value as &mut dyn Read)
    }
}
