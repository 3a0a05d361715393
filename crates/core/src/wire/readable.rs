//! How scalars, lists and maps are read, and two macros that describe a struct or an enum to the reader.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, vec::Vec};

use super::reader::{ListElement, Readable, ReadableList, ReadableMap, Shape, Taken};
use crate::{
    collections::{Entries, StringList},
    limits::MAX_ENTRIES,
};

impl Readable for String {
    fn expected(&self) -> &'static str {
        "a string"
    }

    fn text(&mut self, text: &str) -> Taken {
        text.clone_into(self);
        Taken::Yes
    }
}

impl ListElement for String {}

impl Readable for bool {
    fn expected(&self) -> &'static str {
        "true or false"
    }

    fn boolean(&mut self, value: bool) -> bool {
        *self = value;
        true
    }
}

macro_rules! numbers {
    ($($type:ident $expected:literal)+) => {$(
        impl Readable for $type {
            fn expected(&self) -> &'static str {
                $expected
            }

            fn number(&mut self, value: u64) -> Taken {
                match Self::try_from(value) {
                    Ok(value) => {
                        *self = value;
                        Taken::Yes
                    }
                    Err(_) => Taken::No,
                }
            }
        }

        impl ListElement for $type {}
    )+};
}

numbers! {
    u8 "a whole number up to 255"
    u16 "a whole number up to 65535"
    u32 "a whole number up to 4294967295"
    u64 "a whole number"
}

impl<T: Readable + Default> Readable for Option<T> {
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

    fn shape(&mut self) -> Shape<'_> {
        self.get_or_insert_default().shape()
    }
}

impl<T: ListElement> Readable for Vec<T> {
    fn expected(&self) -> &'static str {
        T::LIST
    }

    fn may_be_null(&self) -> bool {
        T::LIST_MAY_BE_NULL
    }

    fn shape(&mut self) -> Shape<'_> {
        Shape::List(self)
    }
}

impl<T: ListElement> ReadableList for Vec<T> {
    fn grow(&mut self) -> bool {
        let fits = self.len() < T::MAX_LEN;
        if fits {
            self.push(T::default());
        }
        fits
    }

    fn last(&mut self) -> Option<&mut dyn Readable> {
        self.last_mut().map(|element| element as &mut dyn Readable)
    }

    fn max_len(&self) -> usize {
        T::MAX_LEN
    }
}

impl Readable for StringList {
    fn expected(&self) -> &'static str {
        "a list of texts without spaces, or one text with spaces between"
    }

    fn text(&mut self, text: &str) -> Taken {
        self.set(text);
        Taken::Yes
    }

    fn text_of_list(&mut self, text: &str) -> Taken {
        if text.is_empty() || text.contains(|c: char| c.is_ascii_whitespace()) {
            return Taken::No;
        }
        self.push(text);
        Taken::Yes
    }

    fn shape(&mut self) -> Shape<'_> {
        Shape::Texts(self)
    }
}

impl<T: Readable + Default> Readable for Entries<T> {
    fn expected(&self) -> &'static str {
        "a mapping of at most 4096 entries"
    }

    fn shape(&mut self) -> Shape<'_> {
        Shape::Map(self)
    }
}

impl<T: Readable + Default> ReadableMap for Entries<T> {
    fn value(&mut self, key: &str) -> Option<&mut dyn Readable> {
        if self.len() >= MAX_ENTRIES {
            return None;
        }
        self.push(key, T::default()).map(|value| value as &mut dyn Readable)
    }
}

impl<T: Readable + Default> Readable for BTreeMap<String, T> {
    fn expected(&self) -> &'static str {
        "a mapping"
    }

    fn shape(&mut self) -> Shape<'_> {
        Shape::Map(self)
    }
}

impl<T: Readable + Default> ReadableMap for BTreeMap<String, T> {
    fn value(&mut self, key: &str) -> Option<&mut dyn Readable> {
        Some(self.entry(key.into()).or_default())
    }
}

/// Describes a struct by its fields in JSON, at most 32; `requires` names those without a default.
macro_rules! object {
    ($type:ident $(<$parameter:ident>)? $(requires $($required:literal),+)? { $($json:literal => $field:ident,)+ }) => {
        impl$(<$parameter: $crate::wire::reader::Readable>)? $crate::wire::reader::Readable for $type$(<$parameter>)? {
            fn expected(&self) -> &'static str {
                "a mapping"
            }

            fn shape(&mut self) -> $crate::wire::reader::Shape<'_> {
                $crate::wire::reader::Shape::Object(self)
            }
        }

        impl$(<$parameter: $crate::wire::reader::Readable>)? $crate::wire::reader::ReadableObject for $type$(<$parameter>)? {
            fn fields(&self) -> &'static [&'static str] {
                &[$($json),+]
            }

            fn required(&self) -> &'static [&'static str] {
                &[$($($required),+)?]
            }

            fn field(&mut self, index: usize) -> Option<&mut dyn $crate::wire::reader::Readable> {
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
        impl $crate::wire::reader::Readable for $type {
            fn expected(&self) -> &'static str {
                concat!("one of ", stringify!($($json),+))
            }

            fn text(&mut self, text: &str) -> $crate::wire::reader::Taken {
                *self = match text {
                    $($json => Self::$variant,)+
                    _ => return $crate::wire::reader::Taken::NoneOf(&[$($json),+]),
                };
                $crate::wire::reader::Taken::Yes
            }
        }

        impl $crate::wire::reader::ListElement for $type {}
    };
}

const _: () = assert!(MAX_ENTRIES == 4_096, "the texts of errors say 4096");

pub(crate) use {names, object};
