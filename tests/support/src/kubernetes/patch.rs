//! The effect of a patch on an object.

use serde_json::{Map, Value};

/// The annotation with what kubectl last applied.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// `object` after a patch of this content type.
pub(super) fn patched(object: &Value, patch: &Value, content_type: &str) -> Value {
    // Only kubectl changes applied objects here, so an applied configuration is the whole object.
    if let Some(applied) = patch["metadata"]["annotations"][LAST_APPLIED].as_str() {
        let mut whole: Value = serde_json::from_str(applied).unwrap_or_default();
        whole["metadata"]["annotations"][LAST_APPLIED] = applied.into();
        return whole;
    }
    let is_strategic = content_type.starts_with("application/strategic-merge-patch+json");
    let mut object = object.clone();
    if content_type.starts_with("application/apply-patch") {
        return patch.clone();
    }
    merge(&mut object, patch, is_strategic);
    object
}

/// Merges by RFC 7396. A strategic patch merges lists of named items by name.
pub(super) fn merge(object: &mut Value, patch: &Value, is_strategic: bool) {
    match (object, patch) {
        (Value::Array(list), Value::Array(patches)) if is_strategic && are_named(list) && are_named(patches) => {
            for patch in patches {
                match list.iter_mut().find(|item| item["name"] == patch["name"]) {
                    Some(item) => merge(item, patch, is_strategic),
                    None => list.push(patch.clone()),
                }
            }
        }
        (object, Value::Object(patch)) => {
            if !object.is_object() {
                *object = Value::Object(Map::new());
            }
            for (field, value) in patch.iter().filter(|(field, _)| !field.starts_with("$setElementOrder/")) {
                if value.is_null() {
                    object.as_object_mut().and_then(|object| object.remove(field));
                } else {
                    merge(&mut object[field], value, is_strategic);
                }
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

fn are_named(list: &[Value]) -> bool {
    list.iter().all(|item| item["name"].is_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MERGE: &str = "application/merge-patch+json";
    const STRATEGIC: &str = "application/strategic-merge-patch+json";

    #[test]
    fn a_patch_changes_only_its_fields() {
        let object = json!({"a": 1, "b": {"c": 2, "d": 3}, "l": [{"name": "x", "v": 1}, {"name": "y", "v": 2}]});
        for (kind, patch, wanted) in [
            (MERGE, json!({"b": {"c": null, "e": 4}}), json!({"d": 3, "e": 4})),
            (STRATEGIC, json!({"b": {"c": null, "e": 4}}), json!({"d": 3, "e": 4})),
        ] {
            assert_eq!(patched(&object, &patch, kind)["b"], wanted);
        }
        let patch = json!({"l": [{"name": "y", "v": 5}], "$setElementOrder/l": [{"name": "y"}]});
        let strategic = patched(&object, &patch, STRATEGIC);
        assert_eq!(strategic["l"], json!([{"name": "x", "v": 1}, {"name": "y", "v": 5}]));
        assert_eq!(strategic.as_object().map(Map::len), Some(3));
        assert_eq!(patched(&object, &patch, MERGE)["l"], patch["l"]);
    }

    #[test]
    fn an_applied_configuration_replaces_the_object() {
        let applied = json!({"a": 2, "metadata": {"name": "x"}}).to_string();
        let patch = json!({"a": 2, "b": null, "metadata": {"annotations": {LAST_APPLIED: applied}}});
        let patched = patched(&json!({"a": 1, "b": 2}), &patch, STRATEGIC);
        assert_eq!((&patched["a"], patched.get("b")), (&json!(2), None));
        assert_eq!(patched["metadata"]["annotations"][LAST_APPLIED], json!(applied));
    }
}
