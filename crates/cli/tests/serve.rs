//! `byname serve`: the real program with files and an API that change, and with a real Envoy.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic fails the test"
)]

#[path = "serve/client.rs"]
mod client;
#[path = "serve/clocks.rs"]
mod clocks;
#[path = "serve/load.rs"]
mod load;
#[path = "serve/network.rs"]
mod network;
#[path = "serve/program.rs"]
mod program;
#[path = "monitoring/queries.rs"]
mod queries;
#[path = "agree/random_cluster.rs"]
mod random_cluster;

#[path = "serve/agree.rs"]
mod agree;
#[path = "serve/asked.rs"]
mod asked;
#[path = "serve/capabilities.rs"]
mod capabilities;
#[path = "serve/clients.rs"]
mod clients;
#[path = "serve/compiled.rs"]
mod compiled;
#[path = "serve/credentials.rs"]
mod credentials;
#[path = "serve/failures.rs"]
mod failures;
#[path = "serve/hostile.rs"]
mod hostile;
#[path = "serve/identities.rs"]
mod identities;
#[path = "serve/in_envoy.rs"]
mod in_envoy;
#[path = "serve/keys.rs"]
mod keys;
#[path = "serve/limits.rs"]
mod limits;
#[path = "serve/many_names.rs"]
mod many_names;
#[path = "serve/mesh.rs"]
mod mesh;
#[path = "serve/readme.rs"]
mod readme;
#[path = "serve/seen.rs"]
mod seen;
#[path = "serve/server.rs"]
mod server;
#[path = "serve/stream.rs"]
mod stream;
#[path = "serve/stream_hostile.rs"]
mod stream_hostile;
#[path = "serve/versions.rs"]
mod versions;
#[path = "serve/visibility.rs"]
mod visibility;
