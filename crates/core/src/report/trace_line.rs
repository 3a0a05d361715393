//! One line about one decision with every step, for a log.

use alloc::{format, string::String};

use crate::{
    limits::MAX_SHOWN_AUTHORITY_BYTES,
    resolve::{Request, Resolution, Trace},
    text::shown,
};

/// What a caller in `namespace` asked for, the reason of the resolution, and every step.
pub(crate) fn trace_line(request: Request<'_>, namespace: &str, resolution: &Resolution<'_>, trace: &Trace) -> String {
    let asked = shown(request.authority, MAX_SHOWN_AUTHORITY_BYTES);
    format!("byname: \"{asked}\" from namespace {namespace}: {}: {trace}", resolution.reason())
}
