//! Which endpoints may serve, by the rows of `tests/vectors/endpoints.json`, which any other implementation can run too.

use byname_core::Choice;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::world::{ask, config};

/// The Service of a row as the wire form has it, asked by the row's caller: what may serve, and why.
fn usable(row: &Value) -> (Vec<String>, String) {
    let groups: Vec<Value> = row["endpoints"].as_array().expect("a list").iter().map(group).collect();
    let mut service = json!({"ports": [{"name": "http", "port": 80}], "endpoints": groups});
    for field in ["internalTrafficPolicy", "publishNotReadyAddresses"] {
        if let Some(value) = row.get(field) {
            service[field] = value.clone();
        }
    }
    if row["headless"] == true {
        service["clusterIPs"] = json!("None");
    }
    let mut caller = row.get("caller").cloned().unwrap_or_else(|| json!({"node": "n1", "zone": "a"}));
    caller["namespace"] = json!("shop");
    let config = config(json!({"caller": caller, "table": {"services": {"shop/web": service}}}));
    let (choice, addresses) = config.table.get("shop", "web").expect("it is there").usable("http").expect("known");
    let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
    // What may serve is what a request sees.
    let exists = ask(&config, "web") != "pass name_not_found";
    assert!(!exists || (ask(&config, "web") == "refuse no_endpoints") == addresses.is_empty(), "{row}");
    (addresses, name(choice).to_owned())
}

fn group(endpoint: &Value) -> Value {
    let mut group = endpoint.clone();
    let fields = group.as_object_mut().expect("an endpoint");
    let address = fields.remove("address").expect("an address");
    fields.insert("addresses".into(), json!([address]));
    if let Some(ports) = fields.remove("ports") {
        let names = ports.as_array().expect("names of ports").iter();
        let ports = names.map(|name| (name.as_str().expect("a name").to_owned(), json!(8080))).collect();
        fields.insert("ports".into(), Value::Object(ports));
    }
    group
}

fn name(choice: Choice) -> &'static str {
    match choice {
        Choice::Ready => "ready",
        Choice::SameNode => "sameNode",
        Choice::SameZone => "sameZone",
        Choice::Terminating => "terminating",
        Choice::Local => "local",
        Choice::LocalTerminating => "localTerminating",
        Choice::NodeUnknown => "nodeUnknown",
    }
}

#[test]
fn every_row_of_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/endpoints.json")).expect("JSON");
    let rows = vectors["rows"].as_array().expect("rows");
    assert!(rows.len() > 50, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| {
            let (addresses, choice) = usable(row);
            let is = json!({"usable": addresses, "choice": choice});
            let should = json!({"usable": row["usable"], "choice": row["choice"]});
            (is != should).then(|| format!("{}: {is}, not {should}", row["shows"]))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The same rules once more, endpoint by endpoint and step by step, against random endpoints.
#[cfg(not(target_arch = "wasm32"))]
mod naive {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::usable;

    fn hint(name: &'static str) -> impl Strategy<Value = (&'static str, Option<Vec<&'static str>>)> {
        let values: &[&str] = if name == "forNodes" { &["n1", "n2"] } else { &["a", "b"] };
        let some = proptest::sample::subsequence(values.to_vec(), 1..=2).prop_map(Some);
        prop_oneof![1 => Just(None), 3 => some].prop_map(move |value| (name, value))
    }

    fn endpoint() -> impl Strategy<Value = Value> {
        let condition = || prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
        let node = prop_oneof![Just(None), Just(Some("n1")), Just(Some("n2"))];
        let ports = prop_oneof![3 => Just(None), 1 => Just(Some(vec!["admin"])), 1 => Just(Some(vec!["http"]))];
        (condition(), condition(), condition(), node, ports, hint("forZones"), hint("forNodes")).prop_map(
            |(ready, serving, terminating, node, ports, zones, nodes)| {
                let mut endpoint = json!({});
                let mut set = |name: &str, value: Value| {
                    if !value.is_null() {
                        endpoint[name] = value;
                    }
                };
                set("ready", json!(ready));
                set("serving", json!(serving));
                set("terminating", json!(terminating));
                set("node", json!(node));
                set("ports", json!(ports));
                set(zones.0, json!(zones.1));
                set(nodes.0, json!(nodes.1));
                endpoint
            },
        )
    }

    fn expected(row: &Value) -> Vec<String> {
        let is = |endpoint: &Value, name: &str, absent: bool| endpoint[name].as_bool().unwrap_or(absent);
        let names = |value: &Value, name: &Value| value.as_array().is_some_and(|list| list.contains(name));
        let published = row["publishNotReadyAddresses"] == true;
        let with_port: Vec<&Value> = row["endpoints"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|endpoint| endpoint["ports"].is_null() || names(&endpoint["ports"], &json!("http")))
            .collect();
        let ready = |endpoint: &Value| is(endpoint, "ready", true) || published;
        let draining = |endpoint: &Value| is(endpoint, "serving", true) && is(endpoint, "terminating", false);
        let or_draining = |these: Vec<&Value>| -> Vec<String> {
            let some_ready = these.iter().any(|endpoint| ready(endpoint));
            let chosen = these.iter().filter(|endpoint| if some_ready { ready(endpoint) } else { draining(endpoint) });
            chosen.map(|endpoint| endpoint["address"].as_str().expect("text").to_owned()).collect()
        };
        let (node, zone) = (&row["caller"]["node"], &row["caller"]["zone"]);
        if row["headless"] == true {
            return or_draining(with_port.into_iter().filter(|endpoint| ready(endpoint)).collect());
        }
        if row["internalTrafficPolicy"] == "Local" && !node.is_null() {
            return or_draining(with_port.into_iter().filter(|endpoint| endpoint["node"] == *node).collect());
        }
        let all_ready: Vec<&Value> = with_port.iter().copied().filter(|endpoint| ready(endpoint)).collect();
        if row["internalTrafficPolicy"] != "Local" {
            for (hints, mine) in [("forNodes", node), ("forZones", zone)] {
                let all_hinted = all_ready.iter().all(|endpoint| endpoint[hints].is_array());
                let to_me: Vec<&Value> = all_ready.iter().copied().filter(|e| names(&e[hints], mine)).collect();
                if !mine.is_null() && all_hinted && !to_me.is_empty() {
                    return or_draining(to_me);
                }
            }
        }
        or_draining(with_port)
    }

    proptest! {
        #[test]
        fn the_groups_serve_as_their_endpoints_would(
            mut endpoints in proptest::collection::vec(endpoint(), 0..8),
            local in any::<bool>(),
            headless in any::<bool>(),
            published in any::<bool>(),
            node in prop_oneof![Just(None), Just(Some("n1")), Just(Some("n3"))],
            zone in prop_oneof![Just(None), Just(Some("a")), Just(Some("c"))],
        ) {
            for (number, endpoint) in endpoints.iter_mut().enumerate() {
                endpoint["address"] = json!(format!("10.0.0.{}", number + 1));
            }
            let mut row = json!({"endpoints": endpoints, "headless": headless, "publishNotReadyAddresses": published,
                "internalTrafficPolicy": if local { "Local" } else { "Cluster" }, "caller": {}});
            if let Some(node) = node {
                row["caller"]["node"] = json!(node);
            }
            if let Some(zone) = zone {
                row["caller"]["zone"] = json!(zone);
            }
            prop_assert_eq!(usable(&row).0, expected(&row), "{}", row);
        }
    }
}
