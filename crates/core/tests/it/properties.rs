//! What holds for every input. Inputs are drawn from the forms that clients and control planes write, some with one mistake.
//! Answers are compared with naive ones: `naive.rs` for tables, a few lines beside each property for the rest.
//!
//! For each generator a test with a fixed seed asserts the share of inputs that take the main path, so that a generator cannot
//! rot into one that tests nothing.

mod authorities;
mod clusters;
mod configurations;
mod decisions;
mod joined_names;
mod messages;
mod picks;
mod search_paths;
mod streams;
mod tables;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};

/// Inputs that a generator's share is measured with.
const SAMPLES: usize = 1_000;

/// So many inputs, unless `PROPTEST_CASES` asks for another number.
fn cases(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// [`SAMPLES`] inputs, the same ones in each run.
fn samples<S: Strategy>(strategy: S) -> Vec<S::Value> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    (0..SAMPLES).map(|_| strategy.new_tree(&mut runner).expect("no input is filtered out").current()).collect()
}

/// The share of inputs for which `is_counted` holds.
fn share<T>(inputs: &[T], is_counted: impl Fn(&T) -> bool) -> f64 {
    inputs.iter().filter(|input| is_counted(input)).count() as f64 / inputs.len() as f64
}

/// Asserts that neither side of a property goes untested: between a quarter and three quarters of the inputs count.
#[track_caller]
fn assert_balanced(what: &str, share: f64) {
    println!("{what}: {share:.3}");
    assert!((0.25..=0.75).contains(&share), "{what}: {share:.3} of the inputs, which is not between 0.25 and 0.75");
}
