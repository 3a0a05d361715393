//! The last release: its module, its bootstraps, and what its program wrote. tests/fixtures/last-release/README.md says how they
//! were made.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use byname_test_support::{Envoy, EnvoyBuilder, repository, scenario};

const FILES: &str = "tests/fixtures/last-release";

/// The ways of steering that the program wrote its files for.
pub(crate) const WAYS: [&str; 3] = ["cluster", "authority", "endpoint"];

/// The path of its module.
pub(crate) fn module() -> String {
    repository().join(FILES).join("byname.wasm").display().to_string()
}

/// An Envoy with its bootstrap of the demo and the module of today.
pub(crate) fn demo() -> EnvoyBuilder {
    Envoy::builder(scenario::BOOTSTRAP).directory(&PathBuf::from(FILES).join("envoy"))
}

/// A file that its program wrote for the shop.
pub(crate) fn output(way: &str, name: &str) -> Result<String> {
    let path = repository().join(FILES).join(way).join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
