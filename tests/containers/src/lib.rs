//! Containers on the machine's own Docker engine, by the images that the examples name. Where an image is not there it is made
//! of what this machine has: no registry is asked for anything.

mod engine;
mod images;
mod rootfs;

pub use engine::{Engine, run};
pub use images::{Images, StandIn};
