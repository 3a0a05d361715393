//! `byname diff`.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;

use super::{
    args::OutputFormat,
    status::{FINE, NO},
};
use crate::{
    compile::{Base, CompileOptions},
    diff::{self, Side},
    input::Source,
    output::{self, ReadProgress},
};

/// Says which names mean something else in NEW than in OLD: every name and port, from every namespace, that leads elsewhere,
/// appears or vanishes.
///
/// Endpoints come and go; what counts is where a name leads, and whether anything can serve it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname diff before.yaml after.yaml
  git show HEAD~:table.json > old.json && byname diff --exit-code old.json table.json")]
pub(super) struct Diff {
    /// File or directory with Kubernetes objects, or what `byname compile` wrote; - for the standard input.
    old: String,
    /// The same, later.
    new: String,
    /// The only namespaces that names are asked from; may be given several times. Default: all.
    #[arg(long, value_name = "NAMESPACE")]
    from: Vec<String>,
    /// A configuration with what is written by hand: steering, externalNames and so on. For Kubernetes objects alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// End with status 1 where anything differs.
    #[arg(long)]
    exit_code: bool,
    /// For people or for programs; `byname schema diff` describes the latter.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

impl Diff {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let base = self.config.as_deref().map(Base::read).transpose()?.unwrap_or_default();
        let options = CompileOptions { base, skip_invalid: true, ..CompileOptions::default() };
        let mut old = read(&self.old, &options)?;
        let mut new = read(&self.new, &options)?;
        let from: BTreeSet<String> = self.from.iter().cloned().collect();
        let difference = diff::diff(&mut old, &mut new, &from)?;
        match self.output {
            OutputFormat::Text => output::print(&diff::text(&difference))?,
            OutputFormat::Json => output::write_json(&difference)?,
        }
        Ok(if self.exit_code && !difference.changes.is_empty() { NO } else { FINE })
    }
}

fn read(name: &str, options: &CompileOptions) -> anyhow::Result<Side> {
    let source = Source::new(name);
    let mut progress = ReadProgress::new(std::slice::from_ref(&source));
    let side = Side::read(&source, options, &mut |bytes| progress.add(bytes))?;
    drop(progress);
    side.left_out.values().for_each(|problem| output::warn(&format!("left out: {problem}")));
    Ok(side)
}
