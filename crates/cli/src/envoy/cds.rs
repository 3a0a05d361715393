//! Upstream clusters in the form in which Envoy discovers them.

use super::{
    cluster::{ClusterBuilder, Style},
    file::discovery_file,
};
use crate::{
    compile::UpstreamClusters,
    input::InputErrors,
    output::yaml::{Fields, Yaml, fields},
};

/// The file that Envoy discovers the clusters from.
///
/// # Errors
/// If a cluster needs endpoints that are unknown.
pub fn cds(clusters: &UpstreamClusters, style: &Style) -> Result<String, InputErrors> {
    let clusters = ClusterBuilder::sharing(style).all(clusters)?;
    let comment = "The upstream clusters that Envoy discovers, made by `byname compile`.";
    Ok(discovery_file(comment, clusters.into_iter().map(cluster_resource).collect()))
}

/// A cluster as a resource.
pub(super) fn cluster_resource(cluster: Fields) -> Yaml {
    let mut resource = fields! { "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster" };
    resource.extend(cluster);
    Yaml::Map(resource)
}
