//! The functions that the host calls.
//!
//! The SDK exports functions of the same names. Its dispatcher panics without a context, boxes a context for each
//! stream, and looks in three maps at every callback. So the functions here have other names, and xtask/src/module.rs
//! puts them in place of the SDK's functions in the shipped module.

#![expect(unsafe_code, reason = "functions are exported by name")]

use proxy_wasm::types::Action;

use crate::{
    contexts,
    host::{self, GrpcStream},
    http, pending, root, slices, stream, ticks, verdict,
};

/// Creates the context of a stream in the root context `root`, or a root context if that is 0.
#[unsafe(export_name = "byname_on_context_create")]
extern "C" fn on_context_create(_context: u32, root: u32) {
    if contexts::is_earlier(root) {
        verdict::serve_again(root);
    }
}

/// Configures a root context from `bytes` bytes, and returns whether it accepts the configuration.
#[unsafe(export_name = "byname_on_configure")]
extern "C" fn on_configure(root: u32, bytes: u32) -> bool {
    root::configure(root, bytes)
}

#[unsafe(export_name = "byname_on_request_headers")]
extern "C" fn on_request_headers(stream: u32, _headers: u32, _end_of_stream: u32) -> Action {
    http::on_request_headers(stream)
}

/// Gives the host memory for what it returns.
#[unsafe(export_name = "byname_malloc")]
extern "C" fn malloc(bytes: usize) -> *mut u8 {
    host::allocate(bytes)
}

/// Called for a root context that asked for ticks.
#[unsafe(export_name = "byname_on_tick")]
extern "C" fn on_tick(root: u32) {
    ticks::ticked(root);
    slices::tick(root);
    stream::tick(root);
}

/// Called for a message of `bytes` bytes on a gRPC stream.
#[unsafe(export_name = "byname_on_grpc_receive")]
extern "C" fn on_grpc_receive(root: u32, token: u32, bytes: u32) {
    stream::received(GrpcStream { root, token }, bytes);
}

/// Called when a gRPC stream has ended.
#[unsafe(export_name = "byname_on_grpc_close")]
extern "C" fn on_grpc_close(root: u32, token: u32, status: u32) {
    stream::closed(GrpcStream { root, token }, status);
}

/// Deletes a root context or the context of a stream.
#[unsafe(export_name = "byname_on_delete")]
extern "C" fn on_delete(context: u32) {
    pending::forget(context);
    ticks::forget(context);
    stream::forget(context);
    if let Some(root) = contexts::before(context) {
        verdict::serve_again(root);
    }
    contexts::deleted(context);
}
