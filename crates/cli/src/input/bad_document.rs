//! A document that cannot be read, and whether it may hold an object that is needed.

use super::error::InputError;

/// The types of watch events.
pub(super) const WATCH_EVENTS: [&str; 5] = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"];

/// The keys of the fields that say what an object is.
const API_VERSION: &str = "apiVersion";
const KIND: &str = "kind";
/// The fields of a watch event: its object, and the type, as `ADDED`.
const OBJECT: &str = "object";
const TYPE: &str = "type";

/// A document that cannot be read.
#[derive(Debug)]
pub(super) struct BadDocument {
    pub(super) problem: InputError,
    pub(super) top_level: TopLevel,
    pub(super) remains: Remains,
}

/// What becomes of the stream behind a document that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// The next document is read.
    Readable,
    /// The rest is not read: it is no text, or too large.
    Unread,
    /// Reading failed.
    Lost,
}

/// The fields of a document that say what it holds.
#[derive(Debug, Default)]
pub(super) struct TopLevel {
    api_versions: Vec<Box<str>>,
    kinds: Vec<Box<str>>,
    is_event: bool,
    /// Whether the document is a list or a scalar, or has `items` that are no objects.
    pub(super) is_other: bool,
    /// Whether it has a list `items`.
    pub(super) has_items: bool,
    /// Whether it is a list of objects, of which some were read.
    pub(super) has_passed_items: bool,
    /// Whether it has an action of Go templates, as charts of Helm do.
    pub(super) is_template: bool,
}

impl TopLevel {
    /// Adds a field.
    pub(super) fn add(&mut self, key: &str, value: Option<&str>) {
        match (key, value) {
            (API_VERSION, Some(value)) => add(&mut self.api_versions, value),
            (KIND, Some(value)) => add(&mut self.kinds, value),
            (TYPE, Some(value)) => self.is_event |= WATCH_EVENTS.contains(&value),
            _ => {}
        }
    }

    /// Adds the fields of these lines of YAML, up to a line that begins another document.
    pub(super) fn add_lines(&mut self, lines: impl Iterator<Item = Vec<u8>>) {
        let mut is_in_event = false;
        for (number, line) in lines.enumerate() {
            if number > 0 && (line.starts_with(b"---") || line.starts_with(b"...")) {
                return;
            }
            self.is_template |= line.windows(2).any(|two| two == b"{{");
            // Lines of such length are no fields, and copying them costs.
            let Some(line) = line.get(..line.len().min(MAX_LINE)).and_then(|line| str::from_utf8(line).ok()) else {
                continue;
            };
            let own = if is_in_event { line.strip_prefix("  ").unwrap_or(line) } else { line };
            let Some((key, value)) = field(own) else { continue };
            // `kubectl get --watch --output-watch-events -o yaml` prints the object before the type.
            is_in_event |= key == OBJECT && value.is_empty();
            self.add(key, Some(value));
        }
    }

    /// Whether the document is certainly no Kubernetes object.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_other && self.kinds.is_empty() && self.api_versions.is_empty()
    }

    /// Whether the document may hold an object of a kind that is needed.
    pub(super) fn may_hold(&self, is_needed: fn(&str, &str) -> bool) -> bool {
        if self.is_foreign() {
            return false;
        }
        let kinds = || self.kinds.iter().map(|kind| kind.strip_suffix("List").unwrap_or(kind));
        if kinds().next().is_none() {
            return self.is_event || self.has_passed_items || self.has_items && !self.api_versions.is_empty();
        }
        let is_kind_needed = |kind: &str| {
            let mut versions = self.api_versions.iter();
            // The items of a List have their own kinds.
            kind.is_empty()
                || versions.len() == 0 && is_needed("", kind)
                || versions.any(|version| is_needed(version, kind))
        };
        kinds().any(is_kind_needed)
    }
}

/// Maximum bytes of a line with a kind.
const MAX_LINE: usize = 512;
/// Maximum kinds that are kept of one document.
const MAX_FIELDS: usize = 64;

fn add(values: &mut Vec<Box<str>>, value: &str) {
    if values.len() < MAX_FIELDS && !values.iter().any(|known| **known == *value) {
        values.push(value.into());
    }
}

/// The key and the value of a line of YAML that has a field with a plain or quoted scalar.
fn field(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let key = unquoted(key.trim_end());
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let value = value.split(" #").next().unwrap_or_default().trim();
    is_key.then(|| (key, unquoted(value)))
}

fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may_hold(text: &str) -> bool {
        let mut top_level = TopLevel::default();
        top_level.add_lines(text.split('\n').map(|line| line.as_bytes().to_vec()));
        top_level.may_hold(|version, kind| kind == "Service" && matches!(version, "" | "v1"))
    }

    #[test]
    fn a_line_with_a_kind_at_the_top_level_decides() {
        for (text, expected) in [
            ("{{ if .x }}\napiVersion: v1\nkind: Service\n", true),
            ("kind : 'Service' # the shop\r\nmetadata: {{ x }}", true),
            ("\"kind\": \"ServiceList\"", true),
            ("apiVersion: v1\nkind: List", true),
            ("object:\n  apiVersion: v1\n  kind: Service\n", true),
            ("kind: Deployment\nspec:\n  kind: Service\n", false),
            ("apiVersion: serving.knative.dev/v1\nkind: Service\n", false),
            ("a: b\n---\nkind: Service\n", false),
            ("", false),
        ] {
            assert_eq!(may_hold(text), expected, "{text}");
        }
    }
}
