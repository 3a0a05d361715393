//! A process of `byname watch`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use byname_test_support::repository;
use serde_json::json;
use tokio::time::sleep;

use crate::synthetic::namespace;

/// How soon a table is looked for.
const POLL: Duration = Duration::from_millis(50);

/// A `byname watch` that ends with its value.
pub(crate) struct WatchProcess {
    child: Child,
    table: PathBuf,
}

impl WatchProcess {
    pub(crate) fn start(kubeconfig: &Path, table: &Path) -> Result<Self> {
        Self::spawn(kubeconfig, table, &["--format", "table"])
    }

    /// A process that writes the filter of `envoy/endpoint.yaml` into the file `byname.yaml` of a directory.
    pub(crate) fn for_envoy(kubeconfig: &Path, directory: &Path) -> Result<Self> {
        let config = directory.with_extension("json");
        let fields = json!({"version": 1, "steering": {"by": "endpoint"}});
        fs::write(&config, fields.to_string())?;
        let (config, module) = (config.display().to_string(), repository().join("target/byname.wasm"));
        let module = module.display().to_string();
        let arguments = ["--filter-name", "byname-endpoint", "--config", &config, "--module", &module];
        Self::spawn(kubeconfig, &directory.join("byname.yaml"), &arguments)
    }

    fn spawn(kubeconfig: &Path, table: &Path, arguments: &[&str]) -> Result<Self> {
        let child = Command::new(repository().join("target/native/byname"))
            .args(["watch", "--namespace", &namespace(0), "--kubeconfig"])
            .arg(kubeconfig)
            .arg("--output-file")
            .arg(table)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, table: table.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn wait_for_table(&self) {
        while !self.table.exists() {
            sleep(POLL).await;
        }
    }
}

impl Drop for WatchProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
