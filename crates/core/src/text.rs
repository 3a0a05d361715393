//! Text that is written or checked in one place: numbers without the machinery of formatting, a client's bytes escaped for one
//! line, header names and values, base64.
//!
//! It knows neither requests nor configurations. It may use `limits` and nothing else of the crate.

mod base64;
mod equal;
mod escape;
mod header;
mod number;

pub(crate) use base64::{decode_base64, encode_base64};
pub(crate) use equal::is_equal;
pub(crate) use escape::{quoted, shown};
pub(crate) use header::{is_header_name, is_header_value, is_reserved_header};
pub(crate) use number::{write_number, write_socket_address};
