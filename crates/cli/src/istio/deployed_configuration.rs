//! byname's configuration in an object that deploys it.

use byname_core::{Config, Defaults, FieldError, FieldErrorType, FieldErrors, wire};
use serde_json::Value;

use crate::input::{Field, InputNode, InputValue, RawObject};

/// A configuration for the mesh takes the caller's namespace from each sidecar.
const DEFAULTS: Defaults<'_> = Defaults { namespace: Some("default"), zone: None, node: None, id: None };

/// A configuration, read and checked as the filter does.
#[derive(Clone, Debug)]
pub struct DeployedConfiguration {
    /// The field that holds it.
    pub field: Field,
    /// The configuration with its table unpacked, or why the filter refuses it.
    pub read: Result<Box<wire::Config>, FieldErrors>,
    /// Whether the field is a text of JSON, so that its parts have no lines.
    is_text: bool,
    /// What the reader says of a malformed value, without its place in JSON that nobody sees. `None` where the filter's own words
    /// are needed: for a text of JSON, a packed table, and fields of a newer program, which only the filter leaves out.
    malformed: Option<String>,
}

impl DeployedConfiguration {
    /// The configuration that `raw` holds; `None` if it holds none.
    pub(super) fn of(raw: &RawObject) -> Option<Self> {
        let spec = raw.node.get("spec")?;
        let field = Field::from(["spec"]);
        let (field, node) = match &*raw.kind {
            "WasmPlugin" => (field.field("pluginConfig"), spec.get("pluginConfig")?),
            "TrafficExtension" => (field.field("wasm").field("pluginConfig"), spec.get("wasm")?.get("pluginConfig")?),
            "EnvoyFilter" => {
                let (field, text) = string_value(spec, field)?;
                return Some(Self { field, read: read_configuration(text, &DEFAULTS), is_text: true, malformed: None });
            }
            _ => return None,
        };
        if !is_own_configuration(|field| node.get(field).is_some()) {
            return None;
        }
        // Istio hands it to the filter as JSON. Every value has a form in JSON, so that this cannot fail.
        let value = node.read::<Value>().unwrap_or_default();
        let minor = value.get("minor").and_then(Value::as_u64);
        let is_newer = minor.is_some_and(|minor| minor > u64::from(wire::MINOR));
        let read = read_configuration(&value.to_string(), &DEFAULTS);
        let malformed = match read {
            Err(_) if !is_newer => serde_json::from_value::<wire::Config>(value).err().map(|error| error.to_string()),
            _ => None,
        };
        Some(Self { field, read, is_text: false, malformed })
    }

    /// The field at `names` of this configuration, or the text that holds it.
    #[must_use]
    pub fn part(&self, names: &[&str]) -> Field {
        let below = |field: Field| names.iter().fold(field, |field, name| field.field(name));
        if self.is_text { self.field.clone() } else { below(self.field.clone()) }
    }

    /// The field of an error of this configuration, and what is wrong with it.
    #[must_use]
    pub fn error(&self, error: &FieldError) -> (Field, String) {
        if self.is_text {
            let within = if error.path.elements().is_empty() { String::new() } else { format!("{}: ", error.path) };
            return (self.field.clone(), format!("{within}{}", error.problem()));
        }
        let problem = match (error.error_type, &self.malformed) {
            (FieldErrorType::Malformed, Some(words)) => format!("{}: {words}", error.error_type.reason()),
            _ => error.problem(),
        };
        (self.field.clone().below(error.path.elements()), problem)
    }
}

/// Whether a configuration with these fields is byname's: other plugins have configurations too. A filter has a table, or a server that
/// it asks for Services.
#[must_use]
pub fn is_own_configuration(has: impl Fn(&str) -> bool) -> bool {
    has("version") && (has("table") || has("server"))
}

/// Reads a configuration as a filter on an Envoy with these properties does, and unpacks its table.
///
/// # Errors
/// If the filter refuses it.
pub fn read_configuration(text: &str, defaults: &Defaults<'_>) -> Result<Box<wire::Config>, FieldErrors> {
    let wire = wire::Config::read(text.as_bytes())?;
    // Rules that need the whole configuration.
    Config::from_wire(wire.clone(), defaults)?;
    Ok(Box::new(wire))
}

/// The configuration of the byname filter below `node`: a StringValue beside its name.
fn string_value(node: &InputNode, field: Field) -> Option<(Field, &str)> {
    if node.get("name").and_then(InputNode::text) == Some("byname")
        && let Some(configuration) = node.get("configuration")
    {
        return Some((field.field("configuration").field("value"), configuration.get("value")?.text()?));
    }
    match &node.value {
        InputValue::List(items) => {
            items.iter().enumerate().find_map(|(index, item)| string_value(item, field.clone().item(index)))
        }
        InputValue::Map(fields) => {
            fields.iter().find_map(|(name, value)| string_value(value, field.clone().field(name)))
        }
        _ => None,
    }
}
