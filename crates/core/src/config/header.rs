//! The headers that a configuration names.

use alloc::boxed::Box;

use crate::{
    steer::check_header,
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef},
};

/// Checks the name of a header that byname reads or writes, and returns it.
pub(super) fn compile_header<S>(
    name: &str,
    at: &FieldPathRef<'_>,
    wire: &wire::Config<S>,
    errors: &mut FieldErrors,
) -> Box<str> {
    check_header(name, at, errors);
    if name == wire.steering.control_header {
        errors.add(at, name, FieldErrorType::SameHeader);
    }
    name.into()
}
