//! The native program `byname`.

pub mod input;
