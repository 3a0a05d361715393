//! `byname schema`.

use clap::{Args, ValueEnum};
use schemars::{JsonSchema, generate::SchemaSettings};

use super::status::FINE;
use crate::{diff::Difference, explain::Explanation, output};

/// Prints the JSON Schema of what this program reads and writes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname schema > configuration.schema.json")]
pub(super) struct Schema {
    /// Of what.
    #[arg(value_enum, default_value_t = SchemaKind::Configuration)]
    of: SchemaKind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaKind {
    /// The configuration that the filter takes, and `byname compile --format table` writes.
    Configuration,
    /// What `byname explain --output json` prints.
    Explain,
    /// What `byname diff --output json` prints.
    Diff,
}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let text = match self.of {
            SchemaKind::Configuration => byname_core::wire::Config::json_schema_text(),
            SchemaKind::Diff => of_output::<Difference>()?,
            SchemaKind::Explain => of_output::<Explanation>()?,
        };
        output::write(None, &text)?;
        Ok(FINE)
    }
}

/// Of what is only written: a field that may be left out need not be there.
fn of_output<T: JsonSchema>() -> serde_json::Result<String> {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}
