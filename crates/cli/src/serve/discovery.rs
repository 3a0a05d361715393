//! The messages of delta xDS, as far as byname reads and writes them: `envoy/service/discovery/v3/discovery.proto`.

use std::collections::HashMap;

use bytes::Bytes;
use prost::{
    Message,
    encoding::{DecodeContext, decode_key, skip_field},
};
use prost_types::Struct;

/// Fields of a request, nearly all of which are names. A client that reconnects says each name twice: to subscribe, and with its version.
const MAX_FIELDS: usize = 100_000;
/// Bytes of what a client says of itself. Envoy lists its extensions, which take 60 kB.
const MAX_NODE_BYTES: usize = 512 << 10;
/// The field of a request that has them.
const NODE: u32 = 1;

/// What a client subscribes to, acknowledges or refuses.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeltaDiscoveryRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) node: Option<Node>,
    #[prost(string, tag = "2")]
    pub(super) type_url: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) resource_names_subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(super) resource_names_unsubscribe: Vec<String>,
    #[prost(map = "string, string", tag = "5")]
    pub(super) initial_resource_versions: HashMap<String, String>,
    #[prost(string, tag = "6")]
    pub(super) response_nonce: String,
    #[prost(message, optional, tag = "7")]
    pub(super) error_detail: Option<ErrorDetail>,
}

/// Refuses bytes that would take far more memory as a request: an empty name has two bytes here and 24 there, an empty value of a node 72.
///
/// # Errors
/// If there are too many, with the reason.
pub(super) fn check_request(mut bytes: &[u8]) -> Result<(), String> {
    let (mut fields, mut node) = (0, 0);
    // What cannot be read is refused by whoever decodes it.
    while let Ok((tag, wire_type)) = decode_key(&mut bytes) {
        let before = bytes.len();
        if skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).is_err() {
            break;
        }
        fields += 1;
        node += if tag == NODE { before - bytes.len() } else { 0 };
        if fields > MAX_FIELDS {
            return Err(format!("a request has too many names; it may have {MAX_FIELDS} with those of versions"));
        }
        if node > MAX_NODE_BYTES {
            return Err(format!("the node of a request is too long; it may have {MAX_NODE_BYTES} bytes"));
        }
    }
    Ok(())
}

/// A `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ErrorDetail {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// What an Envoy says of itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<Struct>,
    #[prost(message, optional, tag = "4")]
    pub(super) locality: Option<Locality>,
}

/// Where an Envoy runs.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Locality {
    #[prost(string, tag = "2")]
    pub(super) zone: String,
}

/// What a client is sent.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeltaDiscoveryResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) resources: Vec<Resource>,
    #[prost(string, tag = "4")]
    pub(super) type_url: String,
    #[prost(string, tag = "5")]
    pub(super) nonce: String,
    #[prost(string, repeated, tag = "6")]
    pub(super) removed_resources: Vec<String>,
    #[prost(message, optional, tag = "7")]
    pub(super) control_plane: Option<ServerName>,
}

/// A resource in a response.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(string, tag = "1")]
    pub(super) version: String,
    #[prost(message, optional, tag = "2")]
    pub(super) resource: Option<Any>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
}

/// A `google.protobuf.Any` whose bytes are shared.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}

/// Who sends a response, as Envoy's `control_plane.identifier` shows it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ServerName {
    #[prost(string, tag = "1")]
    pub(super) identifier: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_many_empty_fields_are_refused() {
        let names = |count| DeltaDiscoveryRequest {
            resource_names_unsubscribe: vec![String::new(); count],
            ..DeltaDiscoveryRequest::default()
        };
        let node = |bytes| DeltaDiscoveryRequest {
            node: Some(Node { id: "x".repeat(bytes), ..Node::default() }),
            ..DeltaDiscoveryRequest::default()
        };
        for (request, says) in [
            (names(MAX_FIELDS), None),
            (names(MAX_FIELDS + 1), Some("too many names")),
            (node(MAX_NODE_BYTES - 100), None),
            (node(MAX_NODE_BYTES), Some("the node of a request is too long")),
        ] {
            let refused = check_request(&request.encode_to_vec()).err();
            assert_eq!(refused.is_some(), says.is_some(), "{refused:?}");
            assert!(refused.unwrap_or_default().contains(says.unwrap_or_default()));
        }
        let parts = [node(MAX_NODE_BYTES / 2), node(MAX_NODE_BYTES / 2)].map(|part| part.encode_to_vec()).concat();
        assert!(check_request(&parts).is_err(), "a node may come in parts");
        for bytes in [&[][..], &[0xff; 20], &[0x0a, 0x05, 1]] {
            assert_eq!(check_request(bytes), Ok(()), "it is refused when it is decoded");
        }
    }
}
