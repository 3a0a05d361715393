//! What the host calls.
//!
//! The SDK exports functions of the same names, with a dispatcher behind them that panics where it finds no context, boxes
//! one for each stream and looks for it in three maps at every callback. So ours have names of their own here, and
//! xtask/src/module.rs lets them take the place of the SDK's in the module that ships.

#![expect(unsafe_code, reason = "functions are exported by name")]

use proxy_wasm::types::Action;

use crate::{contexts, http, root};

/// A context begins: a root context, which has no root, or a stream.
#[unsafe(export_name = "byname_on_context_create")]
extern "C" fn on_context_create(context: u32, root: u32) {
    if root != 0 {
        contexts::stream_created(context, root);
    }
}

/// A root context gets its configuration, of so many bytes. Says whether it is taken.
#[unsafe(export_name = "byname_on_configure")]
extern "C" fn on_configure(root: u32, bytes: u32) -> bool {
    root::configure(root, bytes)
}

#[unsafe(export_name = "byname_on_request_headers")]
extern "C" fn on_request_headers(stream: u32, _headers: u32, _end_of_stream: u32) -> Action {
    match contexts::begin(stream) {
        Some(live) => http::on_request_headers(stream, &live),
        None => Action::Continue,
    }
}

/// A context, of either kind, is gone.
#[unsafe(export_name = "byname_on_delete")]
extern "C" fn on_delete(context: u32) {
    contexts::deleted(context);
}
