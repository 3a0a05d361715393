//! Headless Services (`clusterIP: None`): DNS resolves the name to the endpoints themselves.
//!
//! | asked for | rule |
//! |---|---|
//! | the Service's name | it exists while an endpoint is ready; without one DNS answers NXDOMAIN, and the search goes on |
//! | a port by its name | the Service's own port while a ready endpoint has it; else the number that ready endpoints list |
//! | a UDP or SCTP port by its name | it exists while a ready endpoint has it, but no request goes to it |
//! | which endpoints serve | every ready one, whatever topology and traffic policy say (`usable_endpoints`, KEP-2086) |
//!
//! `publishNotReadyAddresses` makes every endpoint ready (`endpoint_group`).

use alloc::{boxed::Box, vec::Vec};

use super::{endpoints::Endpoints, service_port::ServicePort};
use crate::limits::MAX_SERVICE_PORTS;

/// Whether the name of a headless Service with these endpoints exists.
pub(super) fn name_exists(endpoints: &Endpoints) -> bool {
    endpoints.any_ready()
}

/// Name and number of the port called `name`. `own` is the Service's own port of that name.
pub(super) fn named_port<'t>(
    endpoints: &'t Endpoints,
    name: &str,
    own: Option<(&'t str, u16)>,
) -> Option<(&'t str, u16)> {
    match own {
        Some(own) => endpoints.any_ready_with(name).then_some(own),
        None => endpoints.named_port(name),
    }
}

/// The names of ports that endpoints have and the Service does not declare.
#[inline(never)]
pub(super) fn endpoint_ports(endpoints: &Endpoints, ports: &[ServicePort]) -> Box<[Box<str>]> {
    let mut names: Vec<Box<str>> = Vec::new();
    for name in endpoints.port_names() {
        let is_known = ports.iter().any(|port| *port.name == *name) || names.iter().any(|other| **other == *name);
        if !is_known && names.len() < MAX_SERVICE_PORTS {
            names.push(name.into());
        }
    }
    names.into()
}
