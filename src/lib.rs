//! The filter: a thin proxy-wasm adapter around `byname_core`, which decides.
//!
//! It reads a request's headers, lets the core decide, and applies the decision. It has no logic of names. Between requests it
//! keeps its configuration, reusable buffers and the core's `Balance`, and it starts nothing by itself: no ticks, no calls, no
//! threads, no shared data. It implements the callbacks `proxy_on_context_create`, `proxy_on_configure`,
//! `proxy_on_request_headers` and `proxy_on_delete`; every other export of the SDK is removed from the module that ships.

// `Debug` formatting is taken out of the module: it would only word panics.
#![deny(clippy::use_debug)]

mod active_config;
mod balance;
mod callbacks;
mod contexts;
mod host;
mod http;

mod request_log;
mod root;
mod stats;

/// The entry point of the module. The macro writes a public function without docs, hence the module around it.
mod entry {
    proxy_wasm::main! {{
        crate::host::install_logger();
    }}
}
