//! The name of an upstream cluster: a template filled in for a route.

use alloc::string::String;

use crate::{
    policy::{Placeholder, Template},
    resolve::{Destination, Route},
    text::write_number,
};

/// Appends the name of the cluster for `route`. A value that the destination does not have is empty.
pub(super) fn write_cluster(template: &Template, route: &Route<'_>, subset: &str, zone: &str, to: &mut String) {
    let service = route.destination.service();
    template.write(to, &|placeholder, to| match placeholder {
        Placeholder::Host => route.destination.write_host(zone, to),
        Placeholder::Service => to.push_str(service.map_or("", |service| service.name())),
        Placeholder::Namespace => to.push_str(service.map_or("", |service| service.namespace())),
        Placeholder::Port => write_number(route.port, to),
        Placeholder::PortName => to.push_str(route.port_name),
        Placeholder::Subset => to.push_str(subset),
        Placeholder::Endpoint => {
            if let Destination::Endpoint(_, label) = &route.destination {
                label.write_to(to);
            }
        }
    });
}
