//! The rules of the protocol's server side, one file each, and properties against a naive client.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot continue fails by a panic"
)]

mod acknowledgements;
mod changes;
mod fixture;
mod leads;
mod limits;
mod order;
mod owners;
mod properties;
mod reconnects;
mod streams;
mod subscriptions;
mod visibility;
mod world;
