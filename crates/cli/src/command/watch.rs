//! `byname watch`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{
    compile::{ReadRecipe, Recipe},
    status::FINE,
};
use crate::{
    compile,
    envoy::{self, EcdsFilter},
    watch::{self, ApiOptions, Job, Made, SourceOptions},
};

/// Keeps the filter's configuration current: compiles anew with each change of a cluster, and replaces the file that Envoy
/// watches.
///
/// The cluster is asked through the Kubernetes API, as kubectl or a pod's service account would, or read from files. What would
/// have the configuration refused is left out, with one warning for each. Nothing is written before all of the cluster is known,
/// and where it cannot be known any more the last file serves on.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  byname watch --pod $(POD_NAMESPACE)/$(POD_NAME) -o /etc/byname/ecds/byname.yaml --listen :9902
  byname watch --from-dir cluster/ --namespace shop -o ecds/byname.yaml")]
pub(super) struct Watch {
    /// A directory (or file) to follow in place of the API, with what kubectl get -o yaml prints. May be given several times.
    #[arg(long = "from-dir", value_name = "DIR", conflicts_with_all = ["kubeconfig", "context"])]
    directories: Vec<PathBuf>,
    /// The kubeconfig to ask the API with. Default: as kubectl finds it, and in a pod its service account.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Its context. Default: the current one.
    #[arg(long)]
    context: Option<String>,
    #[command(flatten)]
    recipe: Recipe,
    /// What is written.
    #[arg(long, value_enum, default_value_t = WatchFormat::EnvoyEcds)]
    format: WatchFormat,
    /// Where Envoy finds the module.
    #[arg(long, value_name = "FILE", default_value = envoy::DEFAULT_MODULE)]
    module: PathBuf,
    /// What the filter is called in Envoy's bootstrap.
    #[arg(long, value_name = "NAME", default_value = envoy::FILTER_NAME)]
    filter_name: String,
    /// The file that is kept current, replaced whole each time. Let Envoy watch its directory.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Where /metrics, /healthz and /readyz are answered, as address:port; `:9902` is every address, for the kubelet. Default:
    /// nowhere.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// For so many milliseconds nothing must change before a table is compiled; a storm of changes holds it up no longer than
    /// five times that.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(..=60_000))]
    debounce_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WatchFormat {
    /// A resource for Envoy's extension configuration discovery, in YAML.
    EnvoyEcds,
    /// The filter's configuration itself, as JSON.
    Table,
}

impl Watch {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let mut recipe = self.recipe.read()?;
        // One bad Service must not stop all others from being kept current.
        recipe.options.skip_invalid = true;
        let source = match self.directories.is_empty() {
            false => SourceOptions::Files(self.directories),
            true => SourceOptions::Api(ApiOptions {
                kubeconfig: self.kubeconfig,
                context: self.context,
                namespaces: recipe.options.visible.clone(),
                pod: recipe.pod().cloned(),
                namespaces_of_labels: recipe.options.base.namespaces_of_labels(),
            }),
        };
        if self.format == WatchFormat::EnvoyEcds {
            envoy::check_name(&self.output)?;
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
            output: self.output,
            listen: self.listen,
            quiet: Duration::from_millis(self.debounce_ms),
        })?;
        Ok(FINE)
    }
}

fn make(recipe: &ReadRecipe, cluster: &crate::kubernetes::ClusterState) -> anyhow::Result<Made> {
    let caller = recipe.caller(cluster)?;
    let compiled = compile::compile(cluster, &caller, &recipe.options)?;
    Ok(Made { compiled, notes: caller.notes })
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let whole = if text.starts_with(':') { format!("[::]{text}") } else { text.to_owned() };
    whole.parse().map_err(|_| "write it as address:port, such as 127.0.0.1:9902 or :9902".to_owned())
}
