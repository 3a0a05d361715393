//! A real Envoy whose table `byname watch` keeps, under load.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result};
use byname_test_support::{Envoy, TestUpstream, repository};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    load::LoadedEnvoy,
    part::{Part, eventually},
    watch::byname_program,
};

/// Envoy with `envoy/endpoint.yaml`, steered by endpoint, in namespace `shop`.
pub struct WatchedEnvoy {
    // Dropped first to last: Envoy with its client, and the process that writes its table.
    /// Envoy, and its client.
    pub loaded: LoadedEnvoy,
    /// The `byname watch` that keeps the table.
    pub watch: Part,
    _passthrough: TestUpstream,
    _runtime: Runtime,
    _directory: TempDir,
}

impl WatchedEnvoy {
    /// Starts both, and a client that asks for `name` over and over.
    ///
    /// # Errors
    /// If one does not start.
    pub fn start(kubeconfig: &Path, name: &'static str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let live = directory.path().join("live");
        fs::create_dir(&live)?;
        let config = directory.path().join("byname.json");
        fs::write(&config, r#"{"version": 1, "steering": {"by": "endpoint"}}"#)?;
        let mut command = Command::new(byname_program()?);
        command
            .args(["watch", "--namespace", "shop", "--filter-name", "byname-endpoint", "--kubeconfig"])
            .arg(kubeconfig);
        command.arg("--config").arg(&config).arg("--module").arg(repository().join("target/byname.wasm"));
        command.arg("--output-file").arg(live.join("byname.yaml"));
        let watch = Part::spawn(command, "watch-of-envoy", directory.path())?;
        eventually("watch has written a table", || Ok(live.join("byname.yaml").exists()))
            .with_context(|| watch.tail())?;
        let runtime = Runtime::new()?;
        let passthrough = runtime.block_on(TestUpstream::start("passthrough"))?;
        let builder = Envoy::builder("endpoint.yaml").upstream(18080, &passthrough).following(&live);
        let loaded = LoadedEnvoy::start(builder, &[name])?;
        Ok(Self { loaded, watch, _passthrough: passthrough, _runtime: runtime, _directory: directory })
    }
}
