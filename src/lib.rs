//! The filter: a thin proxy-wasm adapter around `byname_core`, which makes the decisions.
//!
//! It reads a request's headers, lets the core decide, and applies the decision. It knows nothing about names. Between
//! requests it keeps its configuration, reusable buffers and the core's `Balance`. It calls nobody but the server that fills its table,
//! where there is one (`stream`), and has ticks only for that and while it reads a large configuration. `callbacks` has the callbacks
//! that it implements. Every other export of the SDK is removed from the shipped module.

// The build empties `Debug` formatting in the module, because only panic messages would use it.
#![deny(clippy::use_debug)]

mod active_config;
mod balance;
mod callbacks;
mod contexts;
mod first;
mod host;
mod http;
mod node;
mod observe;
mod pending;
mod request_log;
mod root;
mod slices;
mod stats;
mod stream;
mod ticks;
mod verdict;

/// The entry point of the module. The macro writes a public function without docs, hence the module around it.
mod entry {
    proxy_wasm::main! {{
        crate::host::install_logger();
    }}
}
