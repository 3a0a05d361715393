//! Values in YAML that several parts of Envoy's configuration have.

use std::{net::SocketAddr, path::Path};

use crate::fill::quoted;

pub(super) fn socket_address(address: SocketAddr) -> String {
    format!("{{socket_address: {{address: {}, port_value: {}}}}}", quoted(&address.ip().to_string()), address.port())
}

pub(super) fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}
