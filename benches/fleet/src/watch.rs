//! A process of `byname watch`.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use byname_test_support::repository;
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
        let child = Command::new(repository().join("target/native/byname"))
            .args(["watch", "--namespace", &namespace(0), "--format", "table", "--kubeconfig"])
            .arg(kubeconfig)
            .arg("--output-file")
            .arg(table)
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
