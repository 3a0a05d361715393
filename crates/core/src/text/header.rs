//! Header names and values that a configuration may use.

use crate::limits::MAX_HEADER_NAME_BYTES;

/// Headers that other software uses, so they cannot carry a cluster name or ask for a trace.
const RESERVED_HEADERS: &[&str] = &[
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-request-id",
];

/// Every header that starts with one of these is reserved too.
const RESERVED_PREFIXES: &[&str] = &["x-forwarded-", "x-envoy-", "x-b3-", "sec-"];

/// Whether `name` is a header name as Envoy shows it: lower case.
pub(crate) fn is_header_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_HEADER_NAME_BYTES).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Whether other software uses a header, so that the filter must neither set nor look for it.
pub(crate) fn is_reserved_header(name: &str) -> bool {
    RESERVED_HEADERS.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether `text` may be a header's value as it is: visible ASCII.
pub(crate) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
