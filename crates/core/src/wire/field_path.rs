//! The path of a field in a configuration: `table.services["shop/payments"].ports[0].port`.

use alloc::{borrow::Cow, boxed::Box, vec::Vec};
use core::fmt;

use crate::{limits::MAX_KEY_CHARS, text::quoted};

/// The path of a field, as an error carries it. An empty path is the configuration itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<PathElement>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathElement {
    /// A field of an object.
    Field(Cow<'static, str>),
    /// A key that the configuration's author chose, cut after [`MAX_KEY_CHARS`] characters and one more.
    Key(Box<str>),
    /// The index of an element in a list.
    Index(usize),
}

impl FieldPath {
    /// The steps from the configuration down to the field.
    #[must_use]
    pub fn elements(&self) -> &[PathElement] {
        &self.0
    }
}

impl FieldPath {
    /// The path of a field below this one. `steps` lead from there to here.
    pub(super) fn joined(mut self, steps: Vec<PathElement>) -> Self {
        self.0.extend(steps.into_iter().rev());
        self
    }
}

impl PathElement {
    pub(super) fn key(key: &str) -> Self {
        // One character more than is shown, so that the cut shows.
        Self::Key(
            key.char_indices().nth(MAX_KEY_CHARS + 1).map_or(key, |(end, _)| key.get(..end).unwrap_or(key)).into(),
        )
    }

    pub(super) fn unknown_field(name: &str) -> Self {
        Self::Field(Cow::Owned(name.chars().take(MAX_KEY_CHARS + 1).collect()))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the configuration");
        }
        for (index, element) in self.0.iter().enumerate() {
            match element {
                PathElement::Field(field) if field.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                    f.write_str(if index > 0 { "." } else { "" })?;
                    f.write_str(field)?;
                }
                PathElement::Field(field) => write!(f, "[\"{}\"]", quoted(field, MAX_KEY_CHARS))?,
                PathElement::Key(key) => write!(f, "[\"{}\"]", quoted(key, MAX_KEY_CHARS))?,
                PathElement::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The path of a field that is being checked: a chain of borrowed steps, which becomes a [`FieldPath`] only for an error.
#[derive(Clone, Copy)]
pub(crate) struct FieldPathRef<'a> {
    parent: Option<&'a FieldPathRef<'a>>,
    step: FieldStep<'a>,
}

#[derive(Clone, Copy)]
enum FieldStep<'a> {
    Field(&'static str),
    Key(&'a str),
    Index(usize),
}

impl<'a> FieldPathRef<'a> {
    pub(crate) fn root(field: &'static str) -> Self {
        Self { parent: None, step: FieldStep::Field(field) }
    }

    pub(crate) fn field(&'a self, field: &'static str) -> Self {
        Self { parent: Some(self), step: FieldStep::Field(field) }
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: FieldStep::Key(key) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: FieldStep::Index(index) }
    }

    pub(super) fn to_path(self) -> FieldPath {
        let mut path = self.parent.copied().map(Self::to_path).unwrap_or_default();
        path.0.push(match self.step {
            FieldStep::Field(field) => PathElement::Field(Cow::Borrowed(field)),
            FieldStep::Key(key) => PathElement::key(key),
            FieldStep::Index(index) => PathElement::Index(index),
        });
        path
    }
}
