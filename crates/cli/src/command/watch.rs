//! `byname watch`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    args::{NoFormatParser, parse_whole},
    compile::{ReadRecipe, Recipe},
    source::{SourceArgs, parse_address},
    status::FINE,
};
use crate::{
    compile,
    envoy::{self, EcdsFilter},
    output,
    watch::{self, Job, Made},
};

/// Keep the filter's configuration current: recompile on every change of the cluster, and replace the file that Envoy watches.
///
/// Reads the cluster through the Kubernetes API, with a kubeconfig or a pod's service account, or from files with --from-dir.
/// Services that the filter would refuse are left out, with one warning for each. The first file is written once every kind of
/// object is listed. If the API or the files cannot be read later, the last known good file stays in place.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname watch --pod $(POD_NAMESPACE)/$(POD_NAME) \\
      --output-file /etc/byname/ecds/byname.yaml --listen :9902
  byname watch --from-dir cluster/ --namespace shop --output-file ecds/byname.yaml

Exit status: 0 if a signal ends it; 2 if an argument, the kubeconfig or the address is invalid.")]
// `watch` accepts the option, but always skips, so the option's default would be wrong in its help.
#[command(mut_arg("skip_invalid", |option| option.hide(true)))]
pub(super) struct Watch {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    recipe: Recipe,
    /// Choose the output format.
    #[arg(long, value_enum, default_value_t = WatchFormat::EnvoyEcds)]
    format: WatchFormat,
    /// Load the filter from this file on Envoy's machine.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_MODULE)]
    module: PathBuf,
    /// Use this name of the filter, as in Envoy's bootstrap.
    #[arg(long, value_name = "NAME", default_value = envoy::FILTER_NAME)]
    filter_name: String,
    /// Keep this file current, replaced atomically. Envoy must watch the file's directory.
    #[arg(long, value_name = "FILE", required_unless_present = "output")]
    output_file: Option<PathBuf>,
    /// Former name of --output-file.
    #[arg(long, value_name = "FILE", hide = true, conflicts_with = "output_file")]
    output: Option<PathBuf>,
    /// Not an option here: the error names the options in its place.
    #[arg(short = 'o', hide = true, value_parser = NoFormatParser::<WatchFormat>::new())]
    output_format: Option<String>,
    /// Serve /metrics, /healthz and /readyz on this address:port; `:9902` listens on all addresses, as kubelet probes need.
    /// POST /debug/brake/release works from loopback only. Default: no server.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// Wait until nothing has changed for this many milliseconds before compiling. Under constant change, wait at most five times
    /// as long.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100, value_parser = |text: &str| parse_whole(text, 0..=60_000))]
    debounce_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WatchFormat {
    /// A resource for Envoy's extension config discovery (ECDS), in YAML.
    EnvoyEcds,
    /// The filter's configuration, in JSON.
    Table,
}

impl Watch {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        if self.output.is_some() {
            output::note("--output is called --output-file now; the next release no longer takes --output");
        }
        let file = self.output_file.or(self.output).unwrap_or_default();
        let mut recipe = self.recipe.read()?;
        // One bad Service must not block updates of the others.
        recipe.options.skip_invalid = true;
        let brake = self.source.brake();
        let source = self.source.options(&recipe.options, recipe.pod(), false);
        if self.format == WatchFormat::EnvoyEcds {
            envoy::check_name(&file)?;
        }
        let format = match self.format {
            WatchFormat::EnvoyEcds => {
                watch::OutputFileFormat::EnvoyEcds(EcdsFilter { name: self.filter_name, module: self.module })
            }
            WatchFormat::Table => watch::OutputFileFormat::Table,
        };
        watch::run(Job {
            source,
            make: Box::new(move |cluster| make(&recipe, cluster)),
            format,
            output: file,
            listen: self.listen,
            quiet: Duration::from_millis(self.debounce_ms),
            brake,
        })?;
        Ok(FINE)
    }
}

fn make(recipe: &ReadRecipe, cluster: &crate::kubernetes::ClusterState) -> anyhow::Result<Made> {
    let caller = recipe.caller(cluster)?;
    let compiled = compile::compile(cluster, &caller, &recipe.options)?;
    let notes = caller.notes.into_iter().chain(compiled.unknown_node()).collect();
    Ok(Made { compiled, notes })
}
