//! The stream's messages, which the core writes and reads by hand, against prost.
//!
//! The messages are those of `envoy/service/discovery/v3/discovery.proto`, `envoy/config/core/v3/base.proto`, `google/rpc/status.proto` and
//! `google/protobuf/struct.proto`, with the fields that a server reads and others that it may write.

use std::collections::HashMap;

use byname_core::{StreamAction, StreamNode};
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use super::cases;
use crate::{
    fixture::http,
    stream::{Sidecar, TYPES},
};

#[derive(Clone, PartialEq, Message)]
struct DeltaDiscoveryRequest {
    #[prost(message, optional, tag = "1")]
    node: Option<Node>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, repeated, tag = "3")]
    resource_names_subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    resource_names_unsubscribe: Vec<String>,
    #[prost(map = "string, string", tag = "5")]
    initial_resource_versions: HashMap<String, String>,
    #[prost(string, tag = "6")]
    response_nonce: String,
    #[prost(message, optional, tag = "7")]
    error_detail: Option<RpcStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    cluster: String,
    #[prost(message, optional, tag = "3")]
    metadata: Option<Struct>,
    #[prost(message, optional, tag = "4")]
    locality: Option<Locality>,
}

#[derive(Clone, PartialEq, Message)]
struct Locality {
    #[prost(string, tag = "1")]
    region: String,
    #[prost(string, tag = "2")]
    zone: String,
}

#[derive(Clone, PartialEq, Message)]
struct Struct {
    #[prost(map = "string, message", tag = "1")]
    fields: HashMap<String, StructValue>,
}

#[derive(Clone, PartialEq, Message)]
struct StructValue {
    #[prost(oneof = "StructValueKind", tags = "2, 3")]
    kind: Option<StructValueKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum StructValueKind {
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
}

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct DeltaDiscoveryResponse {
    #[prost(string, tag = "1")]
    system_version_info: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<WrittenResource>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
    #[prost(string, repeated, tag = "6")]
    removed_resources: Vec<String>,
    #[prost(message, optional, tag = "7")]
    control_plane: Option<ControlPlane>,
    /// Of no version of the protocol: a reader skips fields that it does not know, of any wire type.
    #[prost(fixed64, tag = "99")]
    later: u64,
    #[prost(fixed32, tag = "1000")]
    much_later: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WrittenResource {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, optional, tag = "2")]
    resource: Option<Any>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, repeated, tag = "4")]
    aliases: Vec<String>,
    #[prost(message, optional, tag = "6")]
    ttl: Option<Lifetime>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Lifetime {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ControlPlane {
    #[prost(string, tag = "1")]
    identifier: String,
}

fn sent(actions: Vec<StreamAction>) -> Vec<DeltaDiscoveryRequest> {
    let message = |action| match action {
        StreamAction::Send(bytes) => Some(DeltaDiscoveryRequest::decode(&*bytes).expect("prost reads it")),
        _ => None,
    };
    actions.into_iter().filter_map(message).collect()
}

fn url(resource_type: &str) -> String {
    format!("type.googleapis.com/byname.v1.{resource_type}")
}

/// Text of any length: short, and longer than one byte of a length can say.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => ".{0,20}", 1 => "[a-zä]{100,300}"]
}

fn version() -> impl Strategy<Value = String> {
    "[0-9a-f]{1,64}"
}

fn service_name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z]{1,8}", 1 => "[a-z]{40,63}"]
}

