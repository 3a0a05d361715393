//! A template of YAML that keeps its comments.

use std::collections::BTreeMap;

use crate::output::yaml::{Yaml, YamlPrinter};

/// Fills each line `key: {{name}}` of `template` with the value `name`. A null value removes the line and the comment above
/// it. A comment at the end of the template belongs to no line and is left out.
pub(super) fn fill<const N: usize>(template: &'static str, values: [(&str, Yaml); N]) -> String {
    let mut values = BTreeMap::from(values);
    let mut printer = YamlPrinter::default();
    let mut comment: Vec<&str> = Vec::new();
    for line in template.lines() {
        let place = line.trim_start();
        if place.starts_with('#') {
            comment.push(line);
            continue;
        }
        let above = std::mem::take(&mut comment);
        let value = match place.strip_suffix("}}").and_then(|place| place.split_once(": {{")) {
            None => None,
            Some((key, name)) => match values.remove(name) {
                None | Some(Yaml::Null) => continue,
                Some(value) => Some((key, value)),
            },
        };
        above.iter().for_each(|line| printer.line(line));
        match value {
            None => printer.line(line),
            Some((key, value)) => printer.field(key, &value, line.len() - place.len()),
        }
    }
    debug_assert!(values.is_empty(), "the template has no place for {:?}", values.keys());
    printer.text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::yaml::map;

    #[test]
    fn prints_values_and_leaves_out_null_with_its_comment() {
        let template = "# Head\na:\n  b: {{b}}\n  # Why c\n  # and d\n  c: {{c}}\n  # Why e\n  e: {{e}}\n";
        let filled = fill(template, [("b", "x: y".into()), ("c", Yaml::Null), ("e", map! { "f": ["1", "g"] })]);
        assert_eq!(filled, "# Head\na:\n  b: \"x: y\"\n  # Why e\n  e:\n    f:\n    - \"1\"\n    - g\n");
    }
}
