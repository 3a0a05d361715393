//! Containers on the machine's own Docker engine, with the images that the examples name. A missing image is made from
//! files of this machine, so no registry is needed.

mod engine;
mod images;
mod rootfs;

pub use engine::{Engine, run};
pub use images::{Images, StandIn};
