//! How the wire form is read: every type says what it takes and where that goes, and one visitor does the rest.
//!
//! What serde's derive writes for these structs would be a fifth of the module; described so, a field is a few bytes. A value
//! is read into its default, in place. An object is an object: an array in its place, which derived code would take field by
//! field in the order of the source, is refused; and so is a field that is not known, that is given twice, or that is needed
//! and missing. Errors have the words of serde.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::limits::MAX_ENTRIES;

/// A value that can be read. Each method is for one form of JSON, and takes it or does not.
pub(crate) trait Read {
    /// What is expected, where something else stands.
    fn expected(&self) -> &'static str;

    fn null(&mut self) -> bool {
        false
    }

    /// Whether null stands for none of it, where there may be none.
    fn may_be_null(&self) -> bool {
        true
    }

    fn boolean(&mut self, _: bool) -> bool {
        false
    }

    fn number(&mut self, _: u64) -> Taken {
        Taken::NotOfThisForm
    }

    fn text(&mut self, _: &str) -> Taken {
        Taken::NotOfThisForm
    }

    /// One text of a list, for a value that is a list of texts.
    fn text_of_list(&mut self, _: &str) -> Taken {
        Taken::NotOfThisForm
    }

    fn form(&mut self) -> Form<'_> {
        Form::Plain
    }
}

/// What came of a value.
pub(crate) enum Taken {
    Yes,
    /// Of this form there is none here.
    NotOfThisForm,
    /// It is of the right form.
    NotThisValue,
    /// A text that is none of these.
    NoneOf(&'static [&'static str]),
}

/// What a value is made of.
pub(crate) enum Form<'r> {
    /// Of nothing.
    Plain,
    Object(&'r mut dyn Object),
    List(&'r mut dyn List),
    Texts(&'r mut dyn Read),
    Map(&'r mut dyn Map),
}

/// A struct.
pub(crate) trait Object {
    /// As JSON has them; at most 32.
    fn fields(&self) -> &'static [&'static str];
    /// Those of them that have no default.
    fn needed(&self) -> &'static [&'static str];
    /// The field at this place of [`Object::fields`].
    fn field(&mut self, index: usize) -> Option<&mut dyn Read>;
}

/// A list of values of one type.
pub(crate) trait List {
    /// Makes room for one more, and says whether there may be one.
    fn grow(&mut self) -> bool;
    /// The last one.
    fn last(&mut self) -> Option<&mut dyn Read>;
    /// As many as there may be.
    fn most(&self) -> usize;
}

/// An object whose keys are of its writer's choice.
pub(crate) trait Map {
    /// The value of this key; `None`: there are too many.
    fn value(&mut self, key: &str) -> Option<&mut dyn Read>;
    /// That value has been read.
    fn has_read(&mut self) {}
}

/// What can stand in a list.
pub(crate) trait Element: Read + Default {
    /// As many are read.
    const MOST: usize = MAX_ENTRIES;
    /// What a list of them is.
    const LIST: &'static str = "a list of at most 4096";
    /// Whether null stands for no such list, where there may be none.
    const LIST_MAY_BE_NULL: bool = true;
}

/// Reads into a value.
struct Seed<'r> {
    to: &'r mut dyn Read,
    /// Whether it is one text of a list that the value is.
    in_list: bool,
}

/// Reads one by itself.
pub(crate) fn read<'de, T: Read + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let mut value = T::default();
    Seed { to: &mut value, in_list: false }.deserialize(deserializer)?;
    Ok(value)
}

