//! The path of a field in a configuration: `table.services["shop/payments"].ports[0].port`.

use alloc::{borrow::ToOwned, format, string::String};

use crate::{limits::MAX_KEY_CHARS, text::quoted};

/// The path of a field, as a chain of borrowed elements. It is rendered only when there is an error to report.
#[derive(Clone, Copy)]
pub(crate) struct FieldPath<'a> {
    parent: Option<&'a FieldPath<'a>>,
    element: PathElement<'a>,
}

#[derive(Clone, Copy)]
enum PathElement<'a> {
    Field(&'a str),
    Key(&'a str),
    Index(usize),
}

impl<'a> FieldPath<'a> {
    pub(crate) fn root(field: &'a str) -> Self {
        Self { parent: None, element: PathElement::Field(field) }
    }

    pub(crate) fn field(&'a self, field: &'a str) -> Self {
        Self { parent: Some(self), element: PathElement::Field(field) }
    }

    pub(crate) fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), element: PathElement::Key(key) }
    }

    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), element: PathElement::Index(index) }
    }

    pub(crate) fn render(&self) -> String {
        let before = self.parent.map(FieldPath::render);
        match (self.element, before) {
            (PathElement::Field(field), None) => field.to_owned(),
            (PathElement::Field(field), Some(before)) => before + "." + field,
            (PathElement::Key(key), before) => {
                format!("{}[\"{}\"]", before.unwrap_or_default(), quoted(&key, MAX_KEY_CHARS))
            }
            (PathElement::Index(index), before) => format!("{}[{index}]", before.unwrap_or_default()),
        }
    }
}
