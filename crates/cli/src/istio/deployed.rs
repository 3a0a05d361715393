//! byname's configuration in the objects that deploy it.

use byname_core::wire;

use crate::input::{InputError, InputNode, InputValue, RawObject};

/// The configuration that an object of Istio's holds for byname; `None` if it holds none.
///
/// # Errors
/// If it holds one that cannot be read.
pub fn deployed(object: &RawObject) -> Result<Option<wire::Config>, InputError> {
    let spec = object.node.get("spec");
    let found = match &*object.kind {
        "WasmPlugin" => spec.and_then(|spec| spec.get("pluginConfig")),
        "TrafficExtension" => spec.and_then(|spec| spec.get("wasm")?.get("pluginConfig")),
        "EnvoyFilter" => return spec.and_then(string_value).map(|text| of_text(object, text)).transpose(),
        _ => None,
    };
    // Other plugins have configurations too.
    let Some(found) = found.filter(|found| found.get("version").is_some() && found.get("table").is_some()) else {
        return Ok(None);
    };
    let wire = found
        .read()
        .map_err(|unreadable| problem(object, unreadable.why).with_field(unreadable.field).at_line(unreadable.line))?;
    unpacked(object, wire).map(Some)
}

/// Whether objects of this kind may hold a configuration for byname.
#[must_use]
pub fn may_be_deployed(kind: &str) -> bool {
    matches!(kind, "WasmPlugin" | "TrafficExtension" | "EnvoyFilter")
}

/// The configuration of the byname filter below `node`: a StringValue beside its name.
fn string_value(node: &InputNode) -> Option<&str> {
    if node.get("name").and_then(InputNode::text) == Some("byname")
        && let Some(configuration) = node.get("configuration")
    {
        return configuration.get("value")?.text();
    }
    match &node.value {
        InputValue::List(items) => items.iter().find_map(string_value),
        InputValue::Map(fields) => fields.iter().find_map(|(_, value)| string_value(value)),
        _ => None,
    }
}

fn of_text(object: &RawObject, text: &str) -> Result<wire::Config, InputError> {
    let wire = serde_json::from_str(text).map_err(|error| problem(object, error.to_string()))?;
    unpacked(object, wire)
}

fn unpacked(object: &RawObject, mut wire: wire::Config) -> Result<wire::Config, InputError> {
    wire.unpack().map_err(|refused| problem(object, refused.to_string()))?;
    Ok(wire)
}

fn problem(object: &RawObject, reason: String) -> InputError {
    InputError::at(&object.place, reason, "pass the object as byname compile wrote it").with_object(object.kind.clone())
}
