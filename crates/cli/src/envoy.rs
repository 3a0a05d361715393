//! What an Envoy loads: the filter by itself, its upstream clusters by themselves, or a whole bootstrap with both.
//!
//! The files of `envoy/` in the repository explain the parts; here they are put together for one caller.

mod bootstrap;
mod cluster;
mod filter;

use std::{net::SocketAddr, path::Path};

pub use self::{
    bootstrap::{Bootstrap, Pass, bootstrap},
    cluster::{Discovery, Style, cds, endpoint_files},
    filter::{DEFAULT_MODULE, FILTER_NAME, Filter, ecds},
};
pub(crate) use self::{
    cluster::cluster,
    filter::{dynamic_forward_proxy, wasm},
};
use crate::{fill::quoted, input::Problem};

/// Envoy reads a file by what its name ends in, and takes one without such an end for something else.
///
/// # Errors
/// Where it would not read `file` as YAML.
pub fn check_name(file: &Path) -> Result<(), Problem> {
    let is_yaml = file.extension().is_some_and(|end| end == "yaml" || end == "yml");
    // A pipe or a device is not what Envoy reads in the end.
    let is_file = std::fs::metadata(file).map_or(true, |there| there.is_file());
    match is_yaml || !is_file {
        true => Ok(()),
        false => {
            let reason = "would not be read by Envoy, which knows YAML by the end of the name";
            Err(Problem::new(&file.display().to_string(), reason, "call it .yaml"))
        }
    }
}

/// Tells this version of a file from others, for Envoy's admin interface.
fn version(text: &str) -> String {
    format!("{:08x}", crc32fast::hash(text.as_bytes()))
}

fn socket_address(address: SocketAddr) -> String {
    format!("{{socket_address: {{address: {}, port_value: {}}}}}", quoted(&address.ip().to_string()), address.port())
}
