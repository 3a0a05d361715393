//! `examples/kubernetes`: its files are valid, and it works as its README says.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "kubernetes/folder.rs"]
mod folder;
#[path = "kubernetes/kubectl.rs"]
mod kubectl;
#[path = "kubernetes/pod.rs"]
mod pod;
#[path = "kubernetes/readme.rs"]
mod readme;
