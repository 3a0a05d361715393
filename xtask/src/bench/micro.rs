//! The core's own benchmarks, `crates/core/benches/core.rs`, compiled like the module. They run in another program,
//! because this one is not optimized.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{numbers::table, progress::Progress};

/// The output directory of the benchmarks.
const HOME: &str = "target/bench/criterion";
/// A single name, which is always in the cache.
const HOT: &str = "resolve/short/10";
/// Names spread over a table larger than any cache.
const COLD: &str = "resolve/short/100000";
/// The benchmarks that the ratios need.
const FEW: &str = "^resolve/short/(10|100000)$";
/// The benchmarks that depend on the number of Services or the policy, for operations of the module.
const MOST: &str = "^(resolve|read|delta|pick)/";

/// Nanoseconds by benchmark: the lower bound, the median and the upper bound of the 95 % confidence interval.
pub(super) struct Micro(BTreeMap<String, [f64; 3]>);

/// Compiles the benchmarks.
pub(super) fn build(root: &Path, progress: &Progress) -> Result<()> {
    progress.say("compiling");
    bench(root, &["--no-run"])
}

fn bench(root: &Path, arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .env("CRITERION_HOME", root.join(HOME))
        .args(["bench", "--quiet", "--package", "byname-core", "--bench", "core"])
        .args(arguments)
        .output()
        .context("cargo cannot be run")?;
    ensure!(output.status.success(), "the core's benchmarks fail:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Runs the benchmarks, or the few that the ratios need.
pub(super) fn run(root: &Path, is_quick: bool, progress: &Progress) -> Result<Micro> {
    progress.say("running");
    let home = root.join(HOME);
    // Results of an earlier run would be read as results of this run.
    if home.exists() {
        fs::remove_dir_all(&home)?;
    }
    bench(root, &["--", if is_quick { FEW } else { MOST }])?;
    let mut all = BTreeMap::new();
    collect(&home, &mut all)?;
    ensure!(all.contains_key(HOT) && all.contains_key(COLD), "the core's benchmarks left no {HOT} or no {COLD}");
    Ok(Micro(all))
}

/// Collects Criterion's results below a directory.
fn collect(directory: &Path, all: &mut BTreeMap<String, [f64; 3]>) -> Result<()> {
    let estimates = directory.join("estimates.json");
    if directory.ends_with("new") && estimates.is_file() {
        let read = |path: &Path| -> Result<Value> { Ok(serde_json::from_str(&fs::read_to_string(path)?)?) };
        let name = read(&directory.join("benchmark.json"))?["full_id"].as_str().context("no name")?.to_owned();
        let median = read(&estimates)?["median"].clone();
        let number = |pointer| median.pointer(pointer).and_then(Value::as_f64).context("no median");
        let bounds = ["/confidence_interval/lower_bound", "/confidence_interval/upper_bound"];
        all.insert(name, [number(bounds[0])?, number("/point_estimate")?, number(bounds[1])?]);
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, all)?;
        }
    }
    Ok(())
}

impl Micro {
    /// The time to resolve the same name with few Services.
    pub(super) fn hot(&self) -> Option<[f64; 3]> {
        self.0.get(HOT).copied()
    }

    /// The time to resolve changing names with many Services.
    pub(super) fn cold(&self) -> Option<[f64; 3]> {
        self.0.get(COLD).copied()
    }

    pub(super) fn print(&self) {
        let mut table = table(["the core alone", "ns", "95 of 100"], &[0]);
        for (name, [low, median, high]) in &self.0 {
            table.add_row([name.clone(), format!("{median:.0}"), format!("{low:.0} .. {high:.0}")]);
        }
        println!("{table}\n");
    }

    pub(super) fn json(&self) -> Value {
        let result = |(name, [low, median, high]): (&String, &[f64; 3])| {
            (name.clone(), json!({"medianNs": median, "lowNs": low, "highNs": high}))
        };
        Value::Object(self.0.iter().map(result).collect())
    }
}
