//! A directory in which `byname compile` writes its files.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use anyhow::Result;
use byname_test_support::repository;
use serde_json::Value;
use tempfile::TempDir;

/// A directory with the files of a test, and the program that writes them.
pub(crate) struct Workdir(pub(crate) TempDir);

impl Workdir {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::Builder::new().prefix("byname-outputs-").tempdir()?))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: &str) -> Result<String> {
        fs::write(self.path(name), text)?;
        Ok(self.path(name).display().to_string())
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_byname"));
        Ok(command.arg("compile").args(args).current_dir(repository()).env("NO_COLOR", "1").output()?)
    }

    /// Compiles `cluster` for a caller in `shop` with this configuration, and returns standard output.
    pub(crate) fn compile(&self, cluster: &str, config: &Value, args: &[&str]) -> Result<String> {
        let config = self.put("config.json", &config.to_string())?;
        let output = self.run(&[&["-f", cluster, "-n", "shop", "--config", &config], args].concat())?;
        let said = String::from_utf8(output.stderr)?;
        assert!(output.status.success(), "{args:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Compiles for a caller in `shop` without objects, and returns standard output.
    pub(crate) fn compile_without_objects(&self, config: &Value, args: &[&str]) -> Result<String> {
        let config = self.put("config.json", &config.to_string())?;
        let output = self.run(&[&["-n", "shop", "--config", &config], args].concat())?;
        let said = String::from_utf8(output.stderr)?;
        assert!(output.status.success(), "{args:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// `config` with these fields, each by its path.
pub(crate) fn with(mut config: Value, fields: &[(&str, Value)]) -> Value {
    for (pointer, value) in fields {
        let mut at = &mut config;
        for field in pointer.split('.') {
            at = &mut at[field];
        }
        *at = value.clone();
    }
    config
}

/// The path of the shipped module.
pub(crate) fn module() -> String {
    repository().join("target/byname.wasm").display().to_string()
}
