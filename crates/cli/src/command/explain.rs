//! `byname explain`.

use std::path::PathBuf;

use clap::Args;

use super::{
    args::{Input, OutputFormat},
    compile::parse_name,
    status::{FINE, NO},
};
use crate::{
    caller::CallerSettings,
    compile::{self, Base, CompileOptions},
    explain::{self, RequestedName},
    kubernetes::NamespacedName,
    output,
};

/// Says what a name means to a program, and why: each name that is tried, aliases, the port, every endpoint and why it may
/// serve, what the filter tells Envoy, what DNS answers, and how the same is reached from outside.
///
/// Exit status: 0 where a request goes to what the name means, 1 where it does not.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  kubectl get svc,endpointslices,pods,nodes,ingresses -A -o yaml > cluster.yaml
  byname explain payments --from shop -f cluster.yaml
  byname explain http://catalog.shop:8080/ --pod billing/api-6d4f -f cluster.yaml
  byname explain payments.prod --from shop -f cluster.yaml --output json | jq .endpoints")]
pub(super) struct Explain {
    /// What the program has in its configuration: payments, payments.prod:8080, a URL, an address.
    #[arg(value_name = "NAME[:PORT]")]
    name: String,
    /// The namespace of the program.
    #[arg(long, value_name = "NAMESPACE", required_unless_present = "pod", conflicts_with = "pod")]
    from: Option<String>,
    /// The pod of the program: its zone, node, address and DNS settings count.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_name)]
    pod: Option<NamespacedName>,
    #[command(flatten)]
    input: Input,
    /// The name is asked over https, so that its port is 443 where none is given.
    #[arg(long)]
    https: bool,
    /// A configuration with what is written by hand: steering, externalNames and so on. YAML or JSON.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For people or for programs; `byname schema explain` describes the latter.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,
}

impl Explain {
    pub(super) fn run(self) -> anyhow::Result<u8> {
        let base = self.config.as_deref().map(Base::read).transpose()?.unwrap_or_default();
        let cluster = self.input.read()?;
        let caller = match (&self.pod, &self.from) {
            (Some(pod), _) => CallerSettings::of_pod(pod, &cluster, &base.config)?,
            (None, from) => CallerSettings::of_namespace(from.as_deref().unwrap_or_default(), &base.config),
        };
        // What is wrong with other Services is no reason to keep silent about this one.
        let options = CompileOptions { base, skip_invalid: true, ..CompileOptions::default() };
        let compiled = compile::compile(&cluster, &caller, &options)?;
        let asked = RequestedName::parse(&self.name, self.https);
        let explanation = explain::explain(&cluster, &caller, self.pod.as_ref(), &compiled, asked);
        match self.output {
            OutputFormat::Text => output::print(&explain::text(&explanation))?,
            OutputFormat::Json => output::write_json(&explanation)?,
        }
        Ok(if explanation.reachable { FINE } else { NO })
    }
}
