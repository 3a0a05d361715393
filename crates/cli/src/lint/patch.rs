//! Fixes to paste.

use serde_json::{Value, json};

use crate::{
    input::{Field, Step},
    kubernetes::ObjectName,
};

/// A fix that a person can paste.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// Sets a field of the finding's object.
    Set(Field, Value),
    /// Removes a field of the finding's object.
    Remove(Field),
    /// Creates another object.
    Create(Value),
    /// Deletes the finding's object, which its controller may create again.
    Delete,
}

impl Patch {
    /// The patch as a JSON Patch (RFC 6902) for the finding's object; `None` if it is none.
    #[must_use]
    pub fn operations(&self) -> Option<Value> {
        match self {
            // `add` replaces a field that exists.
            Self::Set(field, value) => Some(json!([{"op": "add", "path": pointer(field), "value": value}])),
            Self::Remove(field) => Some(json!([{"op": "remove", "path": pointer(field)}])),
            Self::Create(_) | Self::Delete => None,
        }
    }

    /// The text to paste: a command if the object is in a cluster, else a line of its manifest. An object to create is a
    /// manifest.
    ///
    /// `None` for a name that a shell would not take as it is.
    #[must_use]
    pub fn text(&self, object: &ObjectName, line: u32, is_of_api: bool) -> Option<String> {
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
        if !is_word(&object.name) || !is_word(&object.namespace) || object.name.starts_with('-') {
            return None;
        }
        let namespace = if object.namespace.is_empty() { String::new() } else { format!(" -n {}", object.namespace) };
        let target = format!("{} {}{namespace}", object.kind.to_ascii_lowercase(), object.name);
        Some(match (self, self.operations()) {
            (Self::Create(manifest), _) => manifest.to_string(),
            (Self::Delete, _) => format!("kubectl delete {target}"),
            (_, Some(operations)) if is_of_api => {
                format!("kubectl patch {target} --type json -p '{}'", operations.to_string().replace('\'', r"'\''"))
            }
            (Self::Set(field, value), _) => format!("{}: {value}  # line {line}", key(field)),
            (Self::Remove(field), _) => format!("remove {}, line {line}", key(field)),
        })
    }
}

/// The name of the field, or an element of a list by the list's name: `externalIPs[0]`.
fn key(field: &Field) -> String {
    field.steps().fold(String::new(), |key, step| match step {
        Step::Name(name) => name.to_owned(),
        Step::Index(index) => format!("{key}[{index}]"),
    })
}

/// A path as a JSON Pointer (RFC 6901).
fn pointer(field: &Field) -> String {
    let steps = field.steps().map(|step| match step {
        Step::Name(name) => name.replace('~', "~0").replace('/', "~1"),
        Step::Index(index) => index.to_string(),
    });
    steps.map(|step| format!("/{step}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_json_pointers() {
        let annotation = Field::from(["metadata", "annotations", "example.com/a~b"]);
        for (field, pointed) in [
            (Field::from(["spec", "ports"]).item(1).field("port"), "/spec/ports/1/port"),
            (annotation, "/metadata/annotations/example.com~1a~0b"),
            (Field::from(["metadata", "labels", "[0]"]), "/metadata/labels/[0]"),
            (Field::default(), ""),
        ] {
            assert_eq!(pointer(&field), pointed);
        }
    }

    #[test]
    fn a_patch_is_a_command_in_a_cluster_and_a_line_in_a_manifest() {
        let web = ObjectName::new("Service", "shop", "web");
        let set = Patch::Set(Field::from(["spec", "ports"]).item(0).field("targetPort"), "http".into());
        let command = r#"kubectl patch service web -n shop --type json -p '[{"op":"add","path":"/spec/ports/0/targetPort","value":"http"}]'"#;
        assert_eq!(set.text(&web, 7, true).unwrap(), command);
        assert_eq!(set.text(&web, 7, false).unwrap(), "targetPort: \"http\"  # line 7");
        let remove = Patch::Remove(Field::from(["spec", "externalIPs"]));
        assert_eq!(remove.text(&web, 9, false).unwrap(), "remove externalIPs, line 9");
        for name in ["$(reboot)", "a b", "-f", "a;b", "a'b"] {
            assert_eq!(set.text(&ObjectName::new("Service", "shop", name), 7, true), None);
        }
    }
}
