//! An EndpointSlice as every command reads it.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{NamespacedName, ServicePortView, SlicePortView, Sourced, TransportProtocol};

/// An EndpointSlice with its ports and its endpoints.
#[derive(Clone, Copy, Debug)]
pub struct SliceView<'c> {
    /// Namespace and name.
    pub name: &'c NamespacedName,
    /// The object and where it was read.
    pub source: &'c Sourced<EndpointSlice>,
    /// The type of the addresses.
    pub address_type: AddressType,
    /// Whether the Service counts every endpoint as ready.
    pub(super) publishes_not_ready: bool,
}

/// The type of the addresses in an EndpointSlice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressType {
    /// IPv4 addresses.
    IPv4,
    /// IPv6 addresses.
    IPv6,
    /// DNS names.
    Fqdn,
    /// A value that the API does not define.
    Unknown,
}

impl<'c> SliceView<'c> {
    pub(super) fn new(name: &'c NamespacedName, source: &'c Sourced<EndpointSlice>) -> Self {
        let address_type = match source.object.address_type.as_str() {
            "IPv4" => AddressType::IPv4,
            "IPv6" => AddressType::IPv6,
            "FQDN" => AddressType::Fqdn,
            _ => AddressType::Unknown,
        };
        Self { name, source, address_type, publishes_not_ready: false }
    }

    /// Whether its endpoints count. Neither kube-proxy nor a cluster's DNS reads slices of DNS names (KEP-752).
    #[must_use]
    pub fn counts(&self) -> bool {
        self.address_type != AddressType::Fqdn
    }

    /// The EndpointSlice's ports, including ports without a number.
    pub fn ports(&self) -> impl Iterator<Item = SlicePortView<'c>> + use<'c> {
        self.source.object.ports.iter().flatten().enumerate().map(|(index, port)| SlicePortView::new(index, port))
    }

    /// The EndpointSlice's number for a port of the Service, matched by name and protocol.
    #[must_use]
    pub fn port_of(&self, port: &ServicePortView<'_>) -> Option<i32> {
        self.port(port.name, port.protocol)
    }

    /// The EndpointSlice's number for a port of this name and protocol.
    #[must_use]
    pub fn port(&self, name: &str, protocol: TransportProtocol<'_>) -> Option<i32> {
        self.ports().filter(|own| own.name == name && own.protocol == protocol).find_map(|own| own.number)
    }
}
