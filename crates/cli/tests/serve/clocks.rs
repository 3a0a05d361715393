//! The clocks of a server, which a test sets.

use std::{fs, path::PathBuf, process::Command};

use byname_test_support::repository;
use tempfile::TempDir;

use crate::program::ServeProcess;

/// The clocks of one server.
pub(crate) struct Clocks {
    directory: TempDir,
}

impl Clocks {
    /// Starts a server anew with clocks that can be set.
    pub(crate) async fn of(server: &mut ServeProcess) -> Self {
        let clocks = Self { directory: tempfile::tempdir().unwrap() };
        let library = clocks.directory.path().join("clock.so");
        let source = repository().join("crates/cli/tests/serve/clock.c");
        let cc = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
        assert!(cc.success());
        clocks.set(0, 0);
        server.kill();
        server.environment = vec![
            ("LD_PRELOAD".to_owned(), library.display().to_string()),
            ("CLOCK_OFFSET".to_owned(), clocks.offset().display().to_string()),
        ];
        server.restart().await;
        clocks
    }

    fn offset(&self) -> PathBuf {
        self.directory.path().join("offset")
    }

    /// Adds seconds to the time of day, and to the clock that cannot be set.
    pub(crate) fn set(&self, of_day: i32, passed: i32) {
        let new = self.directory.path().join("new");
        fs::write(&new, format!("{of_day} {passed}")).unwrap();
        fs::rename(new, self.offset()).unwrap();
    }
}
