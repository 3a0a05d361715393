//! What an Envoy loads: the filter by itself, its upstream clusters by themselves, or a whole bootstrap with both.
//!
//! The files of `envoy/` in the repository explain the parts; here they are put together for one caller.

mod bootstrap;
mod cluster;
mod file;
mod filter;
mod value;

pub use self::{
    bootstrap::{Bootstrap, Pass, bootstrap},
    cluster::{Discovery, Style, cds, endpoint_files},
    file::check_name,
    filter::{DEFAULT_MODULE, EcdsFilter, FILTER_NAME, ecds},
};
pub(crate) use self::{
    cluster::cluster,
    filter::{dynamic_forward_proxy, wasm},
};
