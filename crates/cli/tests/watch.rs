//! `byname watch`: the real program with an API that fails, with files that change, and with a real Envoy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "watch/program.rs"]
mod program;
#[path = "monitoring/queries.rs"]
mod queries;

#[path = "watch/api.rs"]
mod api;
#[path = "watch/brake.rs"]
mod brake;
#[path = "watch/files.rs"]
mod files;
#[path = "watch/health.rs"]
mod health;
#[path = "watch/in_envoy.rs"]
mod in_envoy;
#[path = "watch/monitoring.rs"]
mod monitoring;
#[path = "watch/outage.rs"]
mod outage;
