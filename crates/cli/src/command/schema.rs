//! `byname schema`.

use clap::{Args, ValueEnum};

use super::FINE;
use crate::{explain::Explanation, output};

/// Prints the JSON Schema of what this program reads and writes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname schema > configuration.schema.json")]
pub(super) struct Schema {
    /// Of what.
    #[arg(value_enum, default_value_t = Of::Configuration)]
    of: Of,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// The configuration that the filter takes, and `byname compile --format table` writes.
    Configuration,
    /// What `byname explain --output json` prints.
    Explain,
}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let text = match self.of {
            Of::Configuration => byname_core::wire::Config::json_schema_text(),
            Of::Explain => serde_json::to_string_pretty(&schemars::schema_for!(Explanation))? + "\n",
        };
        output::print(&text)?;
        Ok(FINE)
    }
}
