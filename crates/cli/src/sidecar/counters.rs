//! The statistics of byname's filter in one Envoy.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// The filter's own counters and gauges.
const OWN: &str = "wasmcustom.byname.";
const REASON: &str = "wasmcustom.byname.reason.";
const DISCOVERY: &str = "extension_config_discovery.http_filter.";

/// The statistics of byname's filter in one Envoy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// The filter's own counters and gauges, without those of reasons.
    pub own: BTreeMap<String, u64>,
    /// Requests by the reason of their decision; reasons without a request are left out.
    pub reasons: BTreeMap<String, u64>,
    /// Pushes that Envoy refused, of any filter that it discovers under a name with `byname`.
    pub rejected: u64,
    /// When Envoy last accepted a push, in milliseconds since 1970; 0 if no push was discovered.
    pub accepted_at: u64,
    /// Times that the module crashed and was loaded again.
    pub reloads: u64,
}

impl Counters {
    /// Reads the answer to `/stats?format=json`.
    #[must_use]
    pub fn read(answer: &str) -> Self {
        let stats: Value = serde_json::from_str(answer).unwrap_or_default();
        let mut counters = Self::default();
        for stat in stats.get("stats").and_then(Value::as_array).into_iter().flatten() {
            let name = stat.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some(value) = stat.get("value").and_then(Value::as_u64) else { continue };
            if let Some(reason) = name.strip_prefix(REASON) {
                if value > 0 {
                    counters.reasons.insert(reason.to_owned(), value);
                }
            } else if let Some(own) = name.strip_prefix(OWN) {
                counters.own.insert(own.to_owned(), value);
            } else if name.starts_with(DISCOVERY) && name.ends_with(".update_rejected") {
                counters.rejected += value;
            } else if name.starts_with(DISCOVERY) && name.ends_with(".update_time") {
                counters.accepted_at = counters.accepted_at.max(value);
            } else if name.starts_with("wasm.") && name.ends_with(".vm_reload_success") {
                counters.reloads += value;
            }
        }
        counters
    }

    /// Requests that byname observed, by what would be different.
    #[must_use]
    pub fn observed(&self) -> BTreeMap<&str, u64> {
        let mut by_difference = BTreeMap::new();
        for (name, value) in self.own.iter().filter(|(_, value)| **value > 0) {
            if let Some((difference, _)) = name.strip_prefix("observed.").and_then(|name| name.split_once('.')) {
                *by_difference.entry(difference).or_default() += value;
            }
        }
        by_difference
    }

    /// A counter or gauge of the filter; `None` if Envoy has no filter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.own.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_other_filters_are_not_read() {
        let counters = Counters::read(
            r#"{"stats": [
                {"name": "wasmcustom.byname.table.version", "value": 7},
                {"name": "wasmcustom.byname.reason.alias", "value": 2},
                {"name": "wasmcustom.byname.reason.pod", "value": 0},
                {"name": "wasmcustom.byname.observed.host.alias", "value": 2},
                {"name": "wasmcustom.byname.observed.host.service", "value": 3},
                {"name": "wasmcustom.byname.observed.none.name_not_found", "value": 1},
                {"name": "wasmcustom.byname.observed.refused.alias_denied", "value": 0},
                {"name": "wasmcustom.other.requests", "value": 9},
                {"name": "extension_config_discovery.http_filter.byname.update_rejected", "value": 1},
                {"name": "extension_config_discovery.http_filter.byname.version_text", "value": "a0"},
                {"name": "wasm.byname.vm_reload_success", "value": 3}, {"histograms": {}}
            ]}"#,
        );
        assert_eq!(counters.get("table.version"), Some(7));
        assert_eq!(counters.reasons, [("alias".to_owned(), 2)].into());
        assert_eq!((counters.own.len(), counters.rejected, counters.reloads), (5, 1, 3));
        assert_eq!(counters.observed(), [("host", 5), ("none", 1)].into());
        assert_eq!(Counters::read("not JSON"), Counters::default());
    }
}
