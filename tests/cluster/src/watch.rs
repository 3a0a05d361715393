//! `byname watch` against the cluster, and `byname compile` of a dump to compare it with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use byname_test_support::repository;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    cluster::{Cluster, run},
    metric::metric,
    part::Part,
};

/// Where a [`Watch`] serves its metrics.
const METRICS: &str = "127.0.0.1:9902";
/// The kinds that a table is made of.
pub(crate) const KINDS: &str = "services,endpointslices,pods,nodes";

/// The program that `make cli` builds.
///
/// # Errors
/// If it is missing.
pub fn byname_program() -> Result<PathBuf> {
    let program = repository().join("target/native/byname");
    ensure!(program.is_file(), "there is no {}; run `make cli`", program.display());
    Ok(program)
}

/// A running `byname watch` that keeps a table.
pub struct Watch {
    /// The process and its log.
    pub part: Part,
    arguments: Vec<String>,
    directory: TempDir,
}

impl Watch {
    /// Starts it with a kubeconfig, and with `arguments` that `compile` takes too.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(kubeconfig: &Path, arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let mut command = Command::new(byname_program()?);
        command
            .args(["watch", "--format", "table", "--listen", METRICS, "--kubeconfig"])
            .arg(kubeconfig)
            .args(arguments);
        command.arg("--output-file").arg(directory.path().join("table.json"));
        let part = Part::spawn(command, "watch", directory.path())?;
        Ok(Self { part, arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(), directory })
    }

    /// The value of the metric `byname_watch_NAME`.
    ///
    /// # Errors
    /// If the process does not answer, or has no such metric.
    pub fn metric(&self, name: &str) -> Result<f64> {
        metric(METRICS, &format!("byname_watch_{name}"))
    }

    /// The configuration in the file, without its version.
    #[must_use]
    pub fn table(&self) -> Option<Value> {
        let text = fs::read_to_string(self.directory.path().join("table.json")).ok()?;
        without_version(&text).ok()
    }

    /// The Services of the table, by `namespace/name`.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<Value> {
        self.table()?.get("table")?.get("services")?.get(name).cloned()
    }

    /// Whether the file says what `byname compile` makes of a dump of the cluster.
    ///
    /// # Errors
    /// If the dump or the compilation fails.
    pub fn agrees_with(&self, cluster: &Cluster) -> Result<bool> {
        Ok(self.table().as_ref() == Some(&self.compiled(cluster)?))
    }

    /// What `byname compile` makes of a dump of the cluster, without its version.
    ///
    /// # Errors
    /// If the dump or the compilation fails.
    pub fn compiled(&self, cluster: &Cluster) -> Result<Value> {
        let mut arguments: Vec<&str> = vec!["compile", "--skip-invalid"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let program = byname_program()?;
        let program = program.to_str().context("a path in UTF-8")?;
        without_version(&run(program, &arguments, Some(&cluster.dump(KINDS)?))?)
    }
}

fn without_version(text: &str) -> Result<Value> {
    let mut config: Value = serde_json::from_str(text)?;
    if let Some(table) = config.get_mut("table").and_then(Value::as_object_mut) {
        table.remove("version");
    }
    Ok(config)
}
