//! Commands that ask a live cluster and its sidecars, with an API that forbids, fails or is not there.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "ask/program.rs"]
mod program;

#[path = "ask/against_dns.rs"]
mod against_dns;
#[path = "ask/check.rs"]
mod check;
#[path = "ask/cluster.rs"]
mod cluster;
#[path = "ask/errors.rs"]
mod errors;
#[path = "ask/namespaces.rs"]
mod namespaces;
#[path = "ask/plugin.rs"]
mod plugin;
#[path = "ask/sidecar.rs"]
mod sidecar;
