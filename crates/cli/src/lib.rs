//! The native program `byname`, as a library for its tests.

pub mod cluster;
pub mod input;
