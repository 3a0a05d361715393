//! The path of a field in an object.

use std::fmt::{self, Write as _};

use byname_core::wire::PathElement;

/// The path of a field, such as `spec.ports[0].port`. The empty path is the object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Field {
    text: String,
    /// The end of each step in `text`, which does not show it: a key may hold dots and brackets.
    ends: Vec<StepEnd>,
}

/// Where a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StepEnd {
    at: usize,
    /// The index, if the step is an element of a list.
    index: Option<usize>,
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'f> {
    /// The field of this name.
    Name(&'f str),
    /// The element at this index.
    Index(usize),
}

impl Field {
    /// The field `name` of this object.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.push_field(name);
        self
    }

    /// The element `index` of this list.
    #[must_use]
    pub fn item(mut self, index: usize) -> Self {
        self.push_item(index);
        self
    }

    /// The field that the core's path `steps` leads to from here. The core cuts keys that are longer than a Service's can be.
    #[must_use]
    pub fn below(self, steps: &[PathElement]) -> Self {
        steps.iter().fold(self, |field, step| match step {
            PathElement::Field(name) => field.field(name),
            PathElement::Key(key) => field.field(key),
            PathElement::Index(index) => field.item(*index),
        })
    }

    /// The text of the path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// This path, then the paths around it: the innermost first, the object itself last.
    pub fn outwards(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().rev().map(|end| end.at).chain([0]).filter_map(|end| self.text.get(..end))
    }

    /// The steps, from the object down to the field.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        let starts = [0].into_iter().chain(self.ends.iter().map(|end| end.at));
        starts.zip(&self.ends).map(|(start, end)| match end.index {
            Some(index) => Step::Index(index),
            // A dot stands before every name but the first.
            None => Step::Name(self.text.get(start + usize::from(start > 0)..end.at).unwrap_or_default()),
        })
    }

    pub(super) fn push_field(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
        self.ends.push(StepEnd { at: self.text.len(), index: None });
    }

    pub(super) fn push_item(&mut self, index: usize) {
        // Writing to a `String` cannot fail.
        let _ = write!(self.text, "[{index}]");
        self.ends.push(StepEnd { at: self.text.len(), index: Some(index) });
    }

    /// Removes the last step.
    pub(super) fn pop(&mut self) {
        self.ends.pop();
        self.text.truncate(self.ends.last().map_or(0, |end| end.at));
    }
}

impl<const N: usize> From<[&str; N]> for Field {
    /// The field at these names from the object down: `["spec", "selector"]`.
    fn from(names: [&str; N]) -> Self {
        names.into_iter().fold(Self::default(), Self::field)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_dots_and_brackets_are_one_step() {
        let field = Field::from(["metadata", "labels", "a.b/c[0]"]).item(7).field("x");
        let outwards = [
            "metadata.labels.a.b/c[0][7].x",
            "metadata.labels.a.b/c[0][7]",
            "metadata.labels.a.b/c[0]",
            "metadata.labels",
            "metadata",
            "",
        ];
        assert_eq!(field.outwards().collect::<Vec<_>>(), outwards);
        assert_eq!(Field::default().outwards().collect::<Vec<_>>(), [""]);
        let steps =
            [Step::Name("metadata"), Step::Name("labels"), Step::Name("a.b/c[0]"), Step::Index(7), Step::Name("x")];
        assert_eq!(field.steps().collect::<Vec<_>>(), steps);
        let looks_like_steps = Field::from(["a", "[0]", ".b"]);
        assert_eq!(
            looks_like_steps.steps().collect::<Vec<_>>(),
            [Step::Name("a"), Step::Name("[0]"), Step::Name(".b")]
        );
    }

    #[test]
    fn pop_undoes_the_last_step() {
        let mut field = Field::from(["spec"]);
        for name in ["", "a.b"] {
            field.push_item(0);
            field.push_field(name);
            field.pop();
            field.pop();
            assert_eq!(field, Field::from(["spec"]));
        }
        field.pop();
        assert_eq!(field, Field::default());
    }
}
