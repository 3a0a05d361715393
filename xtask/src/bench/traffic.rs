//! Requests, as bytes that are made beforehand.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use super::world::RequestedHost;

/// What an ordinary HTTP client sends besides, traced and with a token.
const HEADERS: &str = "user-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    accept: application/json\r\n\
    accept-encoding: gzip, deflate\r\n\
    authorization: Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

/// A small body, as most have that have one.
const BODY: &str = r#"{"order":"4711","item":42,"amount":1}"#;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// GET, always the same name, a Service's short one.
    Same,
    /// GET, another name with every request.
    Other,
    /// POST with a small body, another name with every request. A filter with all exports is called for the body too.
    Post,
}

impl Traffic {
    pub(super) const ALL: [Self; 3] = [Self::Same, Self::Other, Self::Post];

    /// What it is called in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Same => "GET, same name",
            Self::Other => "GET, other names",
            Self::Post => "POST, other names",
        }
    }
}

/// Requests that are ready to be sent, and the authority with which each has to arrive.
pub(super) struct Requests {
    all: Vec<EncodedRequest>,
    next: AtomicUsize,
}

/// One name, to be asked for in either way.
struct EncodedRequest {
    get: Vec<u8>,
    post: Vec<u8>,
    name: RequestedHost,
}

impl Requests {
    pub(super) fn new(names: Vec<RequestedHost>) -> Self {
        let request = |name: RequestedHost| EncodedRequest { get: get(&name.asked), post: post(&name.asked), name };
        Self { all: names.into_iter().map(request).collect(), next: AtomicUsize::new(0) }
    }

    /// The bytes of the next one, and its name.
    pub(super) fn take(&self, traffic: Traffic) -> Result<(&[u8], &RequestedHost)> {
        let index = match traffic {
            Traffic::Same => 0,
            Traffic::Other | Traffic::Post => self.next.fetch_add(1, Ordering::Relaxed) % self.all.len(),
        };
        let request = self.all.get(index).context("there is no name to ask for")?;
        Ok((if traffic == Traffic::Post { &request.post } else { &request.get }, &request.name))
    }
}

/// The bytes of a request without a body.
pub(super) fn get(host: &str) -> Vec<u8> {
    format!("GET /items/42 HTTP/1.1\r\nhost: {host}\r\n{HEADERS}\r\n").into_bytes()
}

pub(super) fn post(host: &str) -> Vec<u8> {
    let length = BODY.len();
    format!(
        "POST /orders HTTP/1.1\r\nhost: {host}\r\n{HEADERS}content-type: application/json\r\n\
         content-length: {length}\r\n\r\n{BODY}"
    )
    .into_bytes()
}
