//! Many short texts as one: what keeps a table of 100,000 addresses small, in JSON and in memory.

use alloc::{boxed::Box, string::String};
use core::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, SeqAccess, Visitor},
};

/// A list of short texts without spaces: a JSON list, or one text with spaces between, which is what keeps a table of
/// 100,000 addresses small.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(Box<str>);

impl Texts {
    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<T: IntoIterator<Item = &'a str>>(texts: T) -> Self {
        let mut joined = String::new();
        for text in texts {
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(text);
        }
        Self(joined.into())
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

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;

        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts, or one text with spaces between")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut joined = String::new();
                while list.next_element_seed(Append(&mut joined))?.is_some() {}
                Ok(Texts(joined.into()))
            }
        }

        deserializer.deserialize_any(TextsVisitor)
    }
}

/// Appends one text of a list to those before it, so that no text is allocated by itself.
struct Append<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text without spaces")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        if text.is_empty() || text.contains(|c: char| c.is_ascii_whitespace()) {
            return Err(E::invalid_value(de::Unexpected::Str(text), &self));
        }
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(text);
        Ok(())
    }
}
