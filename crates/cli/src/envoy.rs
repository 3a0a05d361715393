//! What an Envoy loads: the filter by itself, its upstream clusters by themselves, or a whole bootstrap with both.
//!
//! The files of `envoy/` in the repository explain the parts; here they are put together for one caller.

mod bootstrap;
mod cds;
mod cluster;
mod eds;
mod file;
mod filter;
mod steered;
mod template;
mod value;

pub use self::{
    bootstrap::{Bootstrap, Pass, bootstrap},
    cds::cds,
    cluster::{Discovery, Style},
    eds::endpoint_files,
    file::check_name,
    filter::{DEFAULT_MODULE, EcdsFilter, FILTER_NAME, ecds},
};
pub(crate) use self::{
    cluster::ClusterBuilder,
    filter::{dynamic_forward_proxy, wasm},
    steered::{header_removal, steered_route},
    value::{extension, typed},
};
