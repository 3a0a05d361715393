//! Objects by which Istio's control plane configures sidecars: a WasmPlugin or a TrafficExtension with the filter, and an EnvoyFilter with the changes
//! to Envoy's configuration that the filter needs.

mod deployed;
mod envoy_filter;
mod object;
mod wasm_plugin;

pub use self::{
    deployed::{deployed, may_be_deployed},
    envoy_filter::envoy_filter,
    object::{IstioObject, MAX_OBJECT_BYTES, Placement},
    wasm_plugin::{Image, traffic_extension, wasm_plugin},
};
