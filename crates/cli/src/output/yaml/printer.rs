//! The one printer of YAML.
//!
//! serde-saphyr, the maintained crate that writes YAML, moves a comment below its key and joins its lines, names anchors by
//! number and leaves invisible characters as they are. People read these files and keep them in git, so they are printed here.

use std::collections::BTreeSet;

use super::{Anchor, Fields, Yaml};
use crate::output::json::quoted;

/// Prints a document.
pub(crate) fn print(value: &Yaml) -> String {
    let mut printer = YamlPrinter::default();
    match value {
        Yaml::Map(fields) if !fields.is_empty() => printer.block_map(fields, 0),
        Yaml::List(items) if !items.is_empty() => printer.block_list(items, 0),
        value => {
            printer.flow(value);
            printer.text.push('\n');
        }
    }
    printer.text
}

/// Prints the parts of one document. A shared value is printed once in all parts together.
#[derive(Default)]
pub(crate) struct YamlPrinter {
    pub(crate) text: String,
    anchors: BTreeSet<Anchor>,
}

impl YamlPrinter {
    /// Adds a line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Prints the field of a block at this column.
    pub(crate) fn field(&mut self, key: &str, value: &Yaml, column: usize) {
        self.indent(column);
        self.key(key, value, column);
    }

    fn block_map(&mut self, fields: &Fields, column: usize) {
        for (index, (key, value)) in fields.iter().enumerate() {
            self.begin(index, value, column);
            self.key(key, value, column);
        }
    }

    fn key(&mut self, key: &str, value: &Yaml, column: usize) {
        self.scalar(key);
        self.text.push(':');
        self.after(value, column, Parent::Map);
    }

    fn block_list(&mut self, items: &[Yaml], column: usize) {
        for (index, item) in items.iter().enumerate() {
            self.begin(index, item, column);
            self.text.push('-');
            self.after(item, column, Parent::List);
        }
    }

    /// Begins a child at its column. The first child begins where the parent left off, perhaps after a dash.
    fn begin(&mut self, index: usize, value: &Yaml, column: usize) {
        if index > 0 {
            self.indent(column);
        }
        if let Yaml::Commented(comment, _) = value {
            for line in comment.lines() {
                self.text.push_str("# ");
                self.line(line);
                self.indent(column);
            }
        }
    }

    /// Prints what follows the `key:` or the dash at this column.
    fn after(&mut self, value: &Yaml, column: usize, parent: Parent) {
        match value {
            Yaml::Commented(_, value) => self.after(value, column, parent),
            Yaml::Shared(name, value) if self.anchors.insert(name) => {
                self.text.push_str(" &");
                self.text.push_str(name);
                let parent = if parent == Parent::List { Parent::AnchoredList } else { parent };
                self.after(value, column, parent);
            }
            Yaml::Map(fields) if !fields.is_empty() => {
                self.break_line(column + 2, parent);
                self.block_map(fields, column + 2);
            }
            Yaml::List(items) if !items.is_empty() => {
                let column = if parent == Parent::Map { column } else { column + 2 };
                self.break_line(column, parent);
                self.block_list(items, column);
            }
            Yaml::Text(text) if is_literal(text) => {
                self.text.push_str(" |\n");
                for line in text.lines() {
                    self.indent(column + 2);
                    self.line(line);
                }
            }
            value => {
                self.text.push(' ');
                self.flow(value);
                self.text.push('\n');
            }
        }
    }

    fn break_line(&mut self, column: usize, parent: Parent) {
        if parent == Parent::List {
            self.text.push(' ');
        } else {
            self.text.push('\n');
            self.indent(column);
        }
    }

    fn flow(&mut self, value: &Yaml) {
        match value {
            Yaml::Null => self.text.push_str("null"),
            Yaml::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Yaml::Number(number) => self.text.push_str(&number.to_string()),
            Yaml::Text(text) => self.scalar(text),
            Yaml::List(items) => self.separated("[", items, "]", Self::flow),
            Yaml::Map(fields) => self.separated("{", fields, "}", |printer, (key, value)| {
                printer.scalar(key);
                printer.text.push_str(": ");
                printer.flow(value);
            }),
            Yaml::OneLine(value) | Yaml::Commented(_, value) => self.flow(value),
            Yaml::Shared(name, value) => {
                let is_new = self.anchors.insert(name);
                self.text.push(if is_new { '&' } else { '*' });
                self.text.push_str(name);
                if is_new {
                    self.text.push(' ');
                    self.flow(value);
                }
            }
        }
    }

    fn separated<T>(&mut self, open: &str, items: &[T], close: &str, mut each: impl FnMut(&mut Self, &T)) {
        self.text.push_str(open);
        for (index, item) in items.iter().enumerate() {
            self.text.push_str(if index > 0 { ", " } else { "" });
            each(self, item);
        }
        self.text.push_str(close);
    }

    fn scalar(&mut self, text: &str) {
        let is_escaped = |byte: u8| matches!(byte, 0..=0x1f | b'"' | b'\\' | 0x7f..);
        if is_plain(text) {
            self.text.push_str(text);
        } else if text.bytes().any(is_escaped) {
            self.text.push_str(&quoted(text));
        } else {
            self.text.extend(["\"", text, "\""]);
        }
    }

    fn indent(&mut self, column: usize) {
        self.text.push_str(&" ".repeat(column));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Map,
    List,
    /// The first line of the item holds an anchor.
    AnchoredList,
}

/// Whether every YAML reader takes the unquoted text as a string: words and durations such as `60s`, except words that YAML 1.1
/// reads as another type, such as `yes`.
fn is_plain(text: &str) -> bool {
    const OTHER_VALUES: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    let is_in_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(is_in_word);
    let digits = text.strip_suffix('s').unwrap_or_default();
    let is_duration = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_duration || (is_word && !OTHER_VALUES.iter().any(|other| text.eq_ignore_ascii_case(other)))
}

/// Whether a block after `|` holds exactly this text.
fn is_literal(text: &str) -> bool {
    let is_written = |c: char| matches!(c, '\n' | ' '..='~') || c > '\u{ffff}';
    text.ends_with('\n') && !text.ends_with("\n\n") && !text.starts_with([' ', '\n']) && text.chars().all(is_written)
}
