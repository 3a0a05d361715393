//! The harness of the tests and the demo: a real Envoy, upstreams that report what they received, and a client that
//! sends exactly what it is told.
//!
//! Everything listens on free ports of loopback, and stops when its value is dropped.

mod ansi;
mod client;
mod console;
mod crashing;
mod envoy;
mod examples;
mod host;
mod host_functions;
mod host_state;
pub mod image;
mod istio_names;
mod kubectl;
pub mod kubernetes;
mod mesh_names;
mod ports;
mod push;
mod random;
mod raw;
pub mod reliability;
pub mod scenario;
mod serve;
pub mod tls;
mod tunnel;
mod upstream;

pub use ansi::terminal_picture;
pub use client::{Connection, FORMS, Reply, RequestForm};
pub use console::{ConsoleCommand, console, section};
pub use crashing::{crashing_module, write_crashing_module};
pub use envoy::{Envoy, EnvoyBuilder, envoy_binary, module, repository};
pub use examples::{Example, examples, snippet, yaml_documents};
pub use host::{Action, SmallHost};
pub use host_functions::serialize;
pub use host_state::{HostState, LocalResponse};
pub use istio_names::{CHECKOUT, ISTIO_NAMES, RECOMMEND};
pub use kubectl::{Shell, kubectl_binary};
pub use mesh_names::mesh_names;
pub use ports::free_port;
pub use push::EcdsFile;
pub use random::SeededRandom;
pub use raw::{Http2Outcome, raw_http1, raw_http2};
pub use serve::ServeProcess;
pub use tunnel::{TUNNEL_FORMS, Tunnel, TunnelAnswer, TunnelForm};
pub use upstream::TestUpstream;

use serde_json::Value;

/// The result of a test.
pub type TestResult = anyhow::Result<()>;

/// `whole` with these fields added or replaced.
///
/// # Panics
/// If `fields` is not an object.
#[must_use]
#[expect(clippy::panic, reason = "a panic fails the test")]
pub fn with_fields(mut whole: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields must be an object, not {fields}") };
    for (field, value) in fields {
        whole[field] = value;
    }
    whole
}
