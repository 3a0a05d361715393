//! Rules that hold for every input, as functions that libFuzzer's targets and the replay of the corpus share. Each takes any
//! bytes and panics if a rule is broken.

mod authority;
mod configuration;
mod discovery;
mod names;
mod resolve;
mod rules;

// Shared with the core's tests: the clusters, the naive search, and a sidecar with its stream.
#[expect(dead_code, reason = "the tests of the core use more of it")]
#[path = "../../tests/it/fixture.rs"]
mod fixture;
#[expect(dead_code, reason = "the tests of the core use more of it")]
#[path = "../../tests/it/naive.rs"]
mod naive;
#[expect(dead_code, reason = "the tests of the core use more of it")]
#[path = "../../tests/it/stream.rs"]
mod stream;

pub use authority::authority;
pub use configuration::configuration;
pub use discovery::discovery;
pub use names::names;
pub use resolve::resolve;

/// A fuzz target: it takes any bytes.
pub type Target = fn(&[u8]);

/// The targets by name. A target's directory in the corpus has the same name.
pub const TARGETS: [(&str, Target); 5] = [
    ("authority", authority),
    ("configuration", configuration),
    ("discovery", discovery),
    ("names", names),
    ("resolve", resolve),
];
