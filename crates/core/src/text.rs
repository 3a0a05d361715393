//! Text that is written or checked in one place: numbers without the machinery of formatting, a client's bytes escaped for one
//! line, header names and values.
//!
//! It knows neither requests nor configurations. It may use `limits` and nothing else of the crate.

mod equal;
mod escape;
mod header;
mod number;

pub(crate) use equal::is_equal;
pub(crate) use escape::{quoted, shown};
pub(crate) use header::{is_header_name, is_header_value, is_reserved_header};
pub(crate) use number::{write_number, write_socket_address};
