//! Foreign text, escaped and cut to fit on one line of a log, a header or an error.

use alloc::string::{String, ToString};
use core::fmt;

/// `value` on one line, cut after `max_chars` characters. For text of a configuration, which may be any Unicode.
#[inline(never)]
pub(crate) fn quoted(value: &dyn fmt::Display, max_chars: usize) -> String {
    let value = value.to_string();
    let mut quoted: String = value.chars().take(max_chars).flat_map(char::escape_default).collect();
    if value.chars().nth(max_chars).is_some() {
        quoted.push('…');
    }
    quoted
}

/// `bytes` as ASCII on one line, cut after `max_bytes` bytes. For bytes of a client, which may be anything.
pub(crate) fn shown(bytes: &[u8], max_bytes: usize) -> String {
    let cut = bytes.get(..max_bytes);
    let mut text = cut.unwrap_or(bytes).escape_ascii().to_string();
    if cut.is_some_and(|cut| cut.len() < bytes.len()) {
        text.push_str("...");
    }
    text
}
