//! The server side of the delta xDS protocol: events in, actions out.
//!
//! [`Server::handle`] takes an [`ServerEvent`] (a stream opened, a request came, a resource changed) with the time, and returns
//! [`ServerAction`]s: messages to send and streams to close. [`Server::next_wake`] says when to call it again if nothing happens
//! before. A [`ResourceSource`] has the bytes of resources. It is asked only for names that a stream subscribes to, once for each
//! resource and class of callers.
//!
//! The rules are those of the [xDS protocol document], named by its sections ("Incremental xDS", "How the client specifies
//! what resources to return", "Eventual consistency considerations" and others). The crate knows no resource type: it serves
//! Envoy's types and types of our own alike.
//!
//! ```
//! use std::time::Duration;
//!
//! use byname_xds::{ServerAction, ServerEvent, Limits, DeltaRequest, OpeningCost, ResourceType, ResourceTypes, Server, ResourceSource, StreamId, TypeIndex};
//!
//! /// Every name is a resource that holds its own name.
//! struct Echo;
//!
//! impl ResourceSource for Echo {
//!     type Caller = ();
//!     type Class = ();
//!     type Body = Box<[u8]>;
//!
//!     fn class(&self, _: TypeIndex, _: &str, _: &()) -> Option<()> {
//!         Some(())
//!     }
//!
//!     fn encode(&self, _: TypeIndex, name: &str, _: &()) -> Option<Box<[u8]>> {
//!         Some(name.as_bytes().into())
//!     }
//! }
//!
//! let mut types = ResourceTypes::default();
//! types.add(ResourceType::new("type.example.com/Echo", Duration::from_millis(50)));
//! let mut server = Server::new(types, Limits::default());
//! let (now, stream) = (Duration::ZERO, StreamId(1));
//!
//! assert!(server.handle(now, ServerEvent::Synced, &Echo).is_empty());
//! assert!(server.handle(now, ServerEvent::Opened { stream, caller: (), owner: None, random: 7, cost: OpeningCost::Whole }, &Echo).is_empty());
//! let request = DeltaRequest {
//!     type_url: "type.example.com/Echo".to_owned(),
//!     subscribe: vec!["hello".to_owned()],
//!     ..DeltaRequest::default()
//! };
//! let actions = server.handle(now, ServerEvent::Requested { stream, request }, &Echo);
//! let [ServerAction::Send { message, .. }] = actions.as_slice() else { panic!("a subscription is answered at once") };
//! assert_eq!(&*message.resources[0].body, b"hello");
//! ```
//!
//! Each module may use the modules below it, and none above it; `make lint` checks that.
//!
//! ```text
//! server                            events in, actions out
//!   stream | subscribe              one client: what it is sent, and when it ends | what one request changes
//!     subscriptions                 one type on one stream: what was told, what is owed, what waits for its ACK
//!       subscription | draft        one name on one stream | a message under way
//!         resources | coalesce      encoded once for each class | when a change is passed on
//!           index | owners          who watches a name | what each owner of streams has
//!             admission             which streams are served
//!             action                what goes out
//!               event | source      what comes in | where bytes come from
//!                 types, limits, version
//! ```
//!
//! A change of a resource with k subscribers costs O(k), times logarithms, whatever the number of streams and names.
//!
//! The crate has no clock, no socket, no threads and no protobuf, and it knows neither Kubernetes nor Envoy's messages.
//!
//! [xDS protocol document]: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol

mod action;
mod admission;
mod coalesce;
mod draft;
mod event;
mod index;
mod limits;
mod owners;
mod resources;
mod server;
mod source;
mod stream;
mod subscribe;
mod subscription;
mod subscriptions;
mod types;
mod version;

pub use action::{CloseReason, DeltaResponse, Nonce, Rejection, SentResource, ServerAction, StatusCode};
pub use event::{DeltaRequest, OpeningCost, ServerEvent, StreamId};
pub use limits::Limits;
pub use server::{Server, Size};
pub use source::ResourceSource;
pub use subscription::Receipt;
pub use types::{ResourceType, ResourceTypes, TypeIndex};
pub use version::Version;
