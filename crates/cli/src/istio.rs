//! What Istio's control plane hands to sidecars: the filter as a WasmPlugin, and what of Envoy's configuration has to change
//! for it as an EnvoyFilter.

mod envoy_filter;
mod object;
mod wasm_plugin;

pub use self::{
    envoy_filter::envoy_filter,
    object::{IstioObject, MAX_OBJECT_BYTES},
    wasm_plugin::{Image, wasm_plugin},
};
