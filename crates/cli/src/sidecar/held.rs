//! byname's configuration in the configuration that an Envoy holds.

use std::{borrow::Cow, collections::BTreeMap};

use byname_core::{Defaults, wire};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{compile, istio};

/// A configuration that Envoy holds, and what its own reader says of it. Envoy holds the last one that it was sent, even if the filter
/// refused it and serves an older one.
#[derive(Clone, Debug)]
pub struct HeldConfiguration {
    /// The configuration with its table unpacked, or every reason why the filter refuses it.
    pub read: Result<Box<wire::Config>, Vec<String>>,
    /// When Envoy got it, in RFC 3339; empty if Envoy does not say.
    pub updated: String,
}

/// What Envoy says of its own node, by which the filter knows its caller.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) namespace: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) node: Option<String>,
    pub(super) id: Option<String>,
}

impl Node {
    /// Reads the `node` of `/server_info`.
    pub(super) fn of(info: &Value) -> Self {
        let text =
            |path: &str| info.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            namespace: text("/node/metadata/NAMESPACE"),
            zone: text("/node/locality/zone"),
            node: text("/node/metadata/NODE_NAME"),
            id: text("/node/id"),
        }
    }

    pub(super) fn defaults(&self) -> Defaults<'_> {
        Defaults {
            namespace: self.namespace.as_deref(),
            zone: self.zone.as_deref(),
            node: self.node.as_deref(),
            id: self.id.as_deref(),
        }
    }
}

impl HeldConfiguration {
    /// The configuration in an answer of `/config_dump`, read for a filter on `node`; `None` if the answer has none. A filter that Envoy
    /// discovers counts before the one that stands in a listener, which may be its default.
    pub(super) fn find(dump: &Value, node: &Node) -> Option<Self> {
        let configs = dump.get("configs").and_then(Value::as_array)?;
        let kind = |config: &Value| config.get("@type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (discovered, others): (Vec<&Value>, Vec<&Value>) =
            configs.iter().partition(|config| kind(config).contains("Ecds"));
        // Listeners that Envoy got from a control plane count before those of its bootstrap.
        let (bootstrap, others): (Vec<&Value>, Vec<&Value>) =
            others.into_iter().partition(|config| kind(config).contains("Bootstrap"));
        discovered.into_iter().chain(others).chain(bootstrap).find_map(|config| find(config, "", node))
    }

    /// The configuration, if the filter takes it.
    #[must_use]
    pub fn wire(&self) -> Option<&wire::Config> {
        self.read.as_deref().ok()
    }

    /// Whether `byname serve` pushed the configuration, so that Envoy's own clusters have the endpoints.
    #[must_use]
    pub fn is_pushed(&self) -> bool {
        self.wire().is_some_and(|wire| compile::is_pushed(&wire.table))
    }

    /// The server that the filter asks for Services, by its Envoy cluster, if the filter takes the configuration. Envoy does not show
    /// what the server answers.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        Some(&self.wire()?.server.as_ref()?.cluster)
    }
}

/// The first configuration of byname below `value`, which was updated at `updated` unless something inside says otherwise.
fn find(value: &Value, updated: &str, node: &Node) -> Option<HeldConfiguration> {
    match value {
        Value::Object(fields) => {
            let updated = fields.get("last_updated").and_then(Value::as_str).unwrap_or(updated);
            if let Some(text) = fields.get("configuration").and_then(own_configuration) {
                return Some(HeldConfiguration { read: read(&text, node), updated: updated.to_owned() });
            }
            fields.values().find_map(|value| find(value, updated, node))
        }
        Value::Array(items) => items.iter().find_map(|value| find(value, updated, node)),
        _ => None,
    }
}

/// The text of byname's configuration in the field `configuration` of a plugin: a StringValue, or a Struct.
fn own_configuration(configuration: &Value) -> Option<Cow<'_, str>> {
    let text: Cow<'_, str> = match configuration.get("value")? {
        Value::String(text) => text.into(),
        value => value.to_string().into(),
    };
    // The names of the fields alone: a table may be large.
    let fields: BTreeMap<Cow<'_, str>, IgnoredAny> = serde_json::from_str(&text).ok()?;
    istio::is_own_configuration(|field| fields.contains_key(field)).then_some(text)
}

fn read(text: &str, node: &Node) -> Result<Box<wire::Config>, Vec<String>> {
    istio::read_configuration(text, &node.defaults()).map_err(|refused| {
        let more = refused.count() - refused.listed().len();
        let more = (more > 0).then(|| format!("and {more} more"));
        refused.listed().iter().map(ToString::to_string).chain(more).collect()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plugin(configuration: &str) -> Value {
        json!({"config": {"name": "x", "configuration": {"@type": "…StringValue", "value": configuration}}})
    }

    #[test]
    fn a_discovered_filter_counts_before_its_default() {
        let table =
            |version: u64| json!({"version": 1, "caller": {"namespace": "shop"}, "table": {"version": version}});
        let dump = json!({"configs": [
            {"@type": "BootstrapConfigDump", "bootstrap": plugin(&table(1).to_string())},
            {"@type": "ListenersConfigDump", "listeners": [plugin("{\"other\": 1}"), plugin("no JSON")]},
            {"@type": "EcdsConfigDump", "ecds_filters": [{"last_updated": "then", "ecds_filter": plugin(&table(2).to_string())}]},
        ]});
        let held = HeldConfiguration::find(&dump, &Node::default()).unwrap();
        assert_eq!((held.wire().unwrap().table.version, held.updated.as_str()), (2, "then"));
        assert!(HeldConfiguration::find(&json!({"configs": [plugin("{}")]}), &Node::default()).is_none());
    }

    #[test]
    fn a_configuration_has_a_table_or_a_server() {
        let find = |configuration: Value| {
            let held =
                HeldConfiguration::find(&json!({"configs": [plugin(&configuration.to_string())]}), &Node::default());
            held.map(|held| held.server().map(str::to_owned))
        };
        let server = json!({"cluster": "byname-server"});
        let caller = json!({"namespace": "shop"});
        assert_eq!(
            find(json!({"version": 1, "caller": caller, "server": server})),
            Some(Some("byname-server".to_owned()))
        );
        assert_eq!(find(json!({"version": 1, "caller": caller, "table": {}})), Some(None));
        // Other plugins.
        assert_eq!(find(json!({"version": 1, "caller": caller})), None);
        assert_eq!(find(json!({"server": server, "table": {}})), None);
        // A Struct, which has no text.
        let value = json!({"version": 1, "caller": caller, "server": server});
        let dump = json!({"configs": [{"configuration": {"@type": "…Struct", "value": value}}]});
        assert!(HeldConfiguration::find(&dump, &Node::default()).unwrap().server().is_some());
    }

    #[test]
    fn a_refused_configuration_says_why() {
        let refused = json!({"version": 99, "table": {}}).to_string();
        let held = HeldConfiguration::find(&json!({"configs": [plugin(&refused)]}), &Node::default()).unwrap();
        assert!(held.read.unwrap_err()[0].starts_with("version: "));
    }
}
