//! The rows of `tests/vectors/endpoints.json` about usable endpoints. Any other implementation can run them too.

use byname_core::Choice;
use serde_json::{Value, json};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::fixture::{ask, config};

/// The usable endpoints of a row for its caller, and the rule that chose them.
fn usable(row: &Value) -> (Vec<String>, String) {
    let groups: Vec<Value> = row["endpoints"].as_array().expect("a list").iter().map(group).collect();
    let mut service = json!({"ports": [{"name": "http", "port": 80}], "endpoints": groups});
    let fields =
        ["internalTrafficPolicy", "publishNotReadyAddresses", "trafficDistribution", "ipFamilies", "clusterIPs"];
    for field in fields {
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
    let (choice, endpoints) =
        config.table.get("shop", "web").expect("the Service").usable("http").expect("known endpoints");
    let addresses: Vec<String> = endpoints.map(|endpoint| endpoint.ip().to_string()).collect();
    // A request sees the same endpoints.
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
fn answers_as_every_row_of_the_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/endpoints.json")).expect("JSON");
    let rows = vectors["rows"].as_array().expect("rows");
    assert!(rows.len() > 120, "{} rows", rows.len());
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

/// The same rules applied to random endpoints, one endpoint and one step at a time.
#[cfg(not(target_arch = "wasm32"))]
mod random_endpoints {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::usable;

    fn hint(name: &'static str) -> impl Strategy<Value = (&'static str, Option<Vec<&'static str>>)> {
        let values: &[&str] = if name == "forNodes" { &["n1", "n2"] } else { &["a", "b"] };
        let some = proptest::sample::subsequence(values.to_vec(), 1..=2).prop_map(Some);
        prop_oneof![1 => Just(None), 3 => some].prop_map(move |value| (name, value))
    }

    fn endpoint() -> impl Strategy<Value = Value> {
        let condition = || prop_oneof![2 => Just(None), 2 => Just(Some(true)), 1 => Just(Some(false))];
        let node = prop_oneof![Just(None), Just(Some("n1")), Just(Some("n2"))];
        let zone = prop_oneof![1 => Just(None), 3 => Just(Some("a")), 3 => Just(Some("b"))];
        let ports = prop_oneof![3 => Just(None), 1 => Just(Some(vec!["admin"])), 1 => Just(Some(vec!["http"]))];
        let conditions = (condition(), condition(), condition());
        (conditions, node, zone, ports, hint("forZones"), hint("forNodes"), any::<bool>()).prop_map(
            |((ready, serving, terminating), node, zone, ports, zones, nodes, is_ipv6)| {
                let mut endpoint = json!({"ipv6": is_ipv6});
                let mut set = |name: &str, value: Value| {
                    if !value.is_null() {
                        endpoint[name] = value;
                    }
                };
                set("ready", json!(ready));
                set("serving", json!(serving));
                set("terminating", json!(terminating));
                set("node", json!(node));
                set("zone", json!(zone));
                set("ports", json!(ports));
                set(zones.0, json!(zones.1));
                set(nodes.0, json!(nodes.1));
                endpoint
            },
        )
    }

    /// The families of a Service: its own field, or its cluster IPs.
    fn families() -> impl Strategy<Value = (&'static str, Value)> {
        prop::sample::select(vec![
            ("ipFamilies", json!([])),
            ("ipFamilies", json!(["IPv4", "IPv6"])),
            ("ipFamilies", json!(["IPv6", "IPv4"])),
            ("clusterIPs", json!(["10.96.0.1", "fd00:96::1"])),
            ("clusterIPs", json!(["fd00:96::1"])),
        ])
    }

    fn is(endpoint: &Value, name: &str, absent: bool) -> bool {
        endpoint[name].as_bool().unwrap_or(absent)
    }

    fn ready(row: &Value, endpoint: &Value) -> bool {
        is(endpoint, "ready", true) || row["publishNotReadyAddresses"] == true
    }

    fn names(list: &Value, name: &Value) -> bool {
        list.as_array().is_some_and(|list| list.contains(name))
    }

    fn address(endpoint: &Value) -> &str {
        endpoint["address"].as_str().expect("text")
    }

    /// The endpoints of a row with the hints that `trafficDistribution` gives them.
    fn hinted(row: &Value) -> Vec<Value> {
        let mut endpoints = row["endpoints"].as_array().expect("a list").clone();
        let has_hints = |endpoint: &Value| endpoint["forZones"].is_array() || endpoint["forNodes"].is_array();
        if row["trafficDistribution"].is_null() || endpoints.iter().any(has_hints) {
            return endpoints;
        }
        for endpoint in endpoints.iter_mut().filter(|endpoint| ready(row, endpoint)) {
            if !endpoint["zone"].is_null() {
                endpoint["forZones"] = json!([endpoint["zone"]]);
            }
            if row["trafficDistribution"] == "PreferSameNode" && !endpoint["node"].is_null() {
                endpoint["forNodes"] = json!([endpoint["node"]]);
            }
        }
        endpoints
    }

    fn expected(row: &Value) -> Vec<String> {
        let endpoints = hinted(row);
        let has_port = |endpoint: &&Value| endpoint["ports"].is_null() || names(&endpoint["ports"], &json!("http"));
        let with_port: Vec<&Value> = endpoints.iter().filter(has_port).collect();
        let of_cluster_ip = row["clusterIPs"][0].as_str().filter(|_| row["headless"] != true);
        let first_is_ipv6 = match (row["ipFamilies"][0].as_str(), of_cluster_ip) {
            (Some(family), _) => family == "IPv6",
            (None, Some(address)) => address.contains(':'),
            (None, None) => return of_one_family(row, with_port),
        };
        let (first, other): (Vec<&Value>, Vec<&Value>) =
            with_port.into_iter().partition(|endpoint| address(endpoint).contains(':') == first_is_ipv6);
        let chosen = of_one_family(row, first);
        if chosen.is_empty() { of_one_family(row, other) } else { chosen }
    }

    fn of_one_family(row: &Value, with_port: Vec<&Value>) -> Vec<String> {
        let ready = |endpoint: &Value| ready(row, endpoint);
        let draining = |endpoint: &Value| is(endpoint, "serving", true) && is(endpoint, "terminating", false);
        let or_draining = |these: Vec<&Value>| -> Vec<String> {
            let some_ready = these.iter().any(|endpoint| ready(endpoint));
            let chosen = these.iter().filter(|endpoint| if some_ready { ready(endpoint) } else { draining(endpoint) });
            chosen.map(|endpoint| address(endpoint).to_owned()).collect()
        };
        let (node, zone) = (&row["caller"]["node"], &row["caller"]["zone"]);
        if row["headless"] == true {
            return or_draining(with_port.into_iter().filter(|endpoint| ready(endpoint)).collect());
        }
        if row["internalTrafficPolicy"] == "Local" {
            let is_here = |endpoint: &&Value| !node.is_null() && endpoint["node"] == *node;
            return or_draining(with_port.into_iter().filter(is_here).collect());
        }
        let all_ready: Vec<&Value> = with_port.iter().copied().filter(|endpoint| ready(endpoint)).collect();
        for (hints, mine) in [("forNodes", node), ("forZones", zone)] {
            let all_hinted = all_ready.iter().all(|endpoint| endpoint[hints].is_array());
            let to_me: Vec<&Value> = all_ready.iter().copied().filter(|e| names(&e[hints], mine)).collect();
            if !mine.is_null() && all_hinted && !to_me.is_empty() {
                return or_draining(to_me);
            }
        }
        or_draining(with_port)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn groups_have_the_usable_endpoints_of_their_members(
            mut endpoints in proptest::collection::vec(endpoint(), 0..8),
            local in any::<bool>(),
            headless in prop::bool::weighted(0.3),
            published in prop::bool::weighted(0.3),
            distribution in prop::option::of(prop::sample::select(&["PreferSameZone", "PreferClose", "PreferSameNode"][..])),
            keep_hints in any::<bool>(),
            families in families(),
            node in prop_oneof![Just(None), Just(Some("n1")), Just(Some("n3"))],
            zone in prop_oneof![Just(None), Just(Some("a")), Just(Some("c"))],
        ) {
            for (number, endpoint) in endpoints.iter_mut().enumerate() {
                let fields = endpoint.as_object_mut().expect("an endpoint");
                let is_ipv6 = fields.remove("ipv6") == Some(json!(true));
                let number = number + 1;
                let address = if is_ipv6 { format!("fd00::{number}") } else { format!("10.0.0.{number}") };
                fields.insert("address".into(), json!(address));
                // One of eight random endpoints nearly always has hints, and then none are derived.
                if distribution.is_some() && !keep_hints {
                    fields.retain(|name, _| name != "forZones" && name != "forNodes");
                }
            }
            let mut row = json!({"endpoints": endpoints, "headless": headless, "publishNotReadyAddresses": published,
                "internalTrafficPolicy": if local { "Local" } else { "Cluster" }, "caller": {}});
            row[families.0] = families.1;
            if let Some(distribution) = distribution {
                row["trafficDistribution"] = json!(distribution);
            }
            if let Some(node) = node {
                row["caller"]["node"] = json!(node);
            }
            if let Some(zone) = zone {
                row["caller"]["zone"] = json!(zone);
            }
            let mut expected = expected(&row);
            expected.sort_by_key(|address| (address.contains(':'), address.clone()));
            prop_assert_eq!(usable(&row).0, expected, "{}", row);
        }
    }
}
