//! Fuzzing of the core, guided by coverage. `crates/core/fuzz/README.md` describes the targets.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::tools;

const TARGETS: [&str; 5] = ["authority", "configuration", "discovery", "names", "resolve"];

/// Runs each target, or only the target `only`, for `seconds_each`. New finds go to `target/fuzz/corpus`.
pub(crate) fn run(root: &Path, seconds_each: u32, only: Option<&str>) -> Result<()> {
    if let Some(only) = only
        && !TARGETS.contains(&only)
    {
        bail!("no target {only}; use one of {}", TARGETS.join(", "));
    }
    tools::install_cargo_fuzz(root)?;
    for target in TARGETS.into_iter().filter(|target| only.is_none_or(|only| only == *target)) {
        let found = root.join("target/fuzz/corpus").join(target);
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        println!("{target}: {seconds_each} seconds");
        // Without a sanitizer the stable compiler suffices. The core has no unsafe code for a sanitizer to check.
        let status = Command::new(root.join("target/tools/bin/cargo-fuzz"))
            .current_dir(root)
            .args(["run", "--fuzz-dir", "crates/core/fuzz", "--target-dir", "target/fuzz"])
            .args(["--sanitizer", "none", "--features", "libfuzzer", target])
            // libFuzzer writes only to the first directory.
            .args([found, root.join("crates/core/fuzz/corpus").join(target)])
            .args(["--", "-timeout=10", "-print_final_stats=1"])
            .arg(format!("-max_total_time={seconds_each}"))
            .status()
            .context("cargo-fuzz cannot be run")?;
        if !status.success() {
            bail!("{target} breaks a rule (the rule and the input are above)");
        }
    }
    Ok(())
}
