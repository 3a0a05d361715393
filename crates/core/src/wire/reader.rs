//! The reader of the wire form: each type describes its fields, and a single visitor does the reading.
//!
//! serde's derive would write a loop, an error path and a destructor for each of thirty structs: a fifth of the module. A
//! described field takes a few bytes. A value is read in place, over its default. Refused are an array in the place of an
//! object (derived code would take it field by field), an unknown field, a duplicate field and a missing required field.

use alloc::{
    borrow::{Cow, ToOwned},
    string::String,
    vec::Vec,
};
use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{
    field_error::FieldError,
    field_path::{FieldPathRef, PathElement},
};
use crate::{
    limits::{MAX_ENTRIES, MAX_KEY_CHARS},
    text::quoted,
};

/// A value that can be read from JSON. Each method takes one form of JSON, or declines it.
pub(crate) trait Readable {
    /// What an error says was expected.
    fn expected(&self) -> &'static str;

    fn null(&mut self) -> bool {
        false
    }

    /// Whether null means that an optional value is absent.
    fn may_be_null(&self) -> bool {
        true
    }

    fn boolean(&mut self, _: bool) -> bool {
        false
    }

    fn number(&mut self, _: u64) -> Taken {
        Taken::No
    }

    fn text(&mut self, _: &str) -> Taken {
        Taken::No
    }

    /// Takes one text of a list, for a value that is a list of texts.
    fn text_of_list(&mut self, _: &str) -> Taken {
        Taken::No
    }

    fn shape(&mut self) -> Shape<'_> {
        Shape::Scalar
    }
}

/// Whether a value was taken, and why not.
pub(crate) enum Taken {
    Yes,
    No,
    /// The text is none of these.
    NoneOf(&'static [&'static str]),
}

/// How a value is composed.
pub(crate) enum Shape<'r> {
    Scalar,
    Object(&'r mut dyn ReadableObject),
    List(&'r mut dyn ReadableList),
    /// A list of texts, which are read one by one by [`Readable::text_of_list`].
    Texts(&'r mut dyn Readable),
    Map(&'r mut dyn ReadableMap),
}

/// A struct.
pub(crate) trait ReadableObject {
    /// Their names in JSON; at most 32.
    fn fields(&self) -> &'static [&'static str];
    /// The fields that have no default.
    fn required(&self) -> &'static [&'static str];
    /// The field at `index` of [`ReadableObject::fields`].
    fn field(&mut self, index: usize) -> Option<&mut dyn Readable>;
}

/// A list of values of one type.
pub(crate) trait ReadableList {
    /// Appends a default element; returns `false` where the list is full.
    fn grow(&mut self) -> bool;
    /// The last element.
    fn last(&mut self) -> Option<&mut dyn Readable>;
    /// The greatest number of elements.
    fn max_len(&self) -> usize;
}

/// An object whose keys its author chooses.
pub(crate) trait ReadableMap {
    /// The value to read for `key`; `None` where the object is full.
    fn value(&mut self, key: &str) -> Option<&mut dyn Readable>;
    /// Whether the value of `key` is not to be read.
    fn skips(&self, _key: &str) -> bool {
        false
    }
    /// Called once that value was read.
    fn value_was_read(&mut self) {}
}

/// An element of a list.
pub(crate) trait ListElement: Readable + Default {
    /// The greatest number of elements in a list.
    const MAX_LEN: usize = MAX_ENTRIES;
    /// What an error calls the list.
    const LIST: &'static str = "a list of at most 4096";
    /// Whether null means that an optional list is absent.
    const LIST_MAY_BE_NULL: bool = true;
}

/// Reads into `to`.
struct ValueSeed<'r> {
    to: &'r mut dyn Readable,
    /// Whether `to` is a list of texts, of which one is read.
    in_list: bool,
    /// What the reading notes on its way.
    state: &'r mut ReadState,
}

/// What a reading notes: the path of an error, to which each value on the way out adds its own step; and unknown fields.
#[derive(Default)]
struct ReadState {
    path: Vec<PathElement>,
    /// The unknown fields that were left out; `None` where they are refused.
    left_out: Option<LeftOut>,
}

/// Unknown fields that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Their number.
    pub count: usize,
    /// The name of the first, escaped and cut.
    pub first: String,
}