struct Expected(&'static str);

impl serde::de::Expected for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What stands where something else is expected: serde's `Unexpected`, of which JSON needs a part. What writes that one brings
/// the digits of any fraction and all that Unicode can print.
#[derive(Clone, Copy)]
enum Found<'t> {
    Null,
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    Fraction,
    Text(&'t str),
    List,
    Object,
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "boolean `{value}`"),
            Self::Unsigned(value) => write!(f, "integer `{value}`"),
            Self::Signed(value) => write!(f, "integer `{value}`"),
            Self::Fraction => f.write_str("a number that is not whole"),
            Self::Text(text) => write!(f, "string \"{text}\""),
            Self::List => f.write_str("sequence"),
            Self::Object => f.write_str("map"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed<'_> {
    fn check<E: Error>(self, taken: Taken, found: Found<'_>) -> Result<(), E> {
        let wrong = match (taken, found) {
            (Taken::Yes, _) => return Ok(()),
            (Taken::NoneOf(names), Found::Text(text)) => return Err(E::unknown_variant(text, names)),
            (Taken::NotThisValue | Taken::NoneOf(_), _) => "value",
            (Taken::NotOfThisForm, _) => "type",
        };
        Err(E::custom(format_args!("invalid {wrong}: {found}, expected {}", self.to.expected())))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let taken = if self.to.null() { Taken::Yes } else { Taken::NotOfThisForm };
        self.check(taken, Found::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let taken = if self.to.boolean(value) { Taken::Yes } else { Taken::NotOfThisForm };
        self.check(taken, Found::Boolean(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let taken = self.to.number(value);
        self.check(taken, Found::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        // None of ours is below 0, and every number of the right form takes 0.
        let taken = match self.to.number(0) {
            Taken::Yes => Taken::NotThisValue,
            taken => taken,
        };
        self.check(taken, Found::Signed(value))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.check(Taken::NotOfThisForm, Found::Fraction)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let taken = if self.in_list { self.to.text_of_list(text) } else { self.to.text(text) };
        self.check(taken, Found::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let expected = Expected(self.to.expected());
        match self.to.form() {
            Form::List(to) => {
                while let Some(fits) = list.next_element_seed(NextElement(to))? {
                    if !fits {
                        return Err(A::Error::invalid_length(to.most().saturating_add(1), &expected));
                    }
                }
                Ok(())
            }
            Form::Texts(to) if !self.in_list => {
                while list.next_element_seed(Seed { to, in_list: true })?.is_some() {}
                Ok(())
            }
            _ => self.check(Taken::NotOfThisForm, Found::List),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let expected = Expected(self.to.expected());
        match self.to.form() {
            Form::Object(to) => read_fields(to, map),
            Form::Map(to) => {
                let mut key = String::new();
                while map.next_key_seed(Key(&mut key))?.is_some() {
                    match to.value(&key) {
                        Some(value) => map.next_value_seed(Seed { to: value, in_list: false })?,
                        None => return Err(A::Error::invalid_length(MAX_ENTRIES.saturating_add(1), &expected)),
                    }
                    to.has_read();
                }
                Ok(())
            }
            _ => self.check(Taken::NotOfThisForm, Found::Object),
        }
    }
}

fn read_fields<'de, A: MapAccess<'de>>(to: &mut dyn Object, mut map: A) -> Result<(), A::Error> {
    let (fields, needed) = (to.fields(), to.needed());
    let mut seen = 0_u32;
    let bit = |index: usize| u32::try_from(index).map_or(0, |index| 1_u32.wrapping_shl(index));
    while let Some(index) = map.next_key_seed(FieldName(fields))? {
        if seen & bit(index) != 0 {
            return Err(A::Error::duplicate_field(fields.get(index).copied().unwrap_or_default()));
        }
        seen |= bit(index);
        if let Some(field) = to.field(index) {
            map.next_value_seed(Seed { to: field, in_list: false })?;
        }
    }
    for needed in needed {
        let index = fields.iter().position(|field| field == needed);
        if index.is_none_or(|index| seen & bit(index) == 0) {
            return Err(A::Error::missing_field(needed));
        }
    }
    Ok(())
}

/// Reads the next element of a list into it, once it is known that there is one, and says whether it fits. One that does
/// not is read over the last one that does: it ends the reading anyway.
struct NextElement<'r>(&'r mut dyn List);

impl<'de> DeserializeSeed<'de> for NextElement<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let fits = self.0.grow();
        let Some(to) = self.0.last() else { return Ok(false) };
        Seed { to, in_list: false }.deserialize(deserializer)?;
        Ok(fits)
    }
}

/// A key as text, into a buffer that the next one can have too.
struct Key<'k>(&'k mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        text.clone_into(self.0);
        Ok(())
    }
}

/// The place of a key among these.
struct FieldName(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<usize, E> {
        self.0.iter().position(|field| *field == text).ok_or_else(|| E::unknown_field(text, self.0))
    }
}

impl Read for String {
    fn expected(&self) -> &'static str {
        "a string"
    }

    fn text(&mut self, text: &str) -> Taken {
        text.clone_into(self);
        Taken::Yes
    }
}

impl Element for String {}

impl Read for bool {
    fn expected(&self) -> &'static str {
        "a boolean"
    }

    fn boolean(&mut self, value: bool) -> bool {
        *self = value;
        true
    }
}

