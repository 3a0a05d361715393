//! An EndpointSlice as every command reads it.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{
    AddressType, NamespacedName, ObjectName, ServicePortView, SlicePortView, Sourced, TransportProtocol,
    endpoints_object::EndpointsMirror,
};
use crate::input::Field;

/// The label that names the controller of an EndpointSlice, and the controller that mirrors Endpoints objects (KEP-752).
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MIRRORING_CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";

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
    /// The part of an Endpoints object that this EndpointSlice mirrors.
    pub(super) mirror: Option<&'c EndpointsMirror>,
}

impl<'c> SliceView<'c> {
    pub(super) fn new(name: &'c NamespacedName, source: &'c Sourced<EndpointSlice>) -> Self {
        let address_type = AddressType::parse(&source.object.address_type);
        Self { name, source, address_type, publishes_not_ready: false, mirror: None }
    }

    /// The EndpointSlice that mirrors a part of the Endpoints object `name`.
    pub(super) fn of_mirror(name: &'c NamespacedName, mirror: &'c EndpointsMirror) -> Self {
        Self { mirror: Some(mirror), ..Self::new(name, &mirror.source) }
    }

    /// Whether the control plane made it as the mirror of an Endpoints object.
    pub(super) fn is_mirror(&self) -> bool {
        let labels = self.source.object.metadata.labels.as_ref();
        labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MIRRORING_CONTROLLER)
    }

    /// The kind of the object that was read: `EndpointSlice` or `Endpoints`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.mirror.is_some() { "Endpoints" } else { "EndpointSlice" }
    }

    /// The object that was read.
    #[must_use]
    pub fn object_name(&self) -> ObjectName {
        ObjectName::new(self.kind(), &self.name.namespace, &self.name.name)
    }

    /// The path of the number of a port in the object that was read: `ports[0].port`.
    #[must_use]
    pub fn port_field(&self, index: usize) -> Field {
        let ports = self.mirror.map_or_else(|| Field::from(["ports"]), |mirror| mirror.ports.clone());
        ports.item(index).field("port")
    }

    /// `addressType` as it is written; empty if it is not.
    #[must_use]
    pub fn type_word(&self) -> &'c str {
        &self.source.object.address_type
    }

    /// Whether its endpoints count. kube-proxy reads the slices of each IP family, so none of DNS names (KEP-752) or of no known type.
    #[must_use]
    pub fn counts(&self) -> bool {
        matches!(self.address_type, AddressType::IPv4 | AddressType::IPv6)
    }

    /// Whether an API server refuses it for its type or for the type of an address, so that kube-proxy ignores some of its endpoints.
    #[must_use]
    pub fn mixes_types(&self) -> bool {
        self.address_type == AddressType::Unknown || self.all_endpoints().any(|endpoint| !endpoint.is_of_slice_type())
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
