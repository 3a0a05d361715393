//! Objects by which Istio's control plane configures sidecars: a WasmPlugin with the filter, and an EnvoyFilter with the changes
//! to Envoy's configuration that the filter needs.

mod envoy_filter;
mod object;
mod wasm_plugin;

pub use self::{
    envoy_filter::envoy_filter,
    object::{IstioObject, MAX_OBJECT_BYTES},
    wasm_plugin::{Image, wasm_plugin},
};
