//! What a running sidecar holds, by its Envoy's admin interface: the table, its age, counters, and how it differs from the cluster.

mod admin;
mod comparison;
mod counters;
mod held;
mod hidden;
mod pods;
mod state;
mod stream_state;
mod text;

pub use self::{
    admin::Admin,
    comparison::{Comparison, CurrentTable, ServiceDifference, compile_as, endpoints_as},
    counters::Counters,
    held::HeldConfiguration,
    pods::SidecarPod,
    state::{SidecarState, UpstreamHost},
    stream_state::StreamState,
    text::{accepted, text},
};
