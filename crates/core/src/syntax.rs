//! Where in a configuration a syntax error stands: the parser says line and column, people want the path.
//!
//! The path is found by going through the text a second time, and so costs nothing while nothing is wrong.

use alloc::{string::String, vec::Vec};

use crate::{limits::MAX_QUOTED_CHARS, problem::Problem};

/// What the text is inside of.
enum Inside {
    Object { key: Vec<u8>, awaits_key: bool },
    Array { index: usize },
}

/// Names the place of `error` in the text.
pub(crate) fn locate(error: &serde_json::Error, text: &[u8]) -> Problem {
    let (mut path, just_opened) = path_until(error.line(), error.column(), text);
    let words = alloc::format!("{error}");
    // It is noticed at the end of the object that misses the field, when its last field is still the newest.
    if words.starts_with("missing field")
        && let Some(Inside::Object { key, .. }) = path.last_mut()
    {
        key.clear();
    }
    // That is noticed behind the bracket or at it, and means what has the brackets.
    let is_of_brackets = ["invalid type: sequence", "invalid type: map"].iter().any(|wrong| words.starts_with(wrong));
    if is_of_brackets && just_opened {
        path.pop();
    }
    Problem::syntax(write(&path), &words)
}

/// The objects and arrays that are open at that line and column, of which the parser counts the second in bytes from 1; and
/// whether nothing stands yet in the innermost.
fn path_until(last_line: usize, last_column: usize, text: &[u8]) -> (Vec<Inside>, bool) {
    let mut path: Vec<Inside> = Vec::new();
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
                && let Some(Inside::Object { key, .. }) = path.last_mut()
                && key.len() < MAX_QUOTED_CHARS
            {
                key.push(byte);
            }
            in_text = !ends;
            escaped = byte == b'\\' && !escaped;
        } else {
            match (byte, path.last_mut()) {
                // Such a byte may be looked at before what stands in front of it is judged: it changes no place.
                (b',' | b'[' | b']' | b'{' | b'}', _) if is_last => {}
                (b'"', top) => {
                    in_text = true;
                    in_key = false;
                    if let Some(Inside::Object { key, awaits_key: true }) = top {
                        in_key = true;
                        key.clear();
                    }
                }
                (b':', Some(Inside::Object { awaits_key, .. })) => *awaits_key = false,
                (b',', Some(Inside::Object { awaits_key, .. })) => *awaits_key = true,
                (b',', Some(Inside::Array { index })) => *index += 1,
                (b'{', _) => {
                    path.push(Inside::Object { key: Vec::new(), awaits_key: true });
                    just_opened = true;
                }
                (b'[', _) => {
                    path.push(Inside::Array { index: 0 });
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

/// In the form of [`Problem::at`]: keys that are no plain words stand in brackets.
fn write(path: &[Inside]) -> String {
    let mut written = String::new();
    for part in path {
        match part {
            Inside::Array { index } => written += &alloc::format!("[{index}]"),
            Inside::Object { key, .. } if key.is_empty() => {}
            Inside::Object { key, .. } if key.iter().all(u8::is_ascii_alphanumeric) => {
                written += if written.is_empty() { "" } else { "." };
                written += &String::from_utf8_lossy(key);
            }
            Inside::Object { key, .. } => written += &alloc::format!("[\"{}\"]", key.escape_ascii()),
        }
    }
    if written.is_empty() { "the configuration".into() } else { written }
}
