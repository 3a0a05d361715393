//! The configuration that Envoy loads: the filter alone, its upstream clusters alone, or a bootstrap with both.
//!
//! The files in `envoy/` explain the parts. This module puts the parts together for one caller.

mod bootstrap;
mod cds;
mod cluster;
mod credentials;
mod eds;
mod file;
mod filter;
mod message;
mod module;
mod protobuf;
mod pushed;
mod server;
mod steered;
mod template;
mod value;

pub use self::{
    bootstrap::{Bootstrap, Pass, bootstrap},
    cds::cds,
    cluster::{DEFAULT_CA_FILE, Discovery, Style},
    credentials::{ClientCertificate, Credentials},
    eds::endpoint_files,
    file::check_name,
    filter::{DEFAULT_MODULE, EcdsFilter, FILTER_NAME, ecds},
    module::schema_of,
    server::{SERVER_CLUSTER, Server, ServerAddress, WhenNoServer},
};
pub(crate) use self::{
    cluster::ClusterBuilder,
    filter::{Capabilities, dynamic_forward_proxy, wasm},
    pushed::PushedResources,
    steered::{early_header_mutations, steered_route},
    value::{extension, typed},
};
