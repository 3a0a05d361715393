//! `byname schema`.

use clap::{Args, ValueEnum};
use schemars::{JsonSchema, generate::SchemaSettings};

use super::status::FINE;
use crate::{
    diff::{Difference, DnsDifference},
    explain::Explanation,
    output,
};

/// Print the JSON Schema of the filter's configuration, or of the JSON output of `explain` or `diff`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname schema > configuration.schema.json")]
pub(super) struct Schema {
    /// Schema to print.
    #[arg(value_enum, value_name = "SCHEMA", default_value_t = SchemaKind::Configuration)]
    of: SchemaKind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemaKind {
    /// The filter's configuration, as `byname compile --format table` writes it.
    Configuration,
    /// The output of `byname explain -o json`.
    Explain,
    /// The output of `byname diff -o json`.
    Diff,
    /// The output of `byname diff --against-dns -o json`.
    AgainstDns,
}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let text = match self.of {
            SchemaKind::Configuration => byname_core::wire::Config::json_schema_text(),
            SchemaKind::AgainstDns => of_output::<DnsDifference>()?,
            SchemaKind::Diff => of_output::<Difference>()?,
            SchemaKind::Explain => of_output::<Explanation>()?,
        };
        output::write(None, &text)?;
        Ok(FINE)
    }
}

/// Schema of a type that is only serialized: fields that may be omitted are not required.
fn of_output<T: JsonSchema>() -> serde_json::Result<String> {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}
