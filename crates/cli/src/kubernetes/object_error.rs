//! An error in an object that was read without trouble: its field, what is wrong and what to do.

use super::ObjectName;
use crate::input::{Field, InputError, SourceLocation};

/// An error in a field of an object.
#[derive(Clone, Debug)]
pub struct ObjectError {
    /// The object.
    pub object: ObjectName,
    /// The object's place in the input.
    pub place: SourceLocation,
    /// The field's line.
    pub line: u32,
    /// The field.
    pub field: Field,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

impl From<ObjectError> for InputError {
    fn from(error: ObjectError) -> Self {
        let ObjectError { object, place, line, field, reason, fix } = error;
        Self::at(&place, reason, fix).at_line(line).with_object(object.to_string()).with_field(field)
    }
}