fn response() -> impl Strategy<Value = DeltaDiscoveryResponse> {
    let resource = (service_name(), version(), any::<bool>(), prop::option::of(any::<i64>()), text());
    let resources = prop::collection::vec(resource, 0..5);
    let removed = prop::collection::vec(service_name(), 0..5);
    let beside = (text(), prop::option::of(text()), any::<u64>(), any::<u32>());
    (resources, removed, text(), beside).prop_map(
        |(resources, removed, nonce, (system_version_info, identifier, later, much_later))| {
            let resource = |(name, version, is_good, ttl, alias): (String, String, bool, Option<i64>, String)| {
                let value = if is_good { json!({"ports": [{"port": 80}]}).to_string() } else { "{".to_owned() };
                WrittenResource {
                    version,
                    resource: Some(Any { type_url: url("Service"), value: value.into_bytes() }),
                    name: format!("shop/{name}"),
                    aliases: vec![alias],
                    ttl: ttl.map(|seconds| Lifetime { seconds }),
                }
            };
            let mut resources: Vec<WrittenResource> = resources.into_iter().map(resource).collect();
            resources.sort_by(|a, b| a.name.cmp(&b.name));
            resources.dedup_by(|a, b| a.name == b.name);
            DeltaDiscoveryResponse {
                system_version_info,
                resources,
                type_url: url("Service"),
                nonce,
                removed_resources: removed.into_iter().map(|name| format!("shop/{name}")).collect(),
                control_plane: identifier.map(|identifier| ControlPlane { identifier }),
                later,
                much_later,
            }
        },
    )
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn the_first_message_says_who_asks(
        id in text(), cluster in text(), zone in text(), metadata in prop::collection::btree_map(text(), text(), 0..4),
    ) {
        let mut sidecar = Sidecar::new(json!({"server": {"cluster": "byname", "preload": ["shop/*", "prod/*"]}}));
        sidecar.tick_after(1);
        let pairs: Vec<(&str, &[u8])> = metadata.iter().map(|(key, value)| (&**key, value.as_bytes())).collect();
        let node = StreamNode { id: id.as_bytes(), cluster: cluster.as_bytes(), zone: zone.as_bytes(), metadata: &pairs };
        let mut actions = Vec::new();
        let (now, (discovery, table)) = (sidecar.now, sidecar.discovery());
        discovery.opened(now, &node, table, &mut actions);
        let kind = |text: String| StructValue { kind: Some(StructValueKind::Text(text)) };
        let fields = metadata.into_iter().map(|(key, value)| (key, kind(value))).collect();
        let locality = Locality { region: String::new(), zone };
        let node = Node { id, cluster, metadata: Some(Struct { fields }), locality: Some(locality) };
        let names = ["*", "shop", "prod"].map(str::to_owned).into();
        let expected = DeltaDiscoveryRequest {
            node: Some(node), type_url: url(TYPES[0]), resource_names_subscribe: names, ..DeltaDiscoveryRequest::default()
        };
        prop_assert_eq!(sent(actions), [expected]);
    }

    #[test]
    fn subscriptions_are_written_as_prost_reads_them(names in prop::collection::btree_set(service_name(), 1..20)) {
        let mut sidecar = Sidecar::connected(json!({}));
        for (name, id) in names.iter().zip(1_000..) {
            let (now, mut actions) = (sidecar.now, Vec::new());
            let waits = sidecar.config.ask(http(name), (id, None), now, &mut actions);
            let expected = DeltaDiscoveryRequest {
                type_url: url("Service"),
                resource_names_subscribe: vec![format!("shop/{name}")],
                ..DeltaDiscoveryRequest::default()
            };
            prop_assert_eq!((waits, sent(actions)), (true, vec![expected]));
        }
    }

    #[test]
    fn what_prost_writes_is_read_and_answered(response in response()) {
        let mut sidecar = Sidecar::connected(json!({}));
        let (now, mut actions) = (sidecar.now, Vec::new());
        let (discovery, table) = sidecar.discovery();
        discovery.received(now, 0, &response.encode_to_vec(), table, &mut actions);
        let answer = sent(actions).into_iter().find(|request| request.resource_names_subscribe.is_empty()).expect("an answer");
        prop_assert_eq!((&answer.type_url, &answer.response_nonce), (&response.type_url, &response.nonce));
        let is_good = |resource: &&WrittenResource| resource.resource.as_ref().is_some_and(|any| any.value != b"{");
        let bad = response.resources.iter().find(|resource| !is_good(resource));
        let error = answer.error_detail.map(|status| (status.code, status.message));
        prop_assert_eq!(error.as_ref().map(|error| error.0), bad.map(|_| 3), "{:?}", error);
        if let (Some((_, message)), Some(bad)) = (error, bad) {
            prop_assert!(message.starts_with(&format!("{}: ", bad.name)), "{}", message);
        }
        // The next stream is told of each version.
        let known = |resource: &WrittenResource| (resource.name.clone(), resource.version.clone());
        let known: HashMap<String, String> = response.resources.iter().filter(is_good).map(known).collect();
        let (discovery, table) = sidecar.discovery();
        let mut actions = Vec::new();
        discovery.closed(now, 0, table, &mut actions);
        discovery.opened(now, &StreamNode::default(), table, &mut actions);
        let services: Vec<DeltaDiscoveryRequest> =
            sent(actions).into_iter().filter(|request| request.type_url == url("Service")).collect();
        prop_assert_eq!(services.len(), 1);
        prop_assert_eq!(&services[0].initial_resource_versions, &known);
        let mentioned = response.resources.iter().map(|resource| &resource.name).chain(&response.removed_resources);
        for name in mentioned {
            prop_assert!(services[0].resource_names_subscribe.contains(name), "{} counts as subscribed", name);
        }
    }

    #[test]
    fn a_message_that_is_cut_is_never_read_as_a_whole_one(response in response(), at in any::<prop::sample::Index>()) {
        let bytes = response.encode_to_vec();
        let cut = &bytes[..at.index(bytes.len())];
        let mut sidecar = Sidecar::connected(json!({}));
        sidecar.receive(cut);
        // Prost takes a message without a type, which is of no use.
        let is_read = DeltaDiscoveryResponse::decode(cut).is_ok_and(|cut| cut.type_url == response.type_url);
        prop_assert_eq!(sidecar.resets == 0, is_read);
    }
}
