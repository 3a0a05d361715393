//! Endpoints of upstream clusters as Envoy discovers them.

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
/// Where endpoints are not known.
pub fn endpoint_files(clusters: &UpstreamClusters) -> Result<Vec<(String, String)>, InputErrors> {
    let (mut files, mut problems) = (Vec::new(), InputErrors::default());
    for (name, upstream) in &clusters.by_name {
        let UpstreamCluster::Endpoints(endpoints) = upstream else { continue };
        match known(endpoints) {
            Ok(addresses) => {
                let mut resource =
                    fields! { "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment" };
                resource.extend(assignment(name, addresses));
                files.push((file_name(name), discovery_file("", vec![Yaml::Map(resource)])));
            }
            Err(problem) => problems.push(problem),
        }
    }
    problems.or(files)
}

/// Two names are never one file: what is not a letter, a digit, `-`, `.` or `_` is written as in a URL.
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
        InputError::new(
            &format!("{}:{}", endpoints.host, endpoints.port),
            "has endpoints that are not known",
            "add endpointslices to what kubectl gets, or say --clusters dns",
        )
    })
}

/// A `ClusterLoadAssignment`, with an endpoint a line.
pub(super) fn assignment(name: &str, addresses: &[SocketAddr]) -> Fields {
    let endpoint = |address: &SocketAddr| one_line! { "endpoint": map! { "address": socket_address(*address) } };
    let endpoints: Vec<Yaml> = addresses.iter().map(endpoint).collect();
    fields! {
        "cluster_name": name.to_owned(),
        "endpoints": (!endpoints.is_empty()).then(|| [map! { "lb_endpoints": endpoints }]),
    }
}
