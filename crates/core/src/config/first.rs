//! The Services that are left out of the first configuration of a process, where it asks for that.
//!
//! Later there is a last known good configuration, and one that cannot be taken as a whole is refused.

use alloc::{boxed::Box, vec::Vec};

use crate::wire::{FieldErrors, PathElement};

/// The Services that were left out of a first configuration.
#[derive(Debug, Default)]
pub struct ServicesLeftOut {
    /// Their number.
    pub count: usize,
    /// What is wrong with them.
    pub problems: FieldErrors,
}

/// Services that cannot be taken, as one attempt after another finds them.
#[derive(Default)]
pub(super) struct BadServices {
    pub(super) keys: Vec<Box<str>>,
    problems: FieldErrors,
}

impl BadServices {
    /// Adds the Services that `found` names. Returns whether it names another one, and nothing but Services.
    pub(super) fn add(&mut self, found: &FieldErrors) -> bool {
        let before = self.keys.len();
        for error in found.listed() {
            match error.path.elements() {
                [PathElement::Field(table), PathElement::Field(services), PathElement::Key(key), ..]
                    if *table == "table" && *services == "services" =>
                {
                    if !self.keys.contains(key) {
                        self.keys.push(key.clone());
                    }
                }
                _ => return false,
            }
            // Errors that are only counted are found again.
            self.problems.push(error.clone());
        }
        self.keys.len() > before
    }

    pub(super) fn into_left_out(self) -> ServicesLeftOut {
        ServicesLeftOut { count: self.keys.len(), problems: self.problems }
    }
}
