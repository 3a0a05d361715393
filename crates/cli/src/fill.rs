//! Templates of what is written for others: text with places, `{{name}}`, that are filled.

/// Fills the places of `template`. One that stands on a line by itself takes any number of lines, each indented as it is
/// itself, and where there are none its line is gone.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let value = |name: &str| values.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| *value);
    let mut text = String::new();
    for line in template.lines() {
        let place = line.trim_start();
        let indent = line.strip_suffix(place).unwrap_or_default();
        match place.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
            Some(name) if !name.contains("{{") => indented(value(name), indent, &mut text),
            _ => {
                let mut parts = line.split("{{");
                text.push_str(parts.next().unwrap_or_default());
                for (name, after) in parts.filter_map(|part| part.split_once("}}")) {
                    text.push_str(value(name));
                    text.push_str(after);
                }
                text.push('\n');
            }
        }
    }
    text
}

fn indented(lines: &str, indent: &str, text: &mut String) {
    for line in lines.lines() {
        if !line.is_empty() {
            text.push_str(indent);
        }
        text.push_str(line);
        text.push('\n');
    }
}

/// A text that YAML and JSON both read as itself.
pub(crate) fn quoted(text: &str) -> String {
    ascii(&serde_json::Value::from(text).to_string())
}

/// JSON in ASCII alone: there are characters that end a line of YAML and none of JSON, and some that YAML may not hold.
pub(crate) fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // Halves of characters, as JSON has them, YAML does not know; and neither minds these.
        if (c.is_ascii() && c != '\u{7f}') || c > '\u{ffff}' {
            text.push(c);
        } else {
            // Beyond ASCII there is nothing but what stands in texts.
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    text
}
