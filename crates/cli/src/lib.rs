//! The native program `byname`, as a library for its tests.
//!
//! Data flows one way: [`input`] reads objects, [`cluster`] knows what they are, and the rooms behind them make something of
//! it; [`command`] is what a person types.

pub mod caller;
pub mod cluster;
pub mod command;
pub mod compile;
pub mod diff;
pub mod envoy;
pub mod explain;
pub mod input;
pub mod istio;
pub mod lint;
pub mod output;
pub mod watch;
