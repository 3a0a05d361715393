//! Sidecars from `byname compile --format envoy-bootstrap`, run in a real Envoy: whether requests of real clients arrive, in each way
//! of steering. A test fails if Envoy, the module or Python's gRPC is missing. `tests/cluster/tests/redirect.rs` has redirected
//! traffic.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "compile/workdir.rs"]
mod workdir;

mod sidecar {
    mod echo;
    mod grpc;
    mod loopback;
    mod names;
    mod schemes;
    mod server;
    mod tunnels;
    mod upgrades;
    mod versions;
}
