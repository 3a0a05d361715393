//! Resources as a control plane pushes them: in protobuf, with the same bytes for the same content.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    cds::cluster_resource,
    cluster::{ClusterBuilder, Discovery, Style},
    eds::assignment_resource,
    filter::{EcdsFilter, filter_resource},
    protobuf::encode,
};
use crate::{compile::UpstreamCluster, output::yaml::Yaml};

/// Makes resources for all Envoys.
#[derive(Clone, Debug)]
pub(crate) struct PushedResources {
    filter: EcdsFilter,
    style: Style,
}

impl PushedResources {
    /// The filter is pushed under its name, and Envoy trusts the CA certificates of `ca_file`.
    pub(crate) fn new(filter: EcdsFilter, ca_file: PathBuf) -> Self {
        Self { filter, style: Style { discovery: Discovery::Ads, eds_directory: PathBuf::new(), ca_file } }
    }

    /// The name of the filter's resource.
    pub(crate) fn filter_name(&self) -> &str {
        &self.filter.name
    }

    /// The filter with its configuration in JSON: a `TypedExtensionConfig`.
    pub(crate) fn filter(&self, json: &str) -> anyhow::Result<Vec<u8>> {
        bytes(&filter_resource(json, &self.filter))
    }

    /// A `Cluster` whose endpoints are pushed too.
    pub(crate) fn cluster(&self, name: &str, upstream: &UpstreamCluster) -> anyhow::Result<Vec<u8>> {
        bytes(&cluster_resource(ClusterBuilder::new(&self.style).cluster(name, upstream)?))
    }

    /// A `ClusterLoadAssignment`.
    pub(crate) fn assignment(&self, name: &str, addresses: &[SocketAddr]) -> anyhow::Result<Vec<u8>> {
        bytes(&assignment_resource(name, addresses))
    }
}

fn bytes(resource: &Yaml) -> anyhow::Result<Vec<u8>> {
    let (_, bytes) = encode(resource)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use byname_core::UpstreamProtocol;

    use super::*;
    use crate::compile::ClusterEndpoints;

    /// A field that a cluster gets has its place in `message.rs`.
    #[test]
    fn encodes_every_kind_of_cluster() {
        let make = PushedResources::new(EcdsFilter::default(), "/ca.pem".into());
        let endpoints = |spoken| {
            UpstreamCluster::Endpoints(ClusterEndpoints {
                host: "web.shop.svc.cluster.local".to_owned(),
                port: 80,
                subset: String::new(),
                spoken,
                headless: false,
                addresses: None,
                place: None,
            })
        };
        let external = |tls| UpstreamCluster::External { host: "example.com".to_owned(), port: 443, tls };
        let mut all = vec![
            external(true),
            external(false),
            UpstreamCluster::DynamicForwardProxy { tls: true },
            UpstreamCluster::DynamicForwardProxy { tls: false },
            UpstreamCluster::Passthrough,
        ];
        for spoken in [UpstreamProtocol::AsClient, UpstreamProtocol::Http2, UpstreamProtocol::Tls] {
            all.extend([endpoints(spoken), UpstreamCluster::OriginalDst(spoken)]);
        }
        for upstream in all {
            let bytes = make.cluster("name", &upstream).unwrap_or_else(|error| panic!("{upstream}: {error}"));
            assert!(bytes.starts_with(b"\x0a\x04name"), "{upstream}");
        }
        make.filter("{}").unwrap();
        make.assignment("name", &["10.0.0.1:80".parse().unwrap(), "[fd00::1]:80".parse().unwrap()]).unwrap();
    }
}
