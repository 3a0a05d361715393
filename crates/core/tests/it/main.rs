//! The rules of the core, one file each: tables of valid and hostile inputs. All but `properties` also run in wasm.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot continue fails by a panic"
)]

mod affinity;
mod aliases;
mod authorities;
mod balance_memory;
mod baselines;
mod config_reading;
mod config_slices;
mod config_validation;
mod destination_ports;
mod discovery;
mod ejection;
mod endpoint_addresses;
mod fallback_outcomes;
mod fallback_targets;
mod fallbacks;
mod first_configurations;
mod fixture;
mod load_balancing;
mod local_replies;
#[cfg(not(target_arch = "wasm32"))]
mod naive;
mod names;
mod observing;
mod packed_tables;
#[cfg(not(target_arch = "wasm32"))]
mod properties;
mod search_paths;
mod service_validation;
mod steering;
mod stream;
mod subsets;
mod table_changes;
mod traces;
mod usable_endpoints;
mod vectors;
mod worker;