impl ReadState {
    #[inline(never)]
    fn push(&mut self, element: PathElement) {
        self.path.push(element);
    }

    /// Whether the unknown field `name` is left out.
    #[inline(never)]
    fn leaves_out(&mut self, name: &str) -> bool {
        let Some(left_out) = &mut self.left_out else { return false };
        if left_out.count == 0 {
            left_out.first = quoted(&name, MAX_KEY_CHARS);
        }
        left_out.count += 1;
        true
    }
}

/// Reads a whole text over the value `to`. Unknown fields are refused, or added to `left_out`.
///
/// # Errors
/// The first error, in serde's words, with the path of its field below `at`.
#[inline(never)]
pub(crate) fn read_json(
    text: &[u8],
    to: &mut dyn Readable,
    at: Option<&FieldPathRef<'_>>,
    left_out: Option<&mut LeftOut>,
) -> Result<(), FieldError> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    let mut state =
        ReadState { left_out: left_out.as_ref().map(|left_out| LeftOut::clone(left_out)), ..ReadState::default() };
    let read = ValueSeed { to, in_list: false, state: &mut state }.deserialize(&mut parser).and_then(|()| parser.end());
    if let (Some(left_out), Some(found)) = (left_out, state.left_out) {
        *left_out = found;
    }
    read.map_err(|error| {
        let path = at.map(|at| at.to_path()).unwrap_or_default();
        FieldError::malformed(path.joined(state.path), &error)
    })
}

/// Reads a value for serde, whose errors have no path.
pub(crate) fn read<'de, T: Readable + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let mut value = T::default();
    ValueSeed { to: &mut value, in_list: false, state: &mut ReadState::default() }.deserialize(deserializer)?;
    Ok(value)
}

/// The value that an error names: the part of serde's `Unexpected` that JSON needs. Formatting serde's own type would bring the
/// digits of fractions and Unicode's tables into the module.
#[derive(Clone, Copy)]
enum UnexpectedValue<'t> {
    Null,
    Boolean(bool),
    Unsigned(u64),
    Signed(i64),
    Fraction,
    Text(&'t str),
    List,
    Object,
}

