//! What a server has done with what happened.

use std::{fmt, sync::Arc, time::Duration};

use crate::{StreamId, TypeIndex, Version};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAction<B> {
    /// Send a message on a stream. At most one for each stream and type waits for its ACK, so a queue for a stream needs room
    /// for as many messages as there are types.
    Send {
        /// The stream to send on.
        stream: StreamId,
        /// The message.
        message: DeltaResponse<B>,
    },
    /// Close a stream. The server has forgotten it.
    Close {
        /// The stream to close.
        stream: StreamId,
        /// Why.
        reason: CloseReason,
    },
    /// Count and log that a client refused resources.
    Report(Rejection),
}

/// A `DeltaDiscoveryResponse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaResponse<B> {
    /// The type of all resources.
    pub resource_type: TypeIndex,
    /// What the client's ACK or NACK will name.
    pub nonce: Nonce,
    /// Resources that are new to the client or changed.
    pub resources: Vec<SentResource<B>>,
    /// Names of resources that are missing, or that the caller may not see.
    pub removed: Vec<Arc<str>>,
    /// When the oldest change came to be known that the message passes on; `None` if it only answers subscriptions.
    pub since: Option<Duration>,
}

/// A resource in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentResource<B> {
    /// The resource's name.
    pub name: Arc<str>,
    /// The hash of `body`.
    pub version: Version,
    /// The encoded resource, shared with all streams of the same class.
    pub body: B,
}

/// A message's number on its stream, from 1 up. As text: decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nonce(pub(crate) u64);

impl Nonce {
    /// Reads the text of a nonce; `None` for a text that no message has, as `+5` or `05`.
    ///
    /// Whoever keeps messages by the texts of their nonces would keep those for ever whose ACKs have another text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let nonce = Self(text.parse().ok()?);
        (nonce.to_string() == text).then_some(nonce)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Resources that a client refused by a NACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The client's stream.
    pub stream: StreamId,
    /// The type of the resources.
    pub resource_type: TypeIndex,
    /// The names and versions in the refused message, except for names that the client has unsubscribed from since.
    pub resources: Vec<(Arc<str>, Version)>,
    /// The client's reason: its first 1,024 bytes.
    pub reason: String,
    /// Whether the message had a single resource, so that this one is to blame. It is not sent again on the stream until its
    /// content changes. The resources of a larger message are each sent once more, alone.
    pub is_final: bool,
}

/// Why a stream is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The source is not complete yet: what the client has would read as removed.
    NotSynced,
    /// The client has another version than the server, which may be behind: it must not take the client back in time.
    Stale,
    /// All streams that the server may have are open.
    TooManyStreams {
        /// The bound.
        limit: usize,
    },
    /// Too many streams were opened in the last second.
    TooManyNewStreams {
        /// The bound.
        per_second: u32,
    },
    /// All streams that one owner may have are open.
    TooManyStreamsOfOwner {
        /// The bound.
        limit: usize,
    },
    /// The owner opened too many streams in the last second.
    TooManyNewStreamsOfOwner {
        /// The bound.
        per_second: u32,
    },
    /// The subscriptions of the owner's streams would take too much memory.
    TooManyBytesOfOwner {
        /// The bound.
        limit: usize,
    },
    /// The stream would have subscribed to too many names.
    TooManyNames {
        /// The bound.
        limit: usize,
    },
    /// The request has a name that is too long.
    NameTooLong {
        /// The name's length.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The server has no such resource type.
    UnknownType {
        /// The type's URL in the request.
        url: String,
    },
    /// The client has neither ACKed nor NACKed a message in time.
    NotAcknowledged {
        /// The bound.
        timeout: Duration,
    },
    /// The stream has subscribed to nothing for a while.
    NoSubscription {
        /// The bound.
        timeout: Duration,
    },
    /// The stream has reached its age.
    Aged,
    /// The server stops.
    ShuttingDown,
}

impl CloseReason {
    /// Returns the status that ends the gRPC stream.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotSynced | Self::Stale | Self::ShuttingDown => StatusCode::Unavailable,
            Self::TooManyStreams { .. }
            | Self::TooManyNewStreams { .. }
            | Self::TooManyStreamsOfOwner { .. }
            | Self::TooManyNewStreamsOfOwner { .. }
            | Self::TooManyBytesOfOwner { .. }
            | Self::TooManyNames { .. } => StatusCode::ResourceExhausted,
            Self::NameTooLong { .. } | Self::UnknownType { .. } => StatusCode::InvalidArgument,
            Self::NotAcknowledged { .. } | Self::NoSubscription { .. } => StatusCode::DeadlineExceeded,
            Self::Aged => StatusCode::Ok,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSynced => formatter.write_str("this server has not read the cluster yet; try another one or retry later"),
            Self::Stale => formatter.write_str(
                "this server may be behind the cluster, and what it knows differs from what you have; try another one or retry later",
            ),
            Self::TooManyStreams { limit } => {
                write!(formatter, "this server has {limit} streams open, its limit; try another one or retry later")
            }
            Self::TooManyNewStreams { per_second } => {
                write!(formatter, "this server accepts {per_second} new streams a second; retry later")
            }
            Self::TooManyStreamsOfOwner { limit } => {
                write!(formatter, "your identity has {limit} streams open on this server, its limit; try another one or retry later")
            }
            Self::TooManyNewStreamsOfOwner { per_second } => {
                write!(formatter, "this server accepts {per_second} new streams of one identity a second; retry later")
            }
            Self::TooManyBytesOfOwner { limit } => write!(
                formatter,
                "the names that your identity subscribes to on this server take more than {limit} bytes, its limit; unsubscribe from names that \
                 are not used, or try another server"
            ),
            Self::TooManyNames { limit } => {
                write!(formatter, "a stream may subscribe to {limit} names; unsubscribe from names that are not used")
            }
            Self::NameTooLong { bytes, limit } => {
                write!(formatter, "a resource name of {bytes} bytes is too long; a name may have {limit}")
            }
            Self::UnknownType { url } => write!(formatter, "this server has no resources of type \"{}\"", url.escape_debug()),
            Self::NotAcknowledged { timeout } => {
                write!(formatter, "no ACK or NACK of a message within {} s; reconnect", timeout.as_secs())
            }
            Self::NoSubscription { timeout } => {
                write!(formatter, "no subscription for {} s; reconnect when there is something to ask for", timeout.as_secs())
            }
            Self::Aged => formatter.write_str("the stream has reached its age; reconnect"),
            Self::ShuttingDown => formatter.write_str("this server stops; reconnect to another one"),
        }
    }
}

/// A gRPC status, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusCode {
    /// The stream ended as it should.
    Ok = 0,
    /// The client must not send this again.
    InvalidArgument = 3,
    /// The client was too slow.
    DeadlineExceeded = 4,
    /// The client exceeds a bound.
    ResourceExhausted = 8,
    /// The client should try another server or retry later.
    Unavailable = 14,
}
