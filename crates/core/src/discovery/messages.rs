//! The two messages of a stream: `DeltaDiscoveryRequest` and `DeltaDiscoveryResponse`
//! (`envoy/service/discovery/v3/discovery.proto`).

use alloc::vec::Vec;
use core::str::from_utf8;

use super::protobuf::{Fields, Torn, put_bytes, put_number};

/// The types of resources, in the order in which they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ResourceType {
    /// `*`: the visible namespaces. `shop`: the Services in the namespace `shop`.
    Namespaces,
    /// A Service, without its endpoints.
    Service,
    /// A Service with its endpoints.
    Endpoints,
    /// What an address is.
    Address,
}

impl ResourceType {
    pub(super) const ALL: [Self; 4] = [Self::Namespaces, Self::Service, Self::Endpoints, Self::Address];

    fn url(self) -> &'static str {
        match self {
            Self::Namespaces => "type.googleapis.com/byname.v1.Namespaces",
            Self::Service => "type.googleapis.com/byname.v1.Service",
            Self::Endpoints => "type.googleapis.com/byname.v1.Endpoints",
            Self::Address => "type.googleapis.com/byname.v1.Address",
        }
    }

    fn of_url(url: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.url().as_bytes() == url)
    }
}

/// What the filter says of itself in the first message of a stream, with the fields that `byname serve` reads of an Envoy's node.
#[derive(Clone, Debug, Default)]
pub struct StreamNode<'n> {
    /// The id of the Envoy.
    pub id: &'n str,
    /// The cluster of the Envoy.
    pub cluster: &'n str,
    /// The zone.
    pub zone: &'n str,
    /// Text in the metadata, by its key.
    pub metadata: &'n [(&'n str, &'n str)],
}

impl StreamNode<'_> {
    /// `envoy.config.core.v3.Node`.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut node = Vec::new();
        put_bytes(&mut node, 1, self.id.as_bytes());
        put_bytes(&mut node, 2, self.cluster.as_bytes());
        // google.protobuf.Struct: a map of Values, whose field 3 is a text.
        let mut metadata = Vec::new();
        for (key, text) in self.metadata {
            let mut value = Vec::new();
            put_bytes(&mut value, 3, text.as_bytes());
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, key.as_bytes());
            put_bytes(&mut entry, 2, &value);
            put_bytes(&mut metadata, 1, &entry);
        }
        put_bytes(&mut node, 3, &metadata);
        let mut locality = Vec::new();
        put_bytes(&mut locality, 2, self.zone.as_bytes());
        put_bytes(&mut node, 4, &locality);
        node
    }
}

/// A `DeltaDiscoveryRequest` in the making.
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn new(resource_type: ResourceType) -> Self {
        let mut message = Vec::new();
        put_bytes(&mut message, 2, resource_type.url().as_bytes());
        Self(message)
    }

    pub(super) fn node(&mut self, node: &[u8]) {
        put_bytes(&mut self.0, 1, node);
    }

    pub(super) fn subscribe(&mut self, name: &str) {
        put_bytes(&mut self.0, 3, name.as_bytes());
    }

    pub(super) fn unsubscribe(&mut self, name: &str) {
        put_bytes(&mut self.0, 4, name.as_bytes());
    }

    /// The version that is known of a resource (`initial_resource_versions`).
    pub(super) fn version(&mut self, name: &str, version: &str) {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, name.as_bytes());
        put_bytes(&mut entry, 2, version.as_bytes());
        put_bytes(&mut self.0, 5, &entry);
    }

    /// Acknowledges a message, or refuses it for this reason.
    pub(super) fn answer(&mut self, nonce: &str, refused: Option<&str>) {
        put_bytes(&mut self.0, 6, nonce.as_bytes());
        if let Some(reason) = refused {
            // google.rpc.Status, with the code INVALID_ARGUMENT.
            let mut status = Vec::new();
            put_number(&mut status, 1, 3);
            put_bytes(&mut status, 2, reason.as_bytes());
            put_bytes(&mut self.0, 7, &status);
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// A `DeltaDiscoveryResponse`.
pub(super) struct Response<'b> {
    pub(super) resource_type: ResourceType,
    pub(super) nonce: &'b str,
    fields: Fields<'b>,
}

/// A resource of a response.
pub(super) struct Resource<'b> {
    pub(super) name: &'b str,
    pub(super) version: &'b str,
    pub(super) value: &'b [u8],
}

impl<'b> Response<'b> {
    /// Reads a message as far as it has to be whole.
    pub(super) fn read(message: &'b [u8]) -> Result<Self, Torn> {
        let (mut resource_type, mut nonce) = (None, "");
        for field in Fields(message) {
            match field? {
                (4, url) => resource_type = Some(ResourceType::of_url(url).ok_or(Torn)?),
                (5, text) => nonce = from_utf8(text).map_err(|_| Torn)?,
                (2, bytes) => _ = Resource::read(bytes)?,
                (6, name) => _ = from_utf8(name).map_err(|_| Torn)?,
                _ => {}
            }
        }
        Ok(Self { resource_type: resource_type.ok_or(Torn)?, nonce, fields: Fields(message) })
    }

    pub(super) fn resources(&self) -> impl Iterator<Item = Resource<'b>> + use<'b> {
        self.each(2).filter_map(|bytes| Resource::read(bytes).ok())
    }

    pub(super) fn removed(&self) -> impl Iterator<Item = &'b str> + use<'b> {
        self.each(6).filter_map(|name| from_utf8(name).ok())
    }

    fn each(&self, wanted: u32) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.fields.filter_map(move |field| field.ok().filter(|(number, _)| *number == wanted).map(|(_, bytes)| bytes))
    }
}

impl<'b> Resource<'b> {
    fn read(bytes: &'b [u8]) -> Result<Self, Torn> {
        let text = |bytes| from_utf8(bytes).map_err(|_| Torn);
        let mut resource = Self { name: "", version: "", value: &[] };
        for field in Fields(bytes) {
            match field? {
                (3, name) => resource.name = text(name)?,
                (1, version) => resource.version = text(version)?,
                (2, any) => {
                    for field in Fields(any) {
                        if let (2, value) = field? {
                            resource.value = value;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(resource)
    }
}
