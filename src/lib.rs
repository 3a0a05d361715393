//! The filter: a thin proxy-wasm adapter around `byname_core`, which decides.
//!
//! It reads a request's headers, asks the core, and applies the answer. It has no logic of names, keeps no state between
//! requests beside its configuration, reusable buffers and what the core remembers of endpoints, and never starts
//! anything by itself: no ticks, no calls, no threads, no shared data. The callbacks it implements are
//! `proxy_on_context_create`, `proxy_on_configure`, `proxy_on_request_headers` and `proxy_on_delete`; every other export
//! of the SDK is taken out of the module that ships.

// What writes by `Debug` is taken out of the module: it would only find words for a panic.
#![deny(clippy::use_debug)]

mod callbacks;
mod choices;
mod contexts;
mod host;
mod http;
mod request_log;
mod root;
mod stats;

/// What the host calls first. The macro writes a public function without docs, so it stands in a module of its own.
mod entry {
    proxy_wasm::main! {{
        crate::host::install_logger();
    }}
}
