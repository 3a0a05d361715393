//! The SBOMs of the module and the program in CycloneDX format, by cargo-cyclonedx.
//!
//! cargo-cyclonedx resolves features for the whole workspace, including tests and build steps, and would list their
//! dependencies too. So it gets a copy of the sources without them. The result is compared with `cargo tree`.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{reproduce, tools};

/// A package of a release.
pub(crate) struct Shipped<'a> {
    pub(crate) package: &'a str,
    /// The directory of its Cargo.toml.
    pub(crate) directory: &'a str,
    pub(crate) target: &'a str,
}

impl Shipped<'_> {
    /// The SBOM as reproducible CycloneDX JSON.
    pub(crate) fn sbom(&self, root: &Path) -> Result<String> {
        tools::install_cargo_cyclonedx(root)?;
        let copy = tempfile::Builder::new().prefix("byname-sbom-").tempdir()?;
        let copied = copy.path().canonicalize()?;
        reproduce::copy_sources(root, &copied)?;
        self.alone(&copied)?;
        let output = Command::new(root.join("target/tools/bin/cargo-cyclonedx"))
            .args(["cyclonedx", "--format", "json", "--spec-version", "1.5", "--quiet"])
            .args(["--target", self.target, "--override-filename", "sbom", "--manifest-path"])
            .arg(copied.join(self.directory).join("Cargo.toml"))
            // Suppresses the time and the serial number.
            .env("SOURCE_DATE_EPOCH", "0")
            .output()
            .context("cargo-cyclonedx cannot be run")?;
        if !output.status.success() {
            bail!("cargo-cyclonedx failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let sbom = fs::read_to_string(copied.join(self.directory).join("sbom.json"))
            .context("cargo-cyclonedx wrote no SBOM")?
            .replace(&copied.display().to_string(), "/byname");
        let (listed, built_in) = (components(&sbom)?, self.dependencies(root)?);
        ensure!(
            listed == built_in,
            "the SBOM of {} is wrong: missing {:?}, not built in {:?}",
            self.package,
            built_in.difference(&listed).collect::<Vec<_>>(),
            listed.difference(&built_in).collect::<Vec<_>>()
        );
        Ok(sbom)
    }

    /// Removes everything else from the workspace in `copy`.
    fn alone(&self, copy: &Path) -> Result<()> {
        for manifest in ["Cargo.toml", "crates/cli/Cargo.toml", "crates/core/Cargo.toml", "crates/xds/Cargo.toml"] {
            let path = copy.join(manifest);
            let mut kept = String::new();
            let mut of_tests = false;
            for line in fs::read_to_string(&path)?.lines() {
                if line.starts_with('[') {
                    of_tests = line.contains("dev-dependencies");
                }
                if line.starts_with("members = ") {
                    kept.push_str("members = [\"crates/core\"");
                    kept.push_str(if self.directory == "." { "]\n" } else { ", \"crates/cli\", \"crates/xds\"]\n" });
                } else if !of_tests {
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
            fs::write(path, kept)?;
        }
        Ok(())
    }

    /// The names and versions of all dependencies that cargo builds in.
    fn dependencies(&self, root: &Path) -> Result<BTreeSet<String>> {
        let output = Command::new("cargo")
            .args(["tree", "--locked", "--edges", "no-dev", "--prefix", "none", "--format", "{p}"])
            .args(["--package", self.package, "--target", self.target])
            .current_dir(root)
            .output()
            .context("cargo cannot be run")?;
        if !output.status.success() {
            bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        let name_and_version = |line: &str| {
            let mut words = line.split_whitespace();
            Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
        };
        let tree = String::from_utf8(output.stdout)?;
        Ok(tree.lines().skip(1).filter_map(name_and_version).collect())
    }
}

/// The names and versions of all components.
fn components(sbom: &str) -> Result<BTreeSet<String>> {
    let sbom: Value = serde_json::from_str(sbom)?;
    let components = sbom["components"].as_array().context("the SBOM lists no components")?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a component has a name and a version");
    components.iter().map(|one| Ok(format!("{} {}", text(&one["name"])?, text(&one["version"])?))).collect()
}
