//! The text of a configuration: without default values, and with one line per Service, so that a diff shows which Services
//! changed.

use std::collections::BTreeMap;

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
    let services = config.table.services.iter();
    text_with(config, services.map(|(key, service)| (key.as_str(), service_text(service))))
}

/// The text of a configuration with these Services, each as [`service_text`] has it, in place of those of its table. Who writes many
/// configurations with Services of the same table writes each Service once.
pub(crate) fn text_with<'k, T: AsRef<str>>(
    config: &wire::Config,
    services: impl Iterator<Item = (&'k str, T)>,
) -> String {
    let mut services = services.peekable();
    let mut text = format!("{{\n  \"version\": {}", config.version);
    for (name, value) in sections(config) {
        text.push_str(&format!(",\n  {}: {}", json(name), json(&value)));
    }
    if !has_table(config) && services.peek().is_none() {
        text.push_str("\n}\n");
        return text;
    }
    let wire::Table { version, single_machine, packed, .. } = &config.table;
    text.push_str(",\n  \"table\": {\n    \"version\": ");
    text.push_str(&version.to_string());
    if *single_machine {
        text.push_str(",\n    \"singleMachine\": true");
    }
    if let Some(packed) = packed {
        text.push_str(&format!(",\n    \"packed\": {}\n  }}\n}}\n", json(packed)));
        return text;
    }
    text.push_str(",\n    \"services\": {");
    let end = if services.peek().is_none() { "}\n  }\n}\n" } else { "\n    }\n  }\n}\n" };
    for (index, (key, service)) in services.enumerate() {
        text.push_str(if index == 0 { "\n      " } else { ",\n      " });
        text.push_str(&json(key));
        text.push_str(": ");
        text.push_str(service.as_ref());
    }
    text.push_str(end);
    text
}

/// The whole configuration as a value with the fields of [`text`], in the same order.
pub(crate) fn value(config: &wire::Config) -> Yaml {
    let wire::Table { version, single_machine, services, packed } = &config.table;
    let services = services.iter().map(|(key, service)| (key.clone().into(), serialized(service)));
    let table = fields! {
        "version": serialized(version),
        "singleMachine": single_machine.then_some(true),
        "services": packed.is_none().then(|| Yaml::Map(services.collect())),
        "packed": packed.as_ref().map(serialized),
    };
    let mut value = fields! { "version": config.version };
    value.extend(sections(config).into_iter().map(|(name, section)| (name.into(), serialized(&section))));
    if has_table(config) {
        value.push(("table".into(), Yaml::Map(table)));
    }
    Yaml::Map(value)
}

/// Whether the configuration has a table, be it an empty one. A filter that asks a server for Services needs none.
fn has_table(config: &wire::Config) -> bool {
    let wire::Table { version, single_machine, services, packed } = &config.table;
    config.server.is_none() || *single_machine || *version != 0 || !services.is_empty() || packed.is_some()
}

/// `config` with its table in the packed form. Equal tables have equal bytes: the encoder's version is pinned.
#[must_use]
pub fn packed(config: &wire::Config) -> wire::Config {
    let services: Vec<String> =
        config.table.services.iter().map(|(key, service)| format!("{}:{}", json(key), service_text(service))).collect();
    let text = format!("{{{}}}", services.join(","));
    let packed = wire::Packed::new(&text);
    let wire::Table { version, single_machine, .. } = config.table;
    let table = wire::Table { version, single_machine, services: BTreeMap::new(), packed: Some(packed) };
    let mut packed = wire::Config { table, ..config.clone() };
    packed.requires = packed.features();
    packed
}

/// `config` as the last release's modules read it: without the fields that they do not know and that change nothing for them. A module
/// refuses what is left that it does not know, and its last known good configuration serves on.
#[must_use]
pub fn oldest(config: &wire::Config) -> wire::Config {
    wire::Config { minor: None, requires: Vec::new(), ..config.clone() }
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
    section(&mut sections, "minor", &config.minor, &default.minor);
    section(&mut sections, "requires", &config.requires, &default.requires);
    section(&mut sections, "firstConfiguration", &config.first_configuration, &default.first_configuration);
    section(&mut sections, "mode", &config.mode, &default.mode);
    section(&mut sections, "modeExceptions", &config.mode_exceptions, &default.mode_exceptions);
    section(&mut sections, "observePercent", &config.observe_percent, &default.observe_percent);
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
    section(&mut sections, "server", &config.server, &default.server);
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

#[cfg(test)]
mod tests {
    use byname_test_support::mesh_names;

    use super::*;
    use crate::istio::MAX_OBJECT_BYTES;

    /// Services of two ports with the names of a mesh.
    fn names(services: usize) -> wire::Config {
        let port = |name: &str, port| wire::ServicePort { name: name.to_owned(), port, ..wire::ServicePort::default() };
        let service = |(index, (namespace, name)): (usize, (String, String))| {
            let address = format!("10.{}.{}.{}", 96 + index / 65_536, index / 256 % 256, index % 256);
            let service = wire::Service {
                cluster_ips: [&*address].into_iter().collect(),
                ports: vec![port("http", 80), port("grpc", 9090)],
                ..wire::Service::default()
            };
            (format!("{namespace}/{name}"), service)
        };
        let services = mesh_names("shop", services).into_iter().enumerate().map(service).collect();
        let table = wire::Table { services, ..wire::Table::default() };
        wire::Config { version: wire::VERSION, table, ..wire::Config::default() }
    }

    #[test]
    fn an_object_of_kubernetes_holds_75_000_packed_names() {
        let bytes = |config: &wire::Config| value(config).json().to_string().len();
        let (few, many) = (names(10_000), names(75_000));
        assert!(bytes(&packed(&many)) < MAX_OBJECT_BYTES, "{} bytes", bytes(&packed(&many)));
        assert!(bytes(&many) > 5 * MAX_OBJECT_BYTES, "plain it would be {} bytes", bytes(&many));
        let share = bytes(&few) / bytes(&packed(&few));
        assert!(share >= 4, "packed, a table of names takes a {share}th");
        assert_eq!(text(&packed(&few)), text(&packed(&few)), "the same table gives the same bytes");
    }

    #[test]
    fn a_packed_table_holds_the_same_services() {
        let mut plain = names(100);
        let mut unpacked = packed(&plain);
        assert_eq!(unpacked.requires, ["table.packed"]);
        plain.requires.clone_from(&unpacked.requires);
        assert!(unpacked.table.services.is_empty());
        unpacked.unpack().expect("it is whole");
        assert_eq!(text(&unpacked), text(&plain));
    }
}
