//! JSON that every parser of JSON and YAML reads alike.

/// Text as a scalar of JSON and YAML.
pub(crate) fn quoted(text: &str) -> String {
    ascii(&serde_json::Value::from(text).to_string())
}

/// JSON in ASCII: some characters end a line in YAML but not in JSON, YAML forbids some, and some are invisible.
pub(crate) fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // JSON escapes characters beyond 16 bits as surrogate pairs, which YAML does not have. Both allow them unescaped.
        if (c.is_ascii() && c != '\u{7f}') || c > '\u{ffff}' {
            text.push(c);
        } else {
            // Such characters occur only in JSON strings.
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    text
}
