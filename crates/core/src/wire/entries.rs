//! Where the entries of an object lie in a text of JSON, so that each can be read by itself.
//!
//! This finds the ends of values and checks nothing else: whoever reads an entry checks it. A text in which no entries are found is left
//! to the reader of whole texts, whose errors have words.

use core::ops::Range;

/// What follows in an object.
pub(crate) enum NextEntry {
    /// An entry: the key in its quotes, and the value.
    Entry { key: Range<usize>, value: Range<usize> },
    /// The end of the object, and the place behind it.
    End(usize),
}

/// The place of the object `table.services` in a whole configuration.
pub(crate) fn find_services(text: &[u8]) -> Option<usize> {
    let table = find(text, skip_space(text, 0), b"\"table\"")?;
    let services = find(text, table, b"\"services\"")?;
    (text.get(services) == Some(&b'{')).then_some(services)
}

/// The entry after the place `at` in an object: behind its brace if `is_first`, else behind its last value.
pub(crate) fn next_entry(text: &[u8], at: usize, is_first: bool) -> Option<NextEntry> {
    Some(match next_key(text, at, is_first)? {
        NextKey::Key { key, value } => NextEntry::Entry { key, value: value..value_end(text, value)? },
        NextKey::End(end) => NextEntry::End(end),
    })
}

/// What follows in an object, without a look at the value, which may be the rest of the text.
enum NextKey {
    /// The key in its quotes, and the place of the value.
    Key {
        key: Range<usize>,
        value: usize,
    },
    End(usize),
}

fn next_key(text: &[u8], at: usize, is_first: bool) -> Option<NextKey> {
    let mut at = skip_space(text, at);
    match text.get(at)? {
        b'}' => return Some(NextKey::End(at + 1)),
        b',' if !is_first => at = skip_space(text, at + 1),
        _ if is_first => {}
        _ => return None,
    }
    let key = at..string_end(text, at)?;
    let colon = skip_space(text, key.end);
    (text.get(colon) == Some(&b':')).then(|| NextKey::Key { key, value: skip_space(text, colon + 1) })
}

/// The place of the value of `key`, with its quotes, in the object at `at`.
fn find(text: &[u8], at: usize, key: &[u8]) -> Option<usize> {
    if text.get(at) != Some(&b'{') {
        return None;
    }
    let (mut at, mut is_first) = (at + 1, true);
    while let NextKey::Key { key: found, value } = next_key(text, at, is_first)? {
        if text.get(found) == Some(key) {
            return Some(value);
        }
        (at, is_first) = (value_end(text, value)?, false);
    }
    None
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// The place behind the string at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        at += text.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        match text.get(at)? {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// The place behind the value at `at`.
fn value_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match text.get(at)? {
            b'"' => at = string_end(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => at += 1,
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b':' | b'}' | b']' | b'"') || byte.is_ascii_whitespace();
                let scalar = text.get(at..)?;
                let length = scalar.iter().position(ends).unwrap_or(scalar.len());
                if length == 0 {
                    return None;
                }
                at += length;
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The keys and values of the object at `at`, and what is behind it.
    fn entries(text: &str, at: usize) -> Option<(Vec<(&str, &str)>, &str)> {
        let (mut at, mut found) = (at + 1, Vec::new());
        loop {
            match next_entry(text.as_bytes(), at, found.is_empty())? {
                NextEntry::Entry { key, value } => {
                    at = value.end;
                    found.push((text.get(key)?, text.get(value)?));
                }
                NextEntry::End(end) => return Some((found, text.get(end..)?)),
            }
        }
    }

    #[test]
    fn finds_the_entries_of_the_services() {
        let text = "{\"a\": [1, {\"table\": 2}], \"table\" :{\"version\":1,\n\"services\": { \"x\" : {\"n\": \"}\\\"\"},\"y\":null } , \"z\": 1}}";
        let services = find_services(text.as_bytes()).expect("services");
        let (found, rest) = entries(text, services).expect("entries");
        assert_eq!(found, [("\"x\"", "{\"n\": \"}\\\"\"}"), ("\"y\"", "null")]);
        assert_eq!(rest, " , \"z\": 1}}");
        assert_eq!(entries("{}", 0), Some((Vec::new(), "")));
        assert_eq!(entries("{\"a\":1.5e3,\"b\":[[],{}]}", 0).map(|(found, _)| found.len()), Some(2));
    }

    #[test]
    fn leaves_other_texts_alone() {
        for text in
            ["", " ", "{", "[]", "{\"table\": 1}", "{\"table\": {\"services\": []}}", "{\"table\": {}}", "{\"t\": {}}"]
        {
            assert_eq!(find_services(text.as_bytes()), None, "{text}");
        }
        for text in [
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{\"a\" 1}",
            "{,}",
            "{\"a\":}",
            "{\"a\":1 \"b\":2}",
            "{1:2}",
            "{\"a\":\"\\",
        ] {
            assert_eq!(entries(text, 0), None, "{text}");
        }
    }
}
