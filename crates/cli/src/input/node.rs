//! A YAML or JSON value that keeps its line numbers and deserializes into any serde type.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_path_to_error::{Path, Segment};

use super::{
    Field,
    error::{InputError, SourceLocation},
};

/// A value and its line.
#[derive(Clone, Debug)]
pub struct InputNode {
    /// Line, from 1. A field has the line of its key, because a list or an object may begin on the next line.
    pub line: u32,
    /// The value.
    pub value: InputValue,
}

/// A JSON value.
#[derive(Clone, Debug)]
pub enum InputValue {
    /// Null.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Box<str>),
    /// A list.
    List(Vec<InputNode>),
    /// An object, in source order.
    Map(Vec<(Box<str>, InputNode)>),
}

/// A field that an object has twice. kubectl keeps the last value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedField {
    /// The field's name, without its path.
    pub name: Box<str>,
    /// The line of the second one.
    pub line: u32,
}

impl RepeatedField {
    /// The error of the object at `place`.
    #[must_use]
    pub fn problem(&self, place: &SourceLocation) -> InputError {
        InputError::at(place, format!("has the field {} twice", self.name), "keep one of the two").at_line(self.line)
    }
}

impl InputNode {
    /// The value of a field; `None` if there is no such field, or this is not an object.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Self> {
        match &self.value {
            InputValue::Map(entries) => entries.iter().find(|(key, _)| **key == *field).map(|(_, node)| node),
            _ => None,
        }
    }

    /// A value that has no lines.
    #[must_use]
    pub fn of_json(value: serde_json::Value) -> Self {
        use serde_json::Value;
        let value = match value {
            Value::Null => InputValue::Null,
            Value::Bool(value) => InputValue::Bool(value),
            Value::Number(number) => match number.as_i64() {
                Some(number) => InputValue::Int(number),
                None => InputValue::Float(number.as_f64().unwrap_or_default()),
            },
            Value::String(text) => InputValue::Text(text.into()),
            Value::Array(items) => InputValue::List(items.into_iter().map(Self::of_json).collect()),
            Value::Object(fields) => {
                InputValue::Map(fields.into_iter().map(|(key, value)| (key.into(), Self::of_json(value))).collect())
            }
        };
        Self { line: 0, value }
    }

    /// The mutable form of [`InputNode::get`].
    pub fn get_mut(&mut self, field: &str) -> Option<&mut Self> {
        match &mut self.value {
            InputValue::Map(entries) => entries.iter_mut().find(|(key, _)| **key == *field).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            InputValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list; anything else has none.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.value {
            InputValue::List(items) => items,
            _ => &[],
        }
    }

    /// The number of values in it, itself included, and about how many bytes they take.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let mut size = (1, size_of::<Self>());
        let mut add = |key: usize, node: &Self| {
            let (values, bytes) = node.size();
            size = (size.0 + values, size.1 + key + bytes);
        };
        match &self.value {
            InputValue::List(items) => items.iter().for_each(|item| add(0, item)),
            InputValue::Map(entries) => {
                entries.iter().for_each(|(key, value)| add(size_of_val(key) + key.len(), value))
            }
            InputValue::Text(text) => size.1 += text.len(),
            _ => {}
        }
        size
    }

    /// Removes a field.
    pub fn remove(&mut self, field: &str) {
        if let InputValue::Map(entries) = &mut self.value {
            entries.retain(|(key, _)| **key != *field);
        }
    }

    /// Sets a field of an object to a text. The field gets the line of the object.
    pub fn set_text(&mut self, field: &str, text: String) {
        self.remove(field);
        if let InputValue::Map(entries) = &mut self.value {
            entries.push((field.into(), Self { line: self.line, value: InputValue::Text(text.into()) }));
        }
    }

    /// Deserializes it into `T`.
    ///
    /// # Errors
    /// The field that cannot be read, its line and the reason.
    pub fn read<'de, T: de::Deserialize<'de>>(&'de self) -> Result<T, Unreadable> {
        serde_path_to_error::deserialize(self).map_err(|error| {
            let path = error.path();
            let node = self.innermost(path);
            let (field, why) = (path.to_string(), error.inner().0.to_string());
            let why = match node.text() {
                // A library's words are about its format, which is that of RFC 3339.
                Some(text) if field.ends_with("Timestamp") && !why.starts_with("is ") => {
                    format!("is the string {text:?}, not a time such as \"2026-01-31T12:00:00Z\"")
                }
                _ => why,
            };
            Unreadable { field, line: node.line, why }
        })
    }

    /// The innermost existing part of `path`.
    fn innermost(&self, path: &Path) -> &Self {
        let mut node = self;
        for segment in path.iter() {
            let next = match (segment, &node.value) {
                (Segment::Seq { index }, InputValue::List(items)) => items.get(*index),
                (Segment::Map { key }, InputValue::Map(_)) => node.get(key),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node
    }

    /// Calls `each` with the field and line of every value in it, itself included.
    pub fn each_field(&self, each: &mut impl FnMut(&Field, u32)) {
        self.each_field_below(&mut Field::default(), each);
    }

    fn each_field_below(&self, field: &mut Field, each: &mut impl FnMut(&Field, u32)) {
        each(field, self.line);
        match &self.value {
            InputValue::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    field.push_item(index);
                    item.each_field_below(field, each);
                    field.pop();
                }
            }
            InputValue::Map(entries) => {
                for (key, value) in entries {
                    field.push_field(key);
                    value.each_field_below(field, each);
                    field.pop();
                }
            }
            _ => {}
        }
    }
}

