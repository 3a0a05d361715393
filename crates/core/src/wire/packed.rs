//! A packed table: the JSON of `table.services`, deflated (RFC 1951) and in base64 (RFC 4648 section 4).
//!
//! Envoy keeps copies of the configuration for every listener in Istio, and an object of Kubernetes' holds 1.5 MiB: packed, a
//! table of names takes about a sixth of that.

use alloc::{boxed::Box, string::String, vec, vec::Vec};

use miniz_oxide::{
    deflate::compress_to_vec,
    inflate::{
        TINFLStatus,
        core::{
            DecompressorOxide, decompress,
            inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
        },
    },
};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    field_error::{FieldErrorType, FieldErrors},
    field_path::FieldPathRef,
    readable::object,
    reader,
};
use crate::{
    limits::MAX_CONFIGURATION_BYTES,
    text::{decode_base64, encode_base64},
};

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
        Self { bytes, deflate: encode_base64(&compress_to_vec(text.as_bytes(), LEVEL)) }
    }

    /// Begins to unpack it. The length is checked before any memory is taken for it.
    pub(crate) fn unpack(self, at: &FieldPathRef<'_>) -> Result<Unpacking, FieldErrors> {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        if bytes > MAX_CONFIGURATION_BYTES {
            return Err(FieldErrors::of(&at.field("bytes"), bytes, FieldErrorType::TooLong(MAX_CONFIGURATION_BYTES)));
        }
        let deflated = decode_base64(self.deflate.as_bytes()).ok_or_else(|| torn(at))?;
        drop(self.deflate);
        Ok(Unpacking { deflated, read: 0, text: vec![0; bytes], written: 0, inflater: Box::default() })
    }

    /// The JSON.
    pub(super) fn inflate(self, at: &FieldPathRef<'_>) -> Result<Vec<u8>, FieldErrors> {
        let mut unpacking = self.unpack(at)?;
        match unpacking.step(usize::MAX, at)? {
            true => Ok(unpacking.text),
            false => Err(torn(at)),
        }
    }
}

/// A packed table that is being unpacked.
pub(crate) struct Unpacking {
    deflated: Vec<u8>,
    /// The bytes of it that were read.
    read: usize,
    /// The JSON, as long as it will be.
    pub(crate) text: Vec<u8>,
    written: usize,
    inflater: Box<DecompressorOxide>,
}

impl Unpacking {
    /// Unpacks the next `bytes` of the deflated form, and returns whether all of it is unpacked.
    ///
    /// # Errors
    /// If it is torn, or has another length than it says.
    #[inline(never)]
    pub(crate) fn step(&mut self, bytes: usize, at: &FieldPathRef<'_>) -> Result<bool, FieldErrors> {
        let rest = self.deflated.get(self.read..).unwrap_or_default();
        let input = rest.get(..bytes).unwrap_or(rest);
        let more = if input.len() < rest.len() { TINFL_FLAG_HAS_MORE_INPUT } else { 0 };
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | more;
        let (status, read, written) = decompress(&mut self.inflater, input, &mut self.text, self.written, flags);
        self.read += read;
        self.written += written;
        match status {
            TINFLStatus::Done if self.written == self.text.len() => Ok(true),
            TINFLStatus::NeedsMoreInput if more != 0 => Ok(false),
            _ => Err(torn(at)),
        }
    }
}

#[cold]
fn torn(at: &FieldPathRef<'_>) -> FieldErrors {
    FieldErrors::of(&at.field("deflate"), "", FieldErrorType::InvalidPacking)
}
