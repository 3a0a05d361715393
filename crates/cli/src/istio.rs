//! Objects by which Istio's control plane configures sidecars: a WasmPlugin or a TrafficExtension with the filter, and an EnvoyFilter with the changes
//! to Envoy's configuration that the filter needs.

mod deployed;
mod deployed_configuration;
mod envoy_filter;
mod object;
mod patches;
mod reach;
mod wasm_plugin;

pub use self::{
    deployed::{Deployed, Deployments, may_be_deployed, refusals},
    deployed_configuration::{DeployedConfiguration, is_own_configuration, read_configuration},
    envoy_filter::envoy_filter,
    object::{IstioObject, MAX_OBJECT_BYTES, Placement},
    patches::Patches,
    reach::Reach,
    wasm_plugin::{Image, traffic_extension, wasm_plugin},
};
