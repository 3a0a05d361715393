//! The state of the small host: its inputs and what the module did with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Of a millisecond.
pub(crate) const NANOSECONDS: u64 = 1_000_000;

/// Headers, each with name and value.
pub type HeaderPairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A local reply of the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// The HTTP status.
    pub status: u32,
    /// The gRPC status.
    pub grpc_status: i32,
    /// The response code details.
    pub details: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// The state of the host. Tests may read and change all of it.
#[derive(Default)]
pub struct HostState {
    /// Every call since the list was last cleared: its name, and in brackets its relevant arguments.
    pub calls: Vec<String>,
    /// Host functions that return this status and do nothing.
    pub failing: HashMap<&'static str, u32>,
    /// The plugin configuration.
    pub configuration: Vec<u8>,
    /// The maximum number of bytes of the configuration that one call returns.
    pub most_bytes: Option<usize>,
    /// Properties, by their path joined with dots.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// The values that all VMs share, by their key.
    pub shared_data: BTreeMap<String, Vec<u8>>,
    /// The request's headers.
    pub headers: HeaderPairs,
    /// The bytes of a header map, if they replace the encoding of [`HostState::headers`].
    pub raw_headers: Option<Vec<u8>>,
    /// The metrics by id, with name and value.
    pub metrics: Vec<(String, i64)>,
    /// The lines of the log.
    pub log: Vec<String>,
    /// The time in nanoseconds.
    pub now: u64,
    /// The milliseconds between ticks of the last root context that asked for them; 0 for none.
    pub tick_period: u32,
    /// The timers that run, by their root contexts: the milliseconds between ticks, and the nanosecond of the next one.
    pub timers: BTreeMap<u32, (u32, u64)>,
    /// Where the module had the host put the bytes that it returned last.
    pub returned_at: u32,
    /// The number of gRPC streams that were opened, which is the token of the last.
    pub grpc_streams: u32,
    /// The messages that were sent, each with the token of its stream.
    pub grpc_sent: Vec<(u32, Vec<u8>)>,
    /// The message that a stream brings.
    pub grpc_message: Vec<u8>,
    /// The context of the module's next host calls.
    pub effective: u32,
    /// Contexts that were deleted.
    pub deleted: BTreeSet<u32>,
    /// The headers of paused requests, by their contexts.
    pub paused: BTreeMap<u32, HeaderPairs>,
    /// The requests that go on after a pause.
    pub continued: Vec<u32>,
    /// The last local response.
    pub response: Option<LocalResponse>,
}

impl HostState {
    /// The value of a metric; `None` if no metric of that name is defined.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<i64> {
        self.metrics.iter().find(|(other, _)| other == name).map(|(_, value)| *value)
    }

    /// The values of a request header.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<String> {
        let same = self.headers.iter().filter(|(other, _)| other == name.as_bytes());
        same.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }
}
