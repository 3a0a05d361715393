//! A template of YAML that keeps its comments.

use std::collections::BTreeMap;

use crate::output::yaml::{Yaml, YamlPrinter};

/// Fills each line `key: {{name}}` of `template` with the value `name`. A null value removes the line and the comment above
/// the line.
pub(super) fn fill<const N: usize>(template: &'static str, values: [(&str, Yaml); N]) -> String {
    let mut values = BTreeMap::from(values);
    let mut printer = YamlPrinter::default();
    for line in template.lines() {
        let place = line.trim_start();
        let column = line.len() - place.len();
        match place.strip_suffix("}}").and_then(|place| place.split_once(": {{")) {
            None => printer.line(line),
            Some((key, name)) => match values.remove(name) {
                None | Some(Yaml::Null) => drop_comment(&mut printer.text),
                Some(value) => printer.field(key, &value, column),
            },
        }
    }
    debug_assert!(values.is_empty(), "the template has no place for {:?}", values.keys());
    printer.text
}

/// Removes the comment at the end of `text`.
fn drop_comment(text: &mut String) {
    let comment = text.split_inclusive('\n').rev().take_while(|line| line.trim_start().starts_with('#'));
    text.truncate(text.len() - comment.map(str::len).sum::<usize>());
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
