//! The Services of a table, compiled while they are read: no two are held in their wire form at once.

use alloc::{borrow::ToOwned, boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use crate::{
    collections::ChunkedVec,
    limits::MAX_SERVICES,
    table::ServiceSpec,
    wire::{self, FieldErrorType, FieldErrors, FieldPathRef, Readable, ReadableMap, Shape, read_json},
};

/// Takes the place of `table.services` while a configuration is read.
#[derive(Default)]
pub(super) struct ServiceReader {
    /// The Service that is being read, and its key.
    current: wire::Service,
    key: String,
    /// The Services that are not read.
    left_out: Vec<Box<str>>,
    pub(super) specs: ChunkedVec<ServiceSpec>,
    pub(super) errors: FieldErrors,
}

impl ServiceReader {
    /// A reader that leaves out these Services.
    pub(super) fn without(left_out: &[Box<str>]) -> Self {
        Self { left_out: left_out.to_vec(), ..Self::default() }
    }

    /// Reads one Service from the text of its key and that of its value; `None` if there is an error in it.
    #[inline(never)]
    pub(super) fn read_one(&mut self, key: &[u8], value: &[u8]) -> Option<ServiceSpec> {
        self.current = wire::Service::default();
        read_json(key, &mut self.key, None, None).ok()?;
        read_json(value, &mut self.current, None, None).ok()?;
        ServiceSpec::compile(&self.key, &self.current).ok()
    }

    /// Whether no Service was read.
    pub(super) fn is_empty(&self) -> bool {
        self.key.is_empty()
    }
}

impl From<BTreeMap<String, wire::Service>> for ServiceReader {
    fn from(services: BTreeMap<String, wire::Service>) -> Self {
        let mut reader = Self::default();
        for (key, service) in services {
            (reader.key, reader.current) = (key, service);
            reader.value_was_read();
        }
        reader
    }
}

impl Readable for ServiceReader {
    fn expected(&self) -> &'static str {
        "a mapping of Services by \"namespace/name\""
    }

    fn shape(&mut self) -> Shape<'_> {
        Shape::Map(self)
    }
}

impl ReadableMap for ServiceReader {
    fn value(&mut self, key: &str) -> Option<&mut dyn Readable> {
        key.clone_into(&mut self.key);
        self.current = wire::Service::default();
        Some(&mut self.current)
    }

    fn skips(&self, key: &str) -> bool {
        self.left_out.iter().any(|other| **other == *key)
    }

    fn value_was_read(&mut self) {
        match ServiceSpec::compile(&self.key, &self.current) {
            Ok(_) if self.specs.len() >= MAX_SERVICES => {
                let at = FieldPathRef::root("table");
                self.errors.add(&at.field("services"), self.specs.len() + 1, FieldErrorType::TooMany(MAX_SERVICES));
            }
            Ok(spec) => self.specs.push(spec),
            Err(errors) => self.errors.append(errors),
        }
    }
}
