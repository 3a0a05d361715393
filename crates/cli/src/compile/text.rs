//! The text of a configuration: without default values, and with one line per Service, so that a diff shows which Services
//! changed.

use byname_core::wire;
use serde::Serialize;
use serde_json::Value;

use crate::output::ascii;

/// The whole configuration as JSON. Equal configurations give equal text.
#[must_use]
pub fn text(config: &wire::Config) -> String {
    let default = wire::Config::<()>::default();
    let mut text = format!("{{\n  \"version\": {}", config.version);
    section(&mut text, "caller", &config.caller, &default.caller);
    section(&mut text, "dns", &config.dns, &default.dns);
    section(&mut text, "steering", &config.steering, &default.steering);
    section(&mut text, "unknownNames", &config.unknown_names, &default.unknown_names);
    section(&mut text, "externalNames", &config.external_names, &default.external_names);
    section(&mut text, "fallback", &config.fallback, &default.fallback);
    section(&mut text, "trace", &config.trace, &default.trace);
    section(&mut text, "accessLog", &config.access_log, &default.access_log);
    section(&mut text, "stats", &config.stats, &default.stats);
    let wire::Table { version, single_machine, services } = &config.table;
    text.push_str(",\n  \"table\": {\n    \"version\": ");
    text.push_str(&version.to_string());
    if *single_machine {
        text.push_str(",\n    \"singleMachine\": true");
    }
    text.push_str(",\n    \"services\": {");
    for (index, (key, service)) in services.iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&format!("      {}: {}", json(key), service_text(service)));
    }
    text.push_str(if services.is_empty() { "}\n  }\n}\n" } else { "\n    }\n  }\n}\n" });
    text
}

/// One Service as JSON.
#[must_use]
pub fn service_text(service: &wire::Service) -> String {
    json(service)
}

/// Writes the fields of a section that differ from their defaults.
fn section(text: &mut String, name: &str, value: &impl Serialize, default: &impl Serialize) {
    let (Ok(value), Ok(default)) = (serde_json::to_value(value), serde_json::to_value(default)) else { return };
    if let Some(value) = difference(value, &default) {
        text.push_str(&format!(",\n  {}: {}", json(name), json(&value)));
    }
}

/// `value` without the fields that equal `default`; `None` if no field is left.
fn difference(value: Value, default: &Value) -> Option<Value> {
    match (value, default) {
        (value, default) if value == *default => None,
        (Value::Object(fields), Value::Object(defaults)) => {
            let fields = fields.into_iter().filter_map(|(name, value)| match defaults.get(&name) {
                Some(default) => Some((name, difference(value, default)?)),
                None => Some((name, value)),
            });
            Some(Value::Object(fields.collect()))
        }
        (value, _) => Some(value),
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // JSON can hold every structure, list and string of a configuration.
    ascii(&serde_json::to_string(value).unwrap_or_default())
}
