//! YAML values, from which the configuration of Envoy and Istio is built and printed as a whole.

mod printer;
mod serializer;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, rc::Rc};

use serde_json::{Number, Value};

pub(crate) use self::{
    printer::{YamlPrinter, print},
    serializer::serialized,
};

/// The fields of a map in their order.
pub(crate) type Fields = Vec<(Cow<'static, str>, Yaml)>;

/// The lines of a comment, without `#`.
pub(crate) type Comment = &'static str;

/// The name of a value that is printed once.
pub(crate) type Anchor = &'static str;

/// A value, and how it is laid out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Yaml {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'static, str>),
    List(Vec<Yaml>),
    Map(Fields),
    /// A list or map on one line.
    OneLine(Box<Yaml>),
    /// A value with a comment above it.
    Commented(Comment, Box<Yaml>),
    /// A value that is printed once, where it first occurs, and then referred to. An anchor has one value in a document.
    Shared(Anchor, Rc<Yaml>),
}

/// [`Fields`] without null values: an `Option` gives a field or none.
macro_rules! fields {
    ($($key:literal: $value:expr),* $(,)?) => {
        $crate::output::yaml::present([$((std::borrow::Cow::Borrowed($key), $crate::output::yaml::Yaml::from($value))),*])
    };
}

/// A map of [`fields!`].
macro_rules! map {
    ($($fields:tt)*) => { $crate::output::yaml::Yaml::Map($crate::output::yaml::fields!($($fields)*)) };
}

/// A map of [`fields!`] on one line.
macro_rules! one_line {
    ($($fields:tt)*) => { $crate::output::yaml::Yaml::OneLine(Box::new($crate::output::yaml::map!($($fields)*))) };
}

pub(crate) use {fields, map, one_line};

pub(crate) fn present<const N: usize>(fields: [(Cow<'static, str>, Yaml); N]) -> Fields {
    fields.into_iter().filter(|(_, value)| *value != Yaml::Null).collect()
}

impl Yaml {
    pub(crate) fn one_line(value: impl Into<Self>) -> Self {
        Self::OneLine(Box::new(value.into()))
    }

    pub(crate) fn commented(comment: Comment, value: impl Into<Self>) -> Self {
        Self::Commented(comment, Box::new(value.into()))
    }

    /// The value as JSON, without its layout.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => (&**text).into(),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Map(fields) => fields.iter().map(|(key, value)| (key.clone(), value.json())).collect(),
            Self::OneLine(value) | Self::Commented(_, value) => value.json(),
            Self::Shared(_, value) => value.json(),
        }
    }
}

impl From<&'static str> for Yaml {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Yaml {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Yaml {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Yaml {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl<T: Into<Self>> From<Vec<T>> for Yaml {
    fn from(items: Vec<T>) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>, const N: usize> From<[T; N]> for Yaml {
    fn from(items: [T; N]) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Yaml {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
