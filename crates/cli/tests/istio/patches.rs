//! Applies an EnvoyFilter as istiod does. Fails on operations that byname's EnvoyFilters do not use.

use serde_json::{Value, json};

/// A sidecar's configuration for one outbound listener.
pub(crate) struct PatchedSidecar {
    pub(crate) connection_manager: Value,
    pub(crate) routes: Value,
    pub(crate) clusters: Vec<Value>,
}

impl PatchedSidecar {
    pub(crate) fn apply(&mut self, envoy_filter: &Value) {
        for patch in envoy_filter["spec"]["configPatches"].as_array().expect("patches") {
            assert_eq!(patch["match"]["context"], "SIDECAR_OUTBOUND", "{patch}");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (kind, operation) = (text(&patch["applyTo"]), text(&patch["patch"]["operation"]));
            let value = patch["patch"]["value"].clone();
            let filter = &patch["match"]["listener"]["filterChain"]["filter"];
            match (&*kind, &*operation) {
                ("NETWORK_FILTER", "MERGE") => {
                    assert_eq!(filter["name"], "envoy.filters.network.http_connection_manager");
                    merge(&mut self.connection_manager, value["typed_config"].clone());
                }
                ("HTTP_FILTER", "INSERT_FIRST") => self.filters().insert(0, value),
                ("HTTP_FILTER", "INSERT_BEFORE") => {
                    let wanted = &filter["subFilter"]["name"];
                    let at = self.filters().iter().position(|one| one["name"] == *wanted);
                    self.filters().insert(at.expect("a filter of that name"), value);
                }
                // A patch without a match on virtual host or route goes first into every virtual host.
                ("HTTP_ROUTE", "INSERT_FIRST") => {
                    assert_eq!(patch["match"]["routeConfiguration"], Value::Null, "{patch}");
                    for host in self.routes["virtual_hosts"].as_array_mut().expect("virtual hosts") {
                        host["routes"].as_array_mut().expect("routes").insert(0, value.clone());
                    }
                }
                ("CLUSTER", "ADD") => self.clusters.push(value),
                other => panic!("{other:?} is not supported here"),
            }
        }
    }

    fn filters(&mut self) -> &mut Vec<Value> {
        self.connection_manager["http_filters"].as_array_mut().expect("filters")
    }
}

/// Merges as Protobuf does: lists grow, and single values are replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (field, value) in from {
                merge(into.entry(field).or_insert(json!(null)), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from),
        (into, from) => *into = from,
    }
}
