//! A packed table: the JSON of `table.services`, deflated (RFC 1951) and in base64 (RFC 4648 section 4).
//!
//! Envoy keeps copies of the configuration for every listener in Istio, and an object of Kubernetes' holds 1.5 MiB: packed, a
//! table of names takes about a sixth of that.

use alloc::{string::String, vec, vec::Vec};

use base64::{Engine, engine::general_purpose::STANDARD};
use miniz_oxide::{deflate::compress_to_vec, inflate::decompress_slice_iter_to_slice};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    field_error::{FieldErrorType, FieldErrors},
    field_path::FieldPathRef,
    readable::object,
    reader,
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

impl Packed {
    /// The packed form of this JSON of `services`. The same text gives the same bytes: the encoder's version is pinned.
    #[must_use]
    pub fn new(text: &str) -> Self {
        /// The best compression. It takes a second for 10 MB, and is done once for a table that a fleet unpacks.
        const LEVEL: u8 = 10;
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        Self { bytes, deflate: STANDARD.encode(compress_to_vec(text.as_bytes(), LEVEL)) }
    }

    /// The JSON. The length is checked before any memory is taken for it.
    pub(super) fn inflate(self, at: &FieldPathRef<'_>) -> Result<Vec<u8>, FieldErrors> {
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
