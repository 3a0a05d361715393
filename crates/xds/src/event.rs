//! What happens to a server.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::TypeIndex;

/// A stream's number. Whoever accepts streams gives each one a number of its own, and never the same number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What it costs a server to open a stream, which bounds how many new ones it accepts in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpeningCost {
    /// The cost that [`Limits`](crate::Limits) are about.
    #[default]
    Whole,
    /// Half of it: twice as many such streams are accepted.
    Half,
}

impl OpeningCost {
    /// How many such streams a second are accepted where so many whole ones are.
    pub(crate) fn rate(self, whole_per_second: u32) -> u32 {
        match self {
            Self::Whole => whole_per_second,
            Self::Half => whole_per_second.saturating_mul(2),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum ServerEvent<C> {
    /// A client opened a stream.
    Opened {
        /// The new stream's number.
        stream: StreamId,
        /// Who opened it.
        caller: C,
        /// Whose share of the server the stream counts against, as its verified identity; `None` for a stream that counts against
        /// nobody's.
        owner: Option<Arc<str>>,
        /// A random number, which spreads the ends of streams.
        random: u32,
        /// What it costs to open the stream.
        cost: OpeningCost,
    },
    /// A message came on a stream.
    Requested {
        /// The stream's number.
        stream: StreamId,
        /// The message.
        request: DeltaRequest,
    },
    /// A stream ended, by the client or by the network.
    Closed {
        /// The stream's number.
        stream: StreamId,
    },
    /// A resource appeared, changed, vanished, or is visible to others than before.
    Changed {
        /// The resource's type.
        resource_type: TypeIndex,
        /// The resource's name.
        name: String,
        /// When the change came to be known, on the server's clock: messages that pass it on say so.
        since: Duration,
    },
    /// What a client gets of the resources of a type differs from before, because more is known of it.
    CallerChanged {
        /// The client's stream.
        stream: StreamId,
        /// The type.
        resource_type: TypeIndex,
        /// Who the stream belongs to, as it is known now.
        caller: C,
    },
    /// The source is complete for the first time. Before, all streams are refused.
    Synced,
    /// The watches that feed the source fail, or what they say is not taken: from now on it may be behind.
    WatchesFailed,
    /// The watches work again, and the source has what they missed.
    WatchesRecovered,
    /// The server is about to stop: streams are closed one by one, and no new ones are served.
    ShuttingDown,
    /// The time of [`Server::next_wake`](crate::Server::next_wake) has come.
    Woken,
}

/// A `DeltaDiscoveryRequest`: what it subscribes to, what it acknowledges, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeltaRequest {
    /// The URL of the resource type that the request is about.
    pub type_url: String,
    /// Names to subscribe to. `*` is the wildcard.
    pub subscribe: Vec<String>,
    /// Names to unsubscribe from. A name that is in both lists is unsubscribed.
    pub unsubscribe: Vec<String>,
    /// The versions that the client has from an earlier stream, by name. They count in a stream's first request of a type.
    pub initial_resource_versions: HashMap<String, String>,
    /// The nonce of the message that this is an ACK or a NACK of; otherwise empty.
    pub response_nonce: String,
    /// Why the client refused the message: makes the request a NACK.
    pub error: Option<String>,
}
