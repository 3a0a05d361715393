//! Names and values of headers that a configuration gives.

use crate::{
    limits::MAX_HEADER_NAME_BYTES,
    problem::{Fault, Place, Problems},
};

/// Headers that mean something to others and so cannot carry a cluster's name or ask for a trace.
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

/// With every header that begins so.
const RESERVED_PREFIXES: &[&str] = &["x-forwarded-", "x-envoy-", "x-b3-", "sec-"];

/// Whether this can be a header's name, as Envoy shows it: in lower case.
pub(crate) fn is_header_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_HEADER_NAME_BYTES).contains(&name.len()) && name.bytes().all(known)
}

/// Checks the name of a header that the filter may set or look for.
pub(crate) fn check_header(name: &str, at: &Place<'_>, problems: &mut Problems) {
    let reserved = RESERVED_HEADERS.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if !is_header_name(name) || reserved {
        problems.add(at, name, Fault::HeaderName);
    }
}

/// Whether `text` can stand in a header's value as it is: visible ASCII.
pub(crate) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}
