//! A filter's configuration in a file that Envoy watches: JSON inside YAML.

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result};
use serde_json::Value;

const FIELD: &str = "value: |\n";

/// An ECDS file, split at the plugin configuration.
#[derive(Clone)]
pub struct EcdsFile {
    before: String,
    /// The plugin configuration.
    pub configuration: Value,
    after: String,
}

impl EcdsFile {
    /// Reads a file in which `value: |` is followed by the configuration, which is indented more than the text after
    /// it.
    ///
    /// # Errors
    /// If the file does not have this form.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let what = || format!("{} holds no JSON after `value: |`", path.display());
        let (before, rest) = text.split_once(FIELD).with_context(what)?;
        let indent = rest.len() - rest.trim_start().len();
        let inside = |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() >= indent;
        let length: usize = rest.split_inclusive('\n').take_while(inside).map(str::len).sum();
        let (json, after) = rest.split_at_checked(length).with_context(what)?;
        Ok(Self {
            before: before.to_owned(),
            configuration: serde_json::from_str(json).with_context(what)?,
            after: after.to_owned(),
        })
    }

    /// The same file with any other text in place of the plugin configuration.
    #[must_use]
    pub fn with_text(&self, configuration: &str) -> String {
        // Every JSON string is also a YAML string.
        format!("{}value: {}\n{}", self.before, Value::from(configuration), self.after)
    }
}

impl fmt::Display for EcdsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_text(&self.configuration.to_string()))
    }
}
