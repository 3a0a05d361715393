//! The text of a configuration: without default values, and with one line per Service, so that a diff shows which Services
//! changed.

use byname_core::wire;
use serde::Serialize;
use serde_json::Value;

use crate::output::{
    ascii,
    yaml::{Yaml, fields, serialized},
};

/// The whole configuration as JSON. Equal configurations give equal text.
#[must_use]
pub fn text(config: &wire::Config) -> String {
    let mut text = format!("{{\n  \"version\": {}", config.version);
    for (name, value) in sections(config) {
        text.push_str(&format!(",\n  {}: {}", json(name), json(&value)));
    }
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

/// The whole configuration as a value with the fields of [`text`], in the same order.
pub(crate) fn value(config: &wire::Config) -> Yaml {
    let wire::Table { version, single_machine, services } = &config.table;
    let services = services.iter().map(|(key, service)| (key.clone().into(), serialized(service)));
    let table = fields! {
        "version": serialized(version),
        "singleMachine": single_machine.then_some(true),
        "services": Yaml::Map(services.collect()),
    };
    let mut value = fields! { "version": config.version };
    value.extend(sections(config).into_iter().map(|(name, section)| (name.into(), serialized(&section))));
    value.push(("table".into(), Yaml::Map(table)));
    Yaml::Map(value)
}

/// One Service as JSON.
#[must_use]
pub fn service_text(service: &wire::Service) -> String {
    json(service)
}

/// The sections of a configuration, apart from its table, with the fields that differ from their defaults.
fn sections(config: &wire::Config) -> Vec<(&'static str, Value)> {
    let default = wire::Config::<()>::default();
    let mut sections = Vec::new();
    section(&mut sections, "caller", &config.caller, &default.caller);
    section(&mut sections, "dns", &config.dns, &default.dns);
    section(&mut sections, "steering", &config.steering, &default.steering);
    section(&mut sections, "destinationPort", &config.destination_port, &default.destination_port);
    section(&mut sections, "gateways", &config.gateways, &default.gateways);
    section(&mut sections, "unknownNames", &config.unknown_names, &default.unknown_names);
    section(&mut sections, "externalNames", &config.external_names, &default.external_names);
    section(&mut sections, "fallback", &config.fallback, &default.fallback);
    section(&mut sections, "trace", &config.trace, &default.trace);
    section(&mut sections, "accessLog", &config.access_log, &default.access_log);
    section(&mut sections, "stats", &config.stats, &default.stats);
    sections
}

/// Adds a section with the fields that differ from their defaults, if there are any.
fn section(
    sections: &mut Vec<(&'static str, Value)>,
    name: &'static str,
    value: &impl Serialize,
    default: &impl Serialize,
) {
    let (Ok(value), Ok(default)) = (serde_json::to_value(value), serde_json::to_value(default)) else { return };
    sections.extend(difference(value, &default).map(|value| (name, value)));
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
