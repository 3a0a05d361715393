//! The syntax of keys and values of labels: `IsQualifiedName` and `IsValidLabelValue` of k8s.io/apimachinery.

/// Maximum bytes of a label's value, and of the name in its key.
const MAX_NAME_BYTES: usize = 63;
/// Maximum bytes of the prefix of a key.
const MAX_PREFIX_BYTES: usize = 253;

/// Whether `text` is a name with or without a prefix, such as `app` or `example.com/app`.
#[must_use]
pub fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name(name),
        None => is_name(text),
    }
}

/// Whether `text` can be the value of a label.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name(text)
}

fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= MAX_NAME_BYTES && text.bytes().all(is_inner) && has_alphanumeric_ends(text)
}

/// Whether `text` can be the name of most objects, such as a Node: lower-case labels that dots join.
#[must_use]
pub fn is_subdomain(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| label.bytes().all(is_inner) && has_alphanumeric_ends(label);
    text.len() <= MAX_PREFIX_BYTES && text.split('.').all(is_label)
}

/// Whether `text` is not empty, and begins and ends with a letter or a digit.
fn has_alphanumeric_ends(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.into_iter().all(|byte| byte.is_some_and(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_an_api_server_takes() {
        let long = "a".repeat(64);
        for (text, expected) in [
            ("app", true),
            ("app.kubernetes.io/name", true),
            ("A_b.c-d", true),
            ("kubernetes.io/h2c", true),
            ("", false),
            ("/app", false),
            ("a/b/c", false),
            ("Example.com/app", false),
            ("example..com/app", false),
            ("a b", false),
            ("-a", false),
            ("a.", false),
            (&*long, false),
        ] {
            assert_eq!(is_qualified_name(text), expected, "{text}");
        }
        for (text, expected) in [("", true), ("v1.2", true), ("<your-app>", false), ("a/b", false), (&*long, false)] {
            assert_eq!(is_label_value(text), expected, "{text}");
        }
    }
}
