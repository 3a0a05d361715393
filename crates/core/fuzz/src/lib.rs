//! What holds for every input, as functions that libFuzzer's targets and the replay of the corpus share. Each takes any
//! bytes and panics where a rule is broken.

mod authority;
mod configuration;
mod names;
mod resolve;
mod rules;

// The clusters, the naive search and the words for an answer are those of the core's tests.
#[expect(dead_code, reason = "the tests of the core need more of it")]
#[path = "../../tests/it/fixture.rs"]
mod fixture;
#[expect(dead_code, reason = "the tests of the core need more of it")]
#[path = "../../tests/it/naive.rs"]
mod naive;

pub use authority::authority;
pub use configuration::configuration;
pub use names::names;
pub use resolve::resolve;

/// What takes any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its directory in the corpus too.
pub const TARGETS: [(&str, Target); 4] =
    [("authority", authority), ("configuration", configuration), ("names", names), ("resolve", resolve)];
