//! Tables that a server fills when requests need it, one rule or a few in each file.

mod answers;
mod cluster_ips;
mod connections;
mod keys;
mod messages;
mod names;
mod pushes;
mod steering;
mod timeouts;

use serde_json::{Value, json};

/// A Service with one port and one endpoint.
fn web(address: &str) -> Value {
    json!({"ports": [{"name": "http", "port": 80}], "endpoints": [{"addresses": address}]})
}

/// A Service with a cluster IP.
fn with_ip(cluster_ip: &str) -> Value {
    json!({"clusterIPs": cluster_ip, "ports": [{"name": "http", "port": 80}]})
}

fn alias_of(target: &str) -> Value {
    json!({"type": "ExternalName", "externalName": target})
}
