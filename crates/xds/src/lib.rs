//! The server's side of the delta xDS protocol: events in, actions out.
//!
//! [`Server::handle`] takes an [`Event`] (a stream opened, a request came, a resource changed) with the time, and returns the
//! [`Action`]s that answer it: messages to send and streams to close. The bytes of a resource come from a [`Source`], which is
//! asked only for what somebody subscribes to, once for each resource and class of callers. [`Server::next_wake`] says when to
//! call again although nothing happened.
//!
//! The rules are those of the [xDS protocol document], by its sections "Incremental xDS", "How the client specifies what
//! resources to return" and "Eventual consistency considerations". The types and names of resources are the caller's affair:
//! the crate serves Envoy's types and types of our own alike.
//!
//! Each module may use the modules below it, and none above it; `make lint` checks that.
//!
//! ```text
//! server                            events in, actions out
//!   stream | subscribe              one client: what it is sent, and when it ends | what one request changes
//!     subscriptions                 one type on one stream: what was told, what is owed, what waits for its ACK
//!       subscription | draft        one name on one stream | a message under way
//!         resources | coalesce      encoded once for each class | when a change is passed on
//!           index | admission       who watches a name | which streams are served
//!             action                what goes out
//!               event | source      what comes in | where bytes come from
//!                 types, limits, version, visibility
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
mod resources;
mod server;
mod source;
mod stream;
mod subscribe;
mod subscription;
mod subscriptions;
mod types;
mod version;
mod visibility;

pub use action::{Action, CloseReason, Message, Nonce, Rejection, SentResource, StatusCode};
pub use event::{Event, Request, StreamId};
pub use limits::Limits;
pub use server::{Server, Size};
pub use source::Source;
pub use types::{ResourceType, ResourceTypes, TypeIndex};
pub use version::Version;
pub use visibility::Visibility;