impl fmt::Display for UnexpectedValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(value) => write!(f, "the boolean {value}"),
            Self::Unsigned(value) => write!(f, "the number {value}"),
            Self::Signed(value) => write!(f, "the number {value}"),
            Self::Fraction => f.write_str("a fraction"),
            Self::Text(text) => write!(f, "the string \"{text}\""),
            Self::List => f.write_str("a list"),
            Self::Object => f.write_str("a mapping"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    fn check<E: Error>(self, taken: Taken, found: UnexpectedValue<'_>) -> Result<(), E> {
        match (taken, found) {
            (Taken::Yes, _) => Ok(()),
            (Taken::NoneOf(names), UnexpectedValue::Text(text)) => Err(E::unknown_variant(text, names)),
            _ => Err(E::custom(format_args!("it is {found}, not {}", self.to.expected()))),
        }
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        let taken = if self.to.null() { Taken::Yes } else { Taken::No };
        self.check(taken, UnexpectedValue::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let taken = if self.to.boolean(value) { Taken::Yes } else { Taken::No };
        self.check(taken, UnexpectedValue::Boolean(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let taken = self.to.number(value);
        self.check(taken, UnexpectedValue::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        // No field is negative.
        self.check(Taken::No, UnexpectedValue::Signed(value))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.check(Taken::No, UnexpectedValue::Fraction)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let taken = if self.in_list { self.to.text_of_list(text) } else { self.to.text(text) };
        self.check(taken, UnexpectedValue::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { to, in_list, state } = self;
        match to.shape() {
            Shape::List(to) => {
                let mut element = NextElement { to, state, index: 0 };
                while let Some(fits) = element.read(&mut list)? {
                    if !fits {
                        return Err(too_many(element.to.max_len()));
                    }
                    element.index += 1;
                }
                Ok(())
            }
            Shape::Texts(to) if !in_list => {
                let mut index = 0;
                let mut next = || list.next_element_seed(ValueSeed { to, in_list: true, state });
                loop {
                    match next() {
                        Ok(Some(())) => index += 1,
                        Ok(None) => return Ok(()),
                        Err(error) => {
                            state.push(PathElement::Index(index));
                            return Err(error);
                        }
                    }
                }
            }
            _ => ValueSeed { to, in_list, state }.check(Taken::No, UnexpectedValue::List),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { to, in_list, state } = self;
        match to.shape() {
            Shape::Object(to) => read_fields(to, map, state),
            Shape::Map(to) => {
                let mut key = String::new();
                while map.next_key_seed(KeySeed(&mut key))?.is_some() {
                    if to.skips(&key) {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    let Some(value) = to.value(&key) else { return Err(too_many(MAX_ENTRIES)) };
                    if let Err(error) = map.next_value_seed(ValueSeed { to: value, in_list: false, state }) {
                        state.push(PathElement::key(&key));
                        return Err(error);
                    }
                    to.value_was_read();
                }
                Ok(())
            }
            _ => ValueSeed { to, in_list, state }.check(Taken::No, UnexpectedValue::Object),
        }
    }
}

fn read_fields<'de, A: MapAccess<'de>>(
    to: &mut dyn ReadableObject,
    mut map: A,
    state: &mut ReadState,
) -> Result<(), A::Error> {
    let (fields, required) = (to.fields(), to.required());
    let mut seen = 0_u32;
    let bit = |index: usize| u32::try_from(index).map_or(0, |index| 1_u32.wrapping_shl(index));
    while let Some(index) = map.next_key_seed(FieldNameSeed { fields, state })? {
        let Some(index) = index else {
            map.next_value::<IgnoredAny>()?;
            continue;
        };
        let name = fields.get(index).copied().unwrap_or_default();
        let read = if seen & bit(index) != 0 {
            Err(A::Error::duplicate_field(name))
        } else {
            seen |= bit(index);
            match to.field(index) {
                Some(field) => map.next_value_seed(ValueSeed { to: field, in_list: false, state }),
                None => Ok(()),
            }
        };
        if let Err(error) = read {
            state.push(PathElement::Field(Cow::Borrowed(name)));
            return Err(error);
        }
    }
    for required in required {
        let index = fields.iter().position(|field| field == required);
        if index.is_none_or(|index| seen & bit(index) == 0) {
            return Err(A::Error::missing_field(required));
        }
    }
    Ok(())
}

/// The element of a list that is read next.
struct NextElement<'r> {
    to: &'r mut dyn ReadableList,
    state: &'r mut ReadState,
    index: usize,
}

impl NextElement<'_> {
    /// Reads the element, if there is one, and returns whether the list had room.
    fn read<'de, A: SeqAccess<'de>>(&mut self, list: &mut A) -> Result<Option<bool>, A::Error> {
        let index = self.index;
        let read = list.next_element_seed(NextElementSeed { to: self.to, state: self.state });
        read.inspect_err(|_| self.state.push(PathElement::Index(index)))
    }
}

/// Reads the next element of a list, and returns whether the list had room. An element without room is read over the last one:
/// it ends the reading anyway.
struct NextElementSeed<'r> {
    to: &'r mut dyn ReadableList,
    state: &'r mut ReadState,
}

impl<'de> DeserializeSeed<'de> for NextElementSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let fits = self.to.grow();
        let Some(to) = self.to.last() else { return Ok(false) };
        ValueSeed { to, in_list: false, state: self.state }.deserialize(deserializer)?;
        Ok(fits)
    }
}

/// Reads a key into a buffer that serves every key of the object.
struct KeySeed<'k>(&'k mut String);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        text.clone_into(self.0);
        Ok(())
    }
}

/// Reads the name of a field and returns its index; `None` for an unknown field that is left out.
struct FieldNameSeed<'r> {
    fields: &'static [&'static str],
    state: &'r mut ReadState,
}

impl<'de> DeserializeSeed<'de> for FieldNameSeed<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldNameSeed<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<usize>, E> {
        let index = self.fields.iter().position(|field| *field == text);
        if index.is_none() && !self.state.leaves_out(text) {
            self.state.push(PathElement::unknown_field(text));
            return Err(E::unknown_field(text, self.fields));
        }
        Ok(index)
    }
}

/// The error about a list or an object with more entries than `limit`. Its path is that of the list or object.
fn too_many<E: Error>(limit: usize) -> E {
    E::custom(format_args!("it has more than {limit} entries"))
}