/// Why an [`InputNode`] could not be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Path of the field.
    pub field: String,
    /// Line of the field.
    pub line: u32,
    /// The reason.
    pub why: String,
}

impl Unreadable {
    /// What to do about a scalar whose quotes make it another type than the field has.
    #[must_use]
    pub fn fix(&self) -> Option<&'static str> {
        let (given, wanted) = self.why.strip_prefix("it ").unwrap_or(&self.why).rsplit_once(", not ")?;
        let text = given.strip_prefix("is the string \"").and_then(|text| text.strip_suffix('"'));
        match (text, wanted) {
            (None, "a string") if given.starts_with("is the boolean") => Some(
                "put the value in quotes: in YAML an unquoted y, yes, on or true is a boolean, as are n, no, off and false",
            ),
            (None, "a string") if given.starts_with("is the number") => {
                Some("put the value in quotes: it is a number without them")
            }
            (Some("true" | "false"), "true or false") => Some("remove the quotes"),
            (Some(text), wanted) if wanted.starts_with("a whole number") && text.parse::<i64>().is_ok() => {
                Some("remove the quotes")
            }
            _ => None,
        }
    }
}

/// An error message from serde.
#[derive(Debug)]
pub struct Why(Box<str>);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Why {}

impl de::Error for Why {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match expected.to_string().as_str() {
            "i32" => Self::invalid_type(unexpected, &"a 32-bit integer"),
            _ => Self::invalid_type(unexpected, expected),
        }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let given = match unexpected {
            Unexpected::Bool(value) => format!("the boolean {value}"),
            Unexpected::Unsigned(number) => format!("the number {number}"),
            Unexpected::Signed(number) => format!("the number {number}"),
            Unexpected::Float(number) => format!("the number {number}"),
            Unexpected::Str(text) => format!("the string {text:?}"),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a mapping".to_owned(),
            Unexpected::Unit | Unexpected::Option => "null".to_owned(),
            other => other.to_string(),
        };
        Self::custom(format!("is {given}, not {}", in_words(&expected.to_string())))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let known: Vec<String> = expected.iter().map(|one| format!("{one:?}")).collect();
        Self::custom(format!("{variant:?} is not one of {}", known.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("has no field {field:?}"))
    }
}

/// The type that serde expects, in the words of YAML.
fn in_words(expected: &str) -> &str {
    match expected {
        "a sequence" => "a list",
        "a map" => "a mapping",
        "a boolean" => "true or false",
        "IntOrString" => "a number or a string",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        // The name of a type of ours, or of the Kubernetes API.
        name if name.starts_with("struct ") || name.starts_with(|c: char| c.is_ascii_uppercase()) => "a mapping",
        other => other,
    }
}

impl<'de> Deserializer<'de> for &'de InputNode {
    type Error = Why;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        match &self.value {
            InputValue::Null => visitor.visit_unit(),
            InputValue::Bool(value) => visitor.visit_bool(*value),
            InputValue::Int(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            InputValue::Float(value) => visitor.visit_f64(*value),
            InputValue::Text(text) => visitor.visit_borrowed_str(text),
            InputValue::List(items) => visitor.visit_seq(ListItems(items.iter())),
            InputValue::Map(entries) => visitor.visit_map(MapFields { entries: entries.iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        match self.value {
            InputValue::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    /// Null is an empty string: the API takes null for a value that is left out.
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        match self.value {
            InputValue::Null => visitor.visit_borrowed_str(""),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Null is an empty list.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        match self.value {
            InputValue::Null => visitor.visit_seq(ListItems([].iter())),
            _ => self.deserialize_any(visitor),
        }
    }

    /// Null is an empty mapping.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        match self.value {
            InputValue::Null => visitor.visit_map(MapFields { entries: [].iter(), value: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Why> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Why> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Why> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf unit unit_struct tuple
        tuple_struct enum identifier
    }
}

struct ListItems<'de>(std::slice::Iter<'de, InputNode>);

impl<'de> SeqAccess<'de> for ListItems<'de> {
    type Error = Why;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct MapFields<'de> {
    entries: std::slice::Iter<'de, (Box<str>, InputNode)>,
    value: Option<&'de InputNode>,
}

impl<'de> MapAccess<'de> for MapFields<'de> {
    type Error = Why;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Why> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Why> {
        let value = self.value.take().ok_or_else(|| de::Error::custom("a value has no key"))?;
        seed.deserialize(value)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}
