//! The rules, one table each, valid and hostile rows together. All but `properties` also run in wasm.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, which is what these do"
)]

mod aliases;
mod answers;
mod authorities;
mod baselines;
#[cfg(not(target_arch = "wasm32"))]
mod choices;
mod configurations;
mod deltas;
mod endpoints;
mod fallbacks;
mod health;
mod keys;
mod memory;
#[cfg(not(target_arch = "wasm32"))]
mod naive;
mod names;
mod picks;
#[cfg(not(target_arch = "wasm32"))]
mod properties;
mod searches;
mod stand_ins;
mod steering;
mod subsets;
mod traces;
mod vectors;
mod world;