macro_rules! numbers {
    ($($type:ident)+) => {$(
        impl Read for $type {
            fn expected(&self) -> &'static str {
                stringify!($type)
            }

            fn number(&mut self, value: u64) -> Taken {
                match Self::try_from(value) {
                    Ok(value) => {
                        *self = value;
                        Taken::Yes
                    }
                    Err(_) => Taken::NotThisValue,
                }
            }
        }

        impl Element for $type {}
    )+};
}

numbers! { u8 u16 u32 u64 }

impl<T: Read + Default> Read for Option<T> {
    fn expected(&self) -> &'static str {
        T::default().expected()
    }

    fn null(&mut self) -> bool {
        *self = None;
        T::default().may_be_null()
    }

    fn boolean(&mut self, value: bool) -> bool {
        self.get_or_insert_default().boolean(value)
    }

    fn number(&mut self, value: u64) -> Taken {
        self.get_or_insert_default().number(value)
    }

    fn text(&mut self, text: &str) -> Taken {
        self.get_or_insert_default().text(text)
    }

    fn form(&mut self) -> Form<'_> {
        self.get_or_insert_default().form()
    }
}

impl<T: Element> Read for Vec<T> {
    fn expected(&self) -> &'static str {
        T::LIST
    }

    fn may_be_null(&self) -> bool {
        T::LIST_MAY_BE_NULL
    }

    fn form(&mut self) -> Form<'_> {
        Form::List(self)
    }
}

impl<T: Element> List for Vec<T> {
    fn grow(&mut self) -> bool {
        let fits = self.len() < T::MOST;
        if fits {
            self.push(T::default());
        }
        fits
    }

    fn last(&mut self) -> Option<&mut dyn Read> {
        self.last_mut().map(|element| element as &mut dyn Read)
    }

    fn most(&self) -> usize {
        T::MOST
    }
}

impl<T: Read + Default> Read for BTreeMap<String, T> {
    fn expected(&self) -> &'static str {
        "an object"
    }

    fn form(&mut self) -> Form<'_> {
        Form::Map(self)
    }
}

impl<T: Read + Default> Map for BTreeMap<String, T> {
    fn value(&mut self, key: &str) -> Option<&mut dyn Read> {
        Some(self.entry(key.into()).or_default())
    }
}

/// Describes a struct by its fields in JSON, at most 32; `needs` tells those without a default.
macro_rules! object {
    ($type:ident $(<$parameter:ident>)? $(needs $($needed:literal),+)? { $($json:literal => $field:ident,)+ }) => {
        impl$(<$parameter: $crate::read::Read>)? $crate::read::Read for $type$(<$parameter>)? {
            fn expected(&self) -> &'static str {
                concat!("struct ", stringify!($type))
            }

            fn form(&mut self) -> $crate::read::Form<'_> {
                $crate::read::Form::Object(self)
            }
        }

        impl$(<$parameter: $crate::read::Read>)? $crate::read::Object for $type$(<$parameter>)? {
            fn fields(&self) -> &'static [&'static str] {
                &[$($json),+]
            }

            fn needed(&self) -> &'static [&'static str] {
                &[$($($needed),+)?]
            }

            fn field(&mut self, index: usize) -> Option<&mut dyn $crate::read::Read> {
                let mut at = 0..;
                $(if at.next() == Some(index) {
                    return Some(&mut self.$field);
                })+
                None
            }
        }
    };
}

/// Describes an enum by its names in JSON.
macro_rules! names {
    ($type:ident { $($json:literal => $variant:ident,)+ }) => {
        impl $crate::read::Read for $type {
            fn expected(&self) -> &'static str {
                concat!("one of ", stringify!($($json),+))
            }

            fn text(&mut self, text: &str) -> $crate::read::Taken {
                *self = match text {
                    $($json => Self::$variant,)+
                    _ => return $crate::read::Taken::NoneOf(&[$($json),+]),
                };
                $crate::read::Taken::Yes
            }
        }

        impl $crate::read::Element for $type {}
    };
}

const _: () = assert!(MAX_ENTRIES == 4_096, "as the texts say");

pub(crate) use {names, object};
