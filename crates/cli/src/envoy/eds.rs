//! Endpoints of upstream clusters in the form in which Envoy discovers them.

use std::net::SocketAddr;

use super::{file::discovery_file, value::socket_address};
use crate::{
    compile::{ClusterEndpoints, UpstreamCluster, UpstreamClusters},
    input::{InputError, InputErrors},
    output::yaml::{Fields, Yaml, fields, map, one_line},
};

/// The files that Envoy discovers endpoints from, each by its name.
///
/// # Errors
/// If endpoints are unknown.
pub fn endpoint_files(clusters: &UpstreamClusters) -> Result<Vec<(String, String)>, InputErrors> {
    let (mut files, mut problems) = (Vec::new(), InputErrors::default());
    for (name, upstream) in &clusters.by_name {
        let UpstreamCluster::Endpoints(endpoints) = upstream else { continue };
        match known(endpoints) {
            Ok(addresses) => {
                files.push((file_name(name), discovery_file("", vec![assignment_resource(name, addresses)])));
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems.or(files)
}

/// The name of a cluster's file. Clusters never share a file: bytes other than letters, digits, `-`, `.` and `_` are
/// percent-encoded.
pub(super) fn file_name(cluster: &str) -> String {
    let mut name = String::new();
    for byte in cluster.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name + ".yaml"
}

pub(super) fn known(endpoints: &ClusterEndpoints) -> Result<&[SocketAddr], InputError> {
    endpoints.addresses.as_deref().ok_or_else(|| {
        let called = format!("{}:{}", endpoints.host, endpoints.port);
        let reason = "has unknown endpoints";
        let fix = "add its EndpointSlices to the input, or use --clusters dns";
        match &endpoints.place {
            Some(place) => InputError::at(place, reason, fix).with_object(called),
            None => InputError::new(&called, reason, fix),
        }
    })
}

/// A `ClusterLoadAssignment` as a resource.
pub(super) fn assignment_resource(name: &str, addresses: &[SocketAddr]) -> Yaml {
    let mut resource = fields! { "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment" };
    resource.extend(assignment(name, addresses));
    Yaml::Map(resource)
}

/// A `ClusterLoadAssignment` with one endpoint per line.
pub(super) fn assignment(name: &str, addresses: &[SocketAddr]) -> Fields {
    let endpoint = |address: &SocketAddr| one_line! { "endpoint": map! { "address": socket_address(*address) } };
    let endpoints: Vec<Yaml> = addresses.iter().map(endpoint).collect();
    fields! {
        "cluster_name": name.to_owned(),
        "endpoints": (!endpoints.is_empty()).then(|| [map! { "lb_endpoints": endpoints }]),
    }
}
