//! Programs and modules of different ages: what a module does with a configuration that is newer than itself.
//!
//! A configuration that a program wrote says its `minor`. A module that is older leaves out the fields that it does not know,
//! unless the configuration `requires` one of them: then it refuses. Without `minor` a person wrote it, and an unknown field is
//! a typo.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::{
    Config, FirstConfiguration, Mode, Table,
    field_error::{FieldErrorType, FieldErrors},
    field_path::FieldPathRef,
    readable::object,
    reader::{LeftOut, Readable, read_json},
    table::unpack,
};

/// The minor version of the wire form. It rises with each field that is added.
pub const MINOR: u32 = 1;

/// [`VERSION`](super::VERSION) and [`MINOR`], as a module tells a server which configurations it reads.
pub const SCHEMA: &str = "1.1";

/// What a configuration can require: the fields that no module may leave out.
pub const FEATURES: [&str; 4] = ["externalNames.mode", "table.packed", "server", "observe"];

/// The fields that decide what becomes of the others.
#[derive(Default)]
pub(crate) struct Header {
    minor: Option<u32>,
    pub(crate) first_configuration: FirstConfiguration,
}

object!(Header { "minor" => minor, "firstConfiguration" => first_configuration, });

impl<S> Config<S> {
    /// Whether this was written by a program that is newer than this one.
    pub(crate) fn is_newer(&self) -> bool {
        is_newer(self.minor)
    }

    /// Whether any request may be observed. A module that does not know the mode would steer it.
    #[must_use]
    pub fn may_observe(&self) -> bool {
        self.mode == Mode::Observe || !self.mode_exceptions.is_empty()
    }

    /// Adds an error for each required feature that is unknown here.
    pub(crate) fn check_requires(&self, errors: &mut FieldErrors) {
        let requires = FieldPathRef::root("requires");
        for (index, name) in self.requires.iter().enumerate().filter(|(_, name)| !FEATURES.contains(&name.as_str())) {
            errors.add(&requires.index(index), name, FieldErrorType::UnknownFeature);
        }
    }
}

impl Config {
    /// Reads JSON as the filter does, and unpacks a packed table. Fields of a newer program are left out.
    ///
    /// # Errors
    /// The first error of its form. Its meaning is not checked.
    pub fn read(json: &[u8]) -> Result<Self, FieldErrors> {
        let (mut config, mut left_out) = read_configuration(json, &BTreeMap::new)?;
        let (is_newer, has_services) = (config.is_newer(), !config.table.services.is_empty());
        unpack(&mut config.table, has_services, is_newer.then_some(&mut left_out))?;
        Ok(config)
    }

    /// The features that a module must know to do what this configuration says.
    #[must_use]
    pub fn features(&self) -> Vec<String> {
        let is_needed = [
            self.external_names.mode.is_some(),
            self.table.packed.is_some(),
            self.server.is_some(),
            self.may_observe(),
        ];
        FEATURES
            .iter()
            .zip(is_needed)
            .filter(|(_, is_needed)| *is_needed)
            .map(|(name, _)| String::from(*name))
            .collect()
    }
}

/// Reads the header of a configuration.
///
/// # Errors
/// If the text is no JSON, or these fields are wrong.
pub(crate) fn read_header(text: &[u8]) -> Result<Header, FieldErrors> {
    let mut header = Header::default();
    read_json(text, &mut header, None, Some(&mut LeftOut::default()))?;
    Ok(header)
}

/// Reads a configuration into `services` and default values, and says which fields of a newer program were left out.
///
/// # Errors
/// The first error of its form.
#[inline(never)]
pub(crate) fn read_configuration<S: Readable + Default>(
    text: &[u8],
    services: &dyn Fn() -> S,
) -> Result<(Config<S>, LeftOut), FieldErrors> {
    let mut left_out = LeftOut::default();
    let new = || Config { table: Table { services: services(), ..Table::default() }, ..Config::default() };
    let mut config = new();
    let Err(refused) = read_json(text, &mut config, None, None) else { return Ok((config, left_out)) };
    if !read_header(text).is_ok_and(|header| is_newer(header.minor)) {
        return Err(refused.into());
    }
    config = new();
    read_json(text, &mut config, None, Some(&mut left_out))?;
    Ok((config, left_out))
}

fn is_newer(minor: Option<u32>) -> bool {
    minor.is_some_and(|minor| minor > MINOR)
}
