//! `byname watch`: the real program against an API that lets it down, against files that change, and before a real Envoy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails, which is what these do"
)]

#[path = "watch/program.rs"]
mod program;

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
