//! The memory that a table takes in each sidecar.

use std::collections::BTreeSet;

use super::{facts::ClusterFacts, verdict::Verdict};
use crate::output::count;

const TOPIC: &str = "memory";
/// Bytes of a packed table that Envoy keeps for each name and listener: examples/istio has the measurement (134 MB for 10,000 names and
/// 131 listeners).
const BYTES: u64 = 102;
/// More than this is worth a thought.
const MUCH: u64 = 100 << 20;

pub(super) fn verdict(facts: &ClusterFacts) -> Verdict {
    let names = facts.cluster.services.len();
    let has_istio =
        facts.pods.values().any(|pod| pod.containers.iter().any(|container| container.name == "istio-proxy"));
    // Istio makes a listener for each port number that Services have. Other sidecars have one.
    let ports =
        facts.cluster.service_views().flat_map(|service| service.ports().map(|port| port.number).collect::<Vec<_>>());
    let listeners = if has_istio { ports.collect::<BTreeSet<_>>().len().max(1) } else { 1 };
    let bytes = BYTES * names as u64 * listeners as u64;
    let size = match bytes {
        0..1_048_576 => "less than 1 MB".to_owned(),
        more => format!("about {} MB", more >> 20),
    };
    let of = format!(
        "{} × {}: {size} in each sidecar for the packed table",
        count(names, "name", "names"),
        count(listeners, "outbound listener", "outbound listeners")
    );
    match bytes > MUCH {
        true => Verdict::warn(
            TOPIC,
            format!("{of}; limit the namespaces with --visible, or listeners with a Sidecar object"),
        ),
        false => Verdict::ok(TOPIC, of),
    }
}
