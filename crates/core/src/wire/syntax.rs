//! The path of a syntax error: the parser gives a line and a column, a person needs the field.
//!
//! A second scan of the text finds the path, so it costs nothing while there is no error.

use alloc::{string::String, vec::Vec};

use super::field_error::FieldError;
use crate::limits::MAX_QUOTED_CHARS;

/// An object or an array that is open at some point of the text.
enum Enclosing {
    Object { key: Vec<u8>, awaits_key: bool },
    Array { index: usize },
}

/// Turns a parser's error into one that names the field.
pub(crate) fn locate(error: &serde_json::Error, text: &[u8]) -> FieldError {
    let (mut path, just_opened) = path_until(error.line(), error.column(), text);
    let words = alloc::format!("{error}");
    // The parser notices a missing field at the end of the object, when the object's last key is still the newest.
    if words.starts_with("missing field")
        && let Some(Enclosing::Object { key, .. }) = path.last_mut()
    {
        key.clear();
    }
    // The parser notices these at the bracket or behind it, and they are about the value that has the brackets.
    let is_of_brackets = ["invalid type: sequence", "invalid type: map"].iter().any(|wrong| words.starts_with(wrong));
    if is_of_brackets && just_opened {
        path.pop();
    }
    FieldError::syntax(write(&path), &words)
}

/// The objects and arrays that are open at a line and a column, which counts bytes from 1; and whether the innermost is still
/// empty.
fn path_until(last_line: usize, last_column: usize, text: &[u8]) -> (Vec<Enclosing>, bool) {
    let mut path: Vec<Enclosing> = Vec::new();
    let (mut line, mut column) = (1, 0);
    let (mut in_text, mut in_key, mut escaped) = (false, false, false);
    let mut just_opened = false;
    for &byte in text {
        (line, column) = if byte == b'\n' { (line + 1, 0) } else { (line, column + 1) };
        let is_last = (line, column) >= (last_line, last_column);
        just_opened &= is_last || byte.is_ascii_whitespace();
        if in_text {
            let ends = byte == b'"' && !escaped;
            if in_key
                && !ends
                && let Some(Enclosing::Object { key, .. }) = path.last_mut()
                && key.len() < MAX_QUOTED_CHARS
            {
                key.push(byte);
            }
            in_text = !ends;
            escaped = byte == b'\\' && !escaped;
        } else {
            match (byte, path.last_mut()) {
                // The parser may peek at such a byte before it judges what precedes it: the byte changes no path.
                (b',' | b'[' | b']' | b'{' | b'}', _) if is_last => {}
                (b'"', top) => {
                    in_text = true;
                    in_key = false;
                    if let Some(Enclosing::Object { key, awaits_key: true }) = top {
                        in_key = true;
                        key.clear();
                    }
                }
                (b':', Some(Enclosing::Object { awaits_key, .. })) => *awaits_key = false,
                (b',', Some(Enclosing::Object { awaits_key, .. })) => *awaits_key = true,
                (b',', Some(Enclosing::Array { index })) => *index += 1,
                (b'{', _) => {
                    path.push(Enclosing::Object { key: Vec::new(), awaits_key: true });
                    just_opened = true;
                }
                (b'[', _) => {
                    path.push(Enclosing::Array { index: 0 });
                    just_opened = true;
                }
                (b']' | b'}', _) => drop(path.pop()),
                _ => {}
            }
        }
        if is_last {
            break;
        }
    }
    (path, just_opened)
}

/// Writes a path in the form of [`FieldError::at`]: keys other than plain words are in brackets.
fn write(path: &[Enclosing]) -> String {
    let mut written = String::new();
    for part in path {
        match part {
            Enclosing::Array { index } => written += &alloc::format!("[{index}]"),
            Enclosing::Object { key, .. } if key.is_empty() => {}
            Enclosing::Object { key, .. } if key.iter().all(u8::is_ascii_alphanumeric) => {
                written += if written.is_empty() { "" } else { "." };
                written += &String::from_utf8_lossy(key);
            }
            Enclosing::Object { key, .. } => written += &alloc::format!("[\"{}\"]", key.escape_ascii()),
        }
    }
    if written.is_empty() { "the configuration".into() } else { written }
}
