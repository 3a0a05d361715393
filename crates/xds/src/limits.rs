//! Every bound of a server, with its default.

use std::time::Duration;

/// The bounds of a [`Server`](crate::Server).
///
/// A client that exceeds one is told so: its stream is closed with a [`CloseReason`](crate::CloseReason).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that are open at once. Default: 20,000.
    pub streams: usize,
    /// New streams in one second, and the largest burst. Default: 200.
    pub new_streams_per_second: u32,
    /// Streams of one owner that are open at once. Default: 4,000, a fifth of all.
    pub streams_per_owner: usize,
    /// New streams of one owner in one second, and the largest burst. Default: 100, half of all.
    pub new_streams_per_owner_and_second: u32,
    /// Bytes that the subscriptions of one owner may take, about: those of each name, and 256 more. Default: 128 MiB.
    pub bytes_per_owner: usize,
    /// Resources that are encoded in one turn, which is one event: what is left waits for a later turn, and other events come between. At
    /// least 1. Default: 16.
    pub encodings_per_turn: usize,
    /// Bytes after which nothing more is encoded in the turn. At least 1. Default: 1 MiB.
    pub encoded_bytes_per_turn: usize,
    /// Names that one stream subscribes to, over all types. Default: 25,000. A filter has 20,000 at most of Services and addresses, and
    /// subscribes to lists of names besides.
    pub names_per_stream: usize,
    /// Bytes of one resource name. Default: 512, more than a cluster name made of two DNS names.
    pub name_bytes: usize,
    /// Bytes of one message, whole resources. A single larger resource is sent in a message of its own. Default: 65,536.
    pub message_bytes: usize,
    /// Bytes of encoded resources that are kept for other streams of the same class. Beyond it a resource may be encoded again. Default: 256
    /// MiB.
    pub encoded_bytes: usize,
    /// The time in which a client must ACK or NACK a message. Default: 60 s.
    pub ack_timeout: Duration,
    /// The time that a stream may be without a subscription. Default: 60 s.
    pub idle_timeout: Duration,
    /// The age at which a stream is closed, so that streams spread over replicas again; by ±20 % random. Default: 30 min.
    pub stream_age: Duration,
    /// The time after which failed watches make the server's knowledge stale. Default: 30 s.
    pub stale_after: Duration,
    /// The age beyond which a stream is closed even while the server's knowledge is stale: no identity is checked once for all time.
    /// Default: 6 h.
    pub stale_stream_age: Duration,
    /// The time over which streams are closed at shutdown. Default: 30 s.
    pub shutdown: Duration,
    /// The time between two changes of the same resource that are passed on. Default: 50 ms.
    pub resource_interval: Duration,
    /// Sends of one resource in a second, over all subscribers: a resource with more of them is passed on less often. Default:
    /// 20,000.
    pub resource_sends_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 20_000,
            new_streams_per_second: 200,
            streams_per_owner: 4_000,
            new_streams_per_owner_and_second: 100,
            bytes_per_owner: 128 << 20,
            encodings_per_turn: 16,
            encoded_bytes_per_turn: 1 << 20,
            names_per_stream: 25_000,
            name_bytes: 512,
            message_bytes: 65_536,
            encoded_bytes: 256 << 20,
            ack_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            stream_age: Duration::from_secs(30 * 60),
            stale_after: Duration::from_secs(30),
            stale_stream_age: Duration::from_secs(6 * 60 * 60),
            shutdown: Duration::from_secs(30),
            resource_interval: Duration::from_millis(50),
            resource_sends_per_second: 20_000,
        }
    }
}
