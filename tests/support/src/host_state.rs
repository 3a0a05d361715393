//! What the small host has, gives and gets.

use std::collections::{BTreeMap, HashMap};

/// An answer that the module gave by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u32,
    /// gRPC status.
    pub grpc_status: i32,
    /// Response code details.
    pub details: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

/// What the host has, gives and gets. All of it is open to tests.
#[derive(Default)]
pub struct HostState {
    /// Every call since it was last cleared: its name, and in brackets what matters of its arguments.
    pub calls: Vec<String>,
    /// Host functions that answer with a status and do nothing.
    pub failing: HashMap<&'static str, u32>,
    /// The plugin configuration.
    pub configuration: Vec<u8>,
    /// The most bytes of it that one call gives.
    pub most_bytes: Option<usize>,
    /// Properties, by path joined with dots.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// The request's headers.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is given for a header map in place of [`HostState::headers`].
    pub raw_headers: Option<Vec<u8>>,
    /// Metrics, by id: name and value.
    pub metrics: Vec<(String, i64)>,
    /// Lines of log.
    pub log: Vec<String>,
    /// Nanoseconds.
    pub now: u64,
    /// The last local response.
    pub response: Option<LocalResponse>,
}

impl HostState {
    /// The value of a metric; `None` where none of that name was defined.
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
