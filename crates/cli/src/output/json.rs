//! JSON that every reader of JSON and YAML takes for the same.

/// Text as a scalar of JSON and YAML.
pub(crate) fn quoted(text: &str) -> String {
    ascii(&serde_json::Value::from(text).to_string())
}

/// JSON in ASCII: some characters end a line of YAML and none of JSON, some are not allowed in YAML, some are not seen.
pub(crate) fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // JSON would escape characters beyond 16 bits as two halves, which YAML does not know. Both allow them as they are.
        if (c.is_ascii() && c != '\u{7f}') || c > '\u{ffff}' {
            text.push(c);
        } else {
            // Only strings of JSON hold such characters.
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    text
}
