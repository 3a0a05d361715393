//! Values that several parts of Envoy's configuration share.

use std::{net::SocketAddr, path::Path};

use crate::output::{
    directory_of,
    yaml::{Fields, Yaml, map, one_line},
};

/// The configuration of an extension: its fields after its type.
macro_rules! typed {
    ($type:literal $(, $key:literal: $value:expr)* $(,)?) => {
        $crate::output::yaml::map! {
            "@type": concat!("type.googleapis.com/", $type),
            $($key: $value),*
        }
    };
}

pub(crate) use typed;

/// An extension by its name, with its configuration.
pub(crate) fn extension(name: &'static str, config: Yaml) -> Yaml {
    map! { "name": name, "typed_config": config }
}

/// The address and port of an endpoint or a listener.
pub(super) fn address(host: String, port: u16) -> Yaml {
    one_line! { "socket_address": map! { "address": host, "port_value": u32::from(port) } }
}

pub(super) fn socket_address(address_and_port: SocketAddr) -> Yaml {
    address(address_and_port.ip().to_string(), address_and_port.port())
}

pub(super) fn path(path: &Path) -> Yaml {
    path.to_string_lossy().into_owned().into()
}

/// A file that Envoy watches through its directory: Kubernetes updates a ConfigMap's files through a symbolic link beside them.
pub(super) fn watched(file: &Path) -> Yaml {
    watched_in(file, directory_of(file))
}

pub(super) fn watched_in(file: &Path, directory: &Path) -> Yaml {
    map! {
        "resource_api_version": "V3",
        "path_config_source": one_line! { "path": path(file), "watched_directory": map! { "path": path(directory) } },
    }
}

/// The server as the source of a resource. Envoy goes on with its start when it has the resource, or after this time without.
pub(super) fn from_server(initial_fetch_timeout: &'static str) -> Yaml {
    one_line! { "ads": empty(), "resource_api_version": "V3", "initial_fetch_timeout": initial_fetch_timeout }
}

/// A message without fields. Its presence enables an option.
pub(super) fn empty() -> Yaml {
    Yaml::Map(Fields::new())
}
