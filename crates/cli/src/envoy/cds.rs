//! Upstream clusters in the form in which Envoy discovers them.

use super::{
    cluster::{ClusterBuilder, Style},
    file::discovery_file,
};
use crate::{
    compile::UpstreamClusters,
    input::InputErrors,
    output::yaml::{Yaml, fields},
};

/// The file that Envoy discovers the clusters from.
///
/// # Errors
/// If a cluster needs endpoints that are unknown.
pub fn cds(clusters: &UpstreamClusters, style: &Style) -> Result<String, InputErrors> {
    let resource = |cluster| {
        let mut resource = fields! { "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster" };
        resource.extend(cluster);
        Yaml::Map(resource)
    };
    let clusters = ClusterBuilder::sharing(style).all(clusters)?;
    let comment = "The upstream clusters that Envoy discovers, made by `byname compile`.";
    Ok(discovery_file(comment, clusters.into_iter().map(resource).collect()))
}
