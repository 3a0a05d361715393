//! `byname diff`.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;

use super::{
    args::OutputFormat,
    reading::ReadProgress,
    status::{FINE, NO},
};
use crate::{
    compile::{Base, CompileOptions},
    diff::{self, Side, SideInput},
    input::{InputErrors, Source},
    output,
};

/// Print the names that resolve differently in NEW than in OLD: every name and port, from every namespace, that vanishes, changes
/// or appears.
///
/// Compares the destination, port, upstream cluster and reason of each name. Endpoints matter only if the last usable one is lost
/// or the first one appears.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname diff before.yaml after.yaml
  kubectl get wasmplugin byname -n istio-system -o yaml > deployed.yaml && byname diff deployed.yaml cluster.yaml
  git show HEAD~:table.json > old.json && byname diff --exit-code old.json table.json")]
pub(super) struct Diff {
    /// Old state: a file or directory of Kubernetes objects, a table from `byname compile`, or the WasmPlugin, TrafficExtension or
    /// EnvoyFilter that holds it; - is the standard input.
    old: String,
    /// New state, in the same forms.
    new: String,
    /// Compare only how names resolve from this namespace. Can be repeated. Default: all namespaces.
    #[arg(long, value_name = "NAMESPACE")]
    from: Vec<String>,
    /// Merge this hand-written configuration into both states: steering, externalNames and so on. It has no effect on a state that
    /// is a table. Default: objects that are compared with a table get the table's own settings.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Exit with status 1 if there is any difference. Default: exit with 0.
    #[arg(long)]
    exit_code: bool,
    /// Print in this format. `byname schema diff` prints the JSON's schema.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

impl Diff {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let (old, new) = (read(&self.old)?, read(&self.new)?);
        let mut options = CompileOptions { skip_invalid: true, ..CompileOptions::default() };
        match (&self.config, old.settings().xor(new.settings())) {
            (Some(file), _) => options.base = Base::read(file)?,
            // Objects are compared with a configuration as that was compiled, else every name would differ.
            (None, Some((settings, has_endpoints))) => {
                options.base = Base::of(settings);
                options.names_only = !has_endpoints;
            }
            (None, None) => {}
        }
        let [mut old, mut new] = [side(old, &options)?, side(new, &options)?];
        let from: BTreeSet<String> = self.from.iter().cloned().collect();
        let difference = diff::diff(&mut old, &mut new, &from)
            .map_err(|refused| InputErrors::of_configuration("--from", &refused))?;
        match self.output {
            OutputFormat::Text => output::print(&diff::text(&difference))?,
            OutputFormat::Json => output::write_json(&difference)?,
        }
        Ok(if self.exit_code && !difference.changes.is_empty() { NO } else { FINE })
    }
}

fn read(name: &str) -> anyhow::Result<SideInput> {
    let source = Source::new(name);
    let mut progress = ReadProgress::new(std::slice::from_ref(&source));
    SideInput::read(&source, &mut |bytes| progress.add(bytes))
}

fn side(input: SideInput, options: &CompileOptions) -> anyhow::Result<Side> {
    let side = Side::new(input, options)?;
    side.left_out.values().for_each(|problem| output::warn(&format!("left out: {problem}")));
    Ok(side)
}
