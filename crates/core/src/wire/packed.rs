//! A packed table: the JSON of `table.services`, deflated (RFC 1951) and in base64 (RFC 4648 section 4).
//!
//! Envoy keeps copies of the configuration for every listener in Istio, and an object of Kubernetes' holds 1.5 MiB: packed, a
//! table of names takes about a sixth of that.

use alloc::{string::String, vec, vec::Vec};

use base64::{Engine, engine::general_purpose::STANDARD};
use miniz_oxide::inflate::decompress_slice_iter_to_slice;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Config, Table,
    field_error::{FieldErrorType, FieldErrors},
    field_path::FieldPathRef,
    readable::object,
    reader::{self, LeftOut, Readable, read_json},
};
use crate::limits::MAX_CONFIGURATION_BYTES;

/// The Services of a table in their packed form.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Packed {
    /// The length of the JSON of `services` in bytes, at most 64 MiB.
    pub bytes: u32,
    /// That JSON: raw deflate, in base64 with padding.
    pub deflate: String,
}

object!(Packed { "bytes" => bytes, "deflate" => deflate, });

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        reader::read(deserializer)
    }
}

/// Replaces the packed form of a table's Services, if there is one, by the Services. `has_services` says whether there are others.
/// Unknown fields are refused, or added to `left_out`.
///
/// # Errors
/// If it is torn, has another length than it says, or holds no Services: then nothing is taken of it.
#[inline(never)]
pub(crate) fn unpack<S: Readable>(
    table: &mut Table<S>,
    has_services: bool,
    left_out: Option<&mut LeftOut>,
) -> Result<(), FieldErrors> {
    let Some(packed) = table.packed.take() else { return Ok(()) };
    let at = FieldPathRef::root("table");
    if has_services {
        return Err(FieldErrors::of(&at, "", FieldErrorType::ExactlyOneOf("services and packed")));
    }
    let text = packed.inflate(&at.field("packed"))?;
    Ok(read_json(&text, &mut table.services, Some(&at.field("services")), left_out)?)
}

impl Config {
    /// Replaces a packed table by its Services.
    ///
    /// # Errors
    /// If the packed form cannot be read.
    pub fn unpack(&mut self) -> Result<(), FieldErrors> {
        let has_services = !self.table.services.is_empty();
        unpack(&mut self.table, has_services, None)
    }
}

impl Packed {
    /// The JSON. The length is checked before any memory is taken for it.
    fn inflate(self, at: &FieldPathRef<'_>) -> Result<Vec<u8>, FieldErrors> {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        if bytes > MAX_CONFIGURATION_BYTES {
            return Err(FieldErrors::of(&at.field("bytes"), bytes, FieldErrorType::TooLong(MAX_CONFIGURATION_BYTES)));
        }
        let torn = || FieldErrors::of(&at.field("deflate"), "", FieldErrorType::InvalidPacking);
        let deflated = STANDARD.decode(self.deflate).map_err(|_| torn())?;
        let mut text = vec![0; bytes];
        match decompress_slice_iter_to_slice(&mut text, core::iter::once(&*deflated), false, true) {
            Ok(length) if length == bytes => Ok(text),
            _ => Err(torn()),
        }
    }
}
