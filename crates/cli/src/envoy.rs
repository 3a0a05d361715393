//! What an Envoy loads: the filter by itself, its upstream clusters by themselves, or a whole bootstrap with both.
//!
//! The files of `envoy/` in the repository explain the parts; here they are put together for one caller.

mod bootstrap;
mod cluster;
mod filter;

use std::net::SocketAddr;

pub use self::{
    bootstrap::{Bootstrap, Pass, bootstrap},
    cluster::{Discovery, Style, cds, endpoint_files},
    filter::{DEFAULT_MODULE, FILTER_NAME, Filter, ecds},
};
pub(crate) use self::{
    cluster::cluster,
    filter::{dynamic_forward_proxy, wasm},
};
use crate::fill::quoted;

/// Tells this version of a file from others, for Envoy's admin interface.
fn version(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

fn socket_address(address: SocketAddr) -> String {
    format!("{{socket_address: {{address: {}, port_value: {}}}}}", quoted(&address.ip().to_string()), address.port())
}
