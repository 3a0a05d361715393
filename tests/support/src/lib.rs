//! What the tests and the demo are made of: a real Envoy, upstreams that say who they are, and a client that sends
//! exactly what it is told.
//!
//! Everything listens on loopback, on ports that are free at the time, and ends with the value that stands for it.

mod client;
mod console;
mod envoy;
mod examples;
mod host;
mod host_functions;
mod host_state;
pub mod image;
mod kubectl;
pub mod kubernetes;
mod ports;
mod push;
mod raw;
pub mod reliability;
pub mod scenario;
mod upstream;

pub use client::{Connection, FORMS, Reply, RequestForm};
pub use console::{ConsoleCommand, console};
pub use envoy::{Envoy, EnvoyBuilder, envoy_binary, module, repository};
pub use examples::{Example, examples, snippet, yaml_documents};
pub use host::{Action, SmallHost};
pub use host_functions::serialize;
pub use host_state::{HostState, LocalResponse};
pub use kubectl::{Shell, kubectl_binary};
pub use push::EcdsFile;
pub use raw::{Http2Outcome, raw_http1, raw_http2};
pub use upstream::TestUpstream;

use serde_json::Value;

/// What a test gives.
pub type TestResult = anyhow::Result<()>;

/// `whole` with more fields, or others in the place of its own.
///
/// # Panics
/// Where `fields` is no object.
#[must_use]
#[expect(clippy::panic, reason = "a panic fails the test")]
pub fn with_fields(mut whole: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields are an object, and not {fields}") };
    for (field, value) in fields {
        whole[field] = value;
    }
    whole
}
