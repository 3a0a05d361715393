//! The library behind the native `byname` command, separate so that tests can use it.
//!
//! Imports go one way, from a command in [`command`] down to [`input`]: `ARCHITECTURE.md` lists the folders in that order, and
//! `cargo xtask layers` checks it.

pub mod caller;
pub mod check;
pub mod cluster_dns;
pub mod cluster_feed;
pub mod command;
pub mod compile;
mod daemon;
pub mod diff;
pub mod envoy;
pub mod explain;
pub mod input;
pub mod istio;
pub mod kube_api;
pub mod kubernetes;
pub mod lint;
pub mod output;
pub mod serve;
pub mod sidecar;
pub mod snapshot;
pub mod watch;
