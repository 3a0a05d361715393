//! Why clients refuse resources, in few words: Envoy's own text has no bound.

/// The parts of Envoy's texts that tell reasons apart, and the reason of each. The first one counts.
const PARTS: [(&str, &str); 7] = [
    ("constraint validation failed", "invalid"),
    ("unknown fields", "unknown"),
    ("registered implementation", "unknown"),
    ("Invalid path", "missing_file"),
    // The module refused its configuration, or Envoy cannot run the module.
    ("Wasm", "module"),
    ("wasm", "module"),
    ("Plugin configuration", "module"),
];

/// The reason as the value of a label.
pub(super) fn word(reason: &str) -> &'static str {
    PARTS.iter().find(|(part, _)| reason.contains(part)).map_or("other", |(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_one_of_few_words() {
        for (reason, wanted) in [
            ("Unable to create Wasm plugin byname", "module"),
            ("Invalid path: /etc/byname/ca.pem", "missing_file"),
            ("Proto constraint validation failed (ClusterValidationError.Name: value length)", "invalid"),
            ("Didn't find a registered implementation for name: 'envoy.filters.http.wasm'", "unknown"),
            ("", "other"),
            ("a text of a client of somebody else", "other"),
        ] {
            assert_eq!(word(reason), wanted, "{reason}");
        }
    }
}
