//! Requests, encoded beforehand.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

use super::world::RequestedHost;

/// Other headers of an ordinary HTTP client, with tracing and a token.
const HEADERS: &str = "user-agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    accept: application/json\r\n\
    accept-encoding: gzip, deflate\r\n\
    authorization: Bearer 0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

/// A small body, of a typical size.
const BODY: &str = r#"{"order":"4711","item":42,"amount":1}"#;

/// The kind of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// GET, always for the same Service by its short name.
    Same,
    /// GET, with a different name in every request.
    Other,
    /// POST with a small body and a different name in every request. A filter that exports all callbacks is called for
    /// the body too.
    Post,
}

impl Traffic {
    pub(super) const ALL: [Self; 3] = [Self::Same, Self::Other, Self::Post];

    /// The name in reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Same => "GET, same name",
            Self::Other => "GET, other names",
            Self::Post => "POST, other names",
        }
    }
}

/// Encoded requests, with the authority that each must have on arrival.
pub(super) struct Requests {
    all: Vec<EncodedRequest>,
    next: AtomicUsize,
}

/// A name, encoded as both kinds of requests.
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

    /// The bytes and the name of the next request.
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
